#include "testing.h"

using namespace testing;

namespace {
/// What one code is of, as the kernels read it.
struct Channel {
  int dimension;
  float weight, inverseWidth;
  int place;

  int levels() const { return 1 << 2 * (place >> 2); }
};

/// Sketches of one KV head.
struct Sketch {
  Array<int> bits;
  Array<uint16_t> steps;
  Array<float> centre;
  /// Empty where keys are turned.
  Array<Channel> channels;
};

/// Codes of some dimensions, one to three each, the highest first.
std::vector<Channel> channels_of(int headSize, int codes, Random& random) {
  std::vector<Channel> channels;
  for (int d = 0; int(channels.size()) < codes; d++) {
    const int left = codes - int(channels.size()), most = std::min(3, left);
    // None now and then, as long as the dimensions that follow have room for the rest.
    const int least = left > 3 * (headSize - d - 1) ? most : 0;
    const int own = std::max(least, std::min(most, random.below(4)));
    const double width = random.uniform(0.1f, 1.1f);
    for (int place = own - 1; place >= 0; place--) {
      channels.push_back({d, float(width / 2 * (1 << 2 * place)), float(1 / width), 4 * own + place});
    }
  }
  return channels;
}

/// A random orthogonal matrix (Gram-Schmidt).
std::vector<float> rotation_of(int size, Random& random) {
  std::vector<std::vector<double>> rows(size, std::vector<double>(size));
  for (int i = 0; i < size; i++) {
    for (double& value : rows[i]) value = random.normal();
    for (int pass = 0; pass < 2; pass++)
      for (int k = 0; k < i; k++) {
        double dot = 0;
        for (int j = 0; j < size; j++) dot += rows[i][j] * rows[k][j];
        for (int j = 0; j < size; j++) rows[i][j] -= dot * rows[k][j];
      }
    double norm = 0;
    for (double value : rows[i]) norm += value * value;
    for (double& value : rows[i]) value /= std::sqrt(norm);
  }
  std::vector<float> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

/// A RoPE and its tables as the kernels read them; 0 pairs turn nothing.
struct Rope {
  int pairs, halfSplit;
  std::vector<double> frequencies;
  Array<float> blocks, offsets;

  Rope(int pairs, int halfSplit, int tokens)
      : pairs(pairs),
        halfSplit(halfSplit),
        blocks(2 * pairs * divide_up(tokens, 64)),
        offsets(2 * pairs * 64) {
    for (int i = 0; i < pairs; i++) {
      const double frequency = std::pow(1e4, -double(i) / pairs);
      frequencies.push_back(frequency);
      for (int b = 0; b < divide_up(tokens, 64); b++) {
        blocks[2 * (b * pairs + i)] = float(std::cos(64 * b * frequency));
        blocks[2 * (b * pairs + i) + 1] = float(std::sin(64 * b * frequency));
      }
      for (int t = 0; t < 64; t++) {
        offsets[2 * (i * 64 + t)] = float(std::cos(t * frequency));
        offsets[2 * (i * 64 + t) + 1] = float(std::sin(t * frequency));
      }
    }
  }

  std::vector<double> turned(std::vector<double> x, int position) const {
    for (int i = 0; i < pairs; i++) {
      const int first = halfSplit ? i : 2 * i, second = halfSplit ? i + pairs : 2 * i + 1;
      const double c = std::cos(position * frequencies[i]), s = std::sin(position * frequencies[i]);
      const double a = x[first], b = x[second];
      x[first] = a * c - b * s;
      x[second] = b * c + a * s;
    }
    return x;
  }
};

int code_of(const Sketch& s, int token, int d, int planes, int words) {
  const int codes = 32 / planes, place = d % codes * planes;
  const uint32_t word = s.bits[(token / 64 * words + d / codes) * 64 + token % 64];
  const int code = word >> place & ((1 << planes) - 1);
  return place + planes == 32 ? code ^ 1 << (planes - 1) : code;
}

/// The code that a centred key has in each channel, as far as no threshold is near.
void check_channels(const std::string& what, const Sketch& s, int token, int words,
                    const std::vector<double>& key) {
  const int codes = int(s.channels.count);
  double step = 1;
  for (int i = 0; i < codes; i++) {
    const Channel& c = s.channels[i];
    step = std::max(step, std::fabs(key[c.dimension]) * c.inverseWidth * 2 / c.levels());
  }
  const double found = bf16_value(s.steps[token]);
  expect(what + text(": step of token %d", token),
         found >= step * (1 - 1e-5) && found <= step * (1 + 1.0 / 128));
  for (int i = 0; i < codes; i++) {
    const Channel& c = s.channels[i];
    const double level = key[c.dimension] * c.inverseWidth / found + c.levels() / 2;
    const int code = std::min(c.levels() - 1, std::max(0, int(std::floor(level))));
    const bool beside = std::fabs(level - std::round(level)) < 1e-3;
    expect(what + text(": code of token %d, channel %d", token, i),
           code_of(s, token, i, 2, words) == (code >> 2 * (c.place & 3) & 3) || beside);
  }
}

/// @param channelCodes of a key; 0 for turned keys
void check(int headSize, int pageTokens, int planes, int channelCodes, int group, int window,
           int pairs, int halfSplit, Random& random) {
  const int kvHeads = 2, pages = 300 / pageTokens + 3, tokens = pages * pageTokens;
  const int codes = channelCodes > 0 ? channelCodes : headSize;
  const int words = divide_up(codes, 32 / planes);
  const std::string what =
      text("head size %d, pages of %d, %d planes, %d channels, group %d, window %d, %d pairs",
           headSize, pageTokens, planes, channelCodes, group, window, pairs);
  const Rope rope(pairs, halfSplit, tokens);
  const auto rotation = rotation_of(headSize, random);
  std::vector<uint16_t> pool(size_t(kvHeads) * pages * 2 * pageTokens * headSize);
  if (pages % 7 == 0) return;  // the slots would not be a permutation
  const auto slot_of = [=](int head, int page) { return page * 7 % pages * kvHeads + head; };
  for (int head = 0; head < kvHeads; head++)
    for (int token = 0; token < tokens; token++) {
      std::vector<double> own(headSize);
      for (double& value : own) value = 0.5 + random.normal();
      own = rope.turned(own, token);
      const size_t row =
          size_t(slot_of(head, token / pageTokens)) * 2 * pageTokens + token % pageTokens;
      for (int d = 0; d < headSize; d++) pool[row * headSize + d] = bf16_bits(float(own[d]));
    }
  const auto key = [&](int slot, int t, int d) {
    return bf16_value(pool[(size_t(slot) * 2 * pageTokens + t) * headSize + d]);
  };
  std::vector<Sketch> sketches;
  std::vector<uint64_t> targets;
  std::vector<int> ranges, centredPages, jobs;
  const int centred = std::min(pages, 5);
  for (int head = 0; head < kvHeads; head++) {
    sketches.push_back({Array<int>(divide_up(tokens, 64) * 64 * words),
                        Array<uint16_t>(divide_up(tokens, 64) * 64), Array<float>(headSize),
                        Array<Channel>(channels_of(headSize, channelCodes, random))});
    targets.push_back(reinterpret_cast<uint64_t>(sketches[head].bits.data));
    targets.push_back(reinterpret_cast<uint64_t>(sketches[head].steps.data));
    targets.push_back(reinterpret_cast<uint64_t>(sketches[head].centre.data));
    targets.push_back(
        channelCodes == 0 ? 0 : reinterpret_cast<uint64_t>(sketches[head].channels.data));
    ranges.insert(ranges.end(), {head, int(centredPages.size()) / 2});
    for (int p = 0; p < pages; p++) {
      const int slot = slot_of(head, p);
      if (p < centred) centredPages.insert(centredPages.end(), {slot, p});
      jobs.insert(jobs.end(), {head, p, slot, 0});
    }
  }
  ranges.insert(ranges.end(), {0, int(centredPages.size()) / 2});
  Array<uint16_t> poolArray(pool);
  Array<uint64_t> targetArray(targets);
  Array<int> rangeArray(ranges), centredArray(centredPages), jobArray(jobs);
  Array<float> rotationArray(rotation);
  launch("sketch_centre", grid(kvHeads), 256, 0, poolArray.data, pageTokens, headSize,
         targetArray.data, rangeArray.data, centredArray.data, rope.blocks.data, rope.offsets.data,
         pairs, halfSplit);
  launch("sketch_keys", grid(int(jobs.size()) / 4), 128, 8 * headSize * 4, poolArray.data,
         pageTokens, headSize, codes, planes, rotationArray.data, targetArray.data, jobArray.data,
         rope.blocks.data, rope.offsets.data, pairs, halfSplit);
  for (int head = 0; head < kvHeads; head++) {
    std::vector<double> sums(headSize), own(headSize);
    for (int p = 0; p < centred; p++)
      for (int t = 0; t < pageTokens; t++) {
        for (int d = 0; d < headSize; d++) {
          own[d] = key(centredPages[2 * (head * centred + p)], t, d);
        }
        own = rope.turned(own, -(p * pageTokens + t));
        for (int d = 0; d < headSize; d++) sums[d] += own[d] / (centred * pageTokens);
      }
    const std::vector<float> centre(sums.begin(), sums.end());
    expect_close(what + ": centre", sketches[head].centre, centre, 1e-5);
    for (int p = 0; p < pages; p++)
      for (int t = 0; t < pageTokens; t++) {
        const int slot = jobs[4 * (head * pages + p) + 2], token = p * pageTokens + t;
        const auto here = rope.turned(sums, token);
        if (channelCodes > 0) {
          for (int d = 0; d < headSize; d++) own[d] = double(key(slot, t, d)) - here[d];
          check_channels(what, sketches[head], token, words, own);
          continue;
        }
        std::vector<double> turned(headSize);
        double square = 0;
        for (int i = 0; i < headSize; i++) {
          for (int j = 0; j < headSize; j++) {
            turned[i] += rotation[i * headSize + j] * (double(key(slot, t, j)) - here[j]);
          }
          square += turned[i] * turned[i];
        }
        const double outer = planes == 1 ? 1e30 : 2 * 0.4979 * std::sqrt(square / headSize);
        const int most = (1 << planes) - 1;
        double product = 0;
        for (int i = 0; i < headSize; i++) {
          const int found = code_of(sketches[head], token, i, planes, words);
          int code = (turned[i] >= 0 ? most + 1 : most - 1) / 2;
          if (turned[i] > outer) code = most;
          if (turned[i] < -outer) code = 0;
          // A number beside a threshold may fall on either side.
          const bool beside =
              std::fabs(turned[i]) < 1e-4 || std::fabs(std::fabs(turned[i]) - outer) < 1e-4;
          expect(what + text(": code of token %d, dimension %d", token, i),
                 found == code || beside);
          product += turned[i] * (2 * found - most);
        }
        const std::vector<float> step = {float(square / product)};
        const float found = bf16_value(sketches[head].steps[token]);
        expect_close(what + ": step", &found, step, 5e-3);
      }
  }

  const int queryHeads = kvHeads * group, position = tokens + 3, row = 2;
  const auto query = random.normals((row + 1) * queryHeads * headSize);
  Array<float> queries(query), prepared(queryHeads * codes), waves(2 * queryHeads * pairs),
      excess(queryHeads);
  const float errorVariance = channelCodes > 0 ? 0.f : 0.37f;
  Array<int> rows(std::vector<int>{row});
  const float scale = 1 / std::sqrt(float(headSize));
  launch("prepare_queries", grid(queryHeads, 1), 128, headSize * 4, queries.data, queryHeads,
         kvHeads, headSize, codes, scale, errorVariance, rotationArray.data, targetArray.data, pairs,
         halfSplit, rows.data, prepared.data, waves.data, excess.data);
  std::vector<int> parts, headParts, offsets;
  const int partPages = std::max(1, 96 / pageTokens);
  int entries = 0;
  for (int head = 0; head < kvHeads; head++) {
    const int first = window > 0 ? std::max(0, position - window + 1) / pageTokens : 0;
    headParts.push_back(int(parts.size()) / 4);
    for (int from = first; from < pages; from += partPages) {
      const int to = std::min(pages, from + partPages);
      parts.insert(parts.end(), {head, from, to, entries});
      entries += to - from;
    }
    headParts.push_back(int(parts.size()) / 4 - headParts.back());
    offsets.push_back(head * (pages + 5));
  }
  const int count = int(parts.size()) / 4;
  Array<int> partArray(parts), headPartArray(headParts), offsetArray(offsets),
      segment(std::vector<int>{position, 0, 0, 0});
  Array<float> states(count * group * 2), sums(entries * group), mass(kvHeads * (pages + 5));
  for (size_t i = 0; i < mass.count; i++) mass[i] = 0;
  const int partTokens = divide_up(partPages * pageTokens, 64) * 64 + 64;
  launch("score_sketches", grid(count), 256, 4 * group * (2 * pairs + codes + partTokens),
         prepared.data, waves.data, excess.data, queryHeads, kvHeads, codes, planes, pageTokens,
         window, rope.blocks.data, rope.offsets.data, pairs, targetArray.data, segment.data,
         partArray.data, states.data, sums.data);
  launch("merge_sketches", grid(kvHeads), 256, 0, queryHeads, kvHeads, partArray.data,
         headPartArray.data, offsetArray.data, states.data, sums.data, mass.data);
  std::vector<float> expected(mass.count);
  for (int q = 0; q < queryHeads; q++) {
    const Sketch& s = sketches[q / group];
    std::vector<double> wanted(codes), asked(headSize), scores;
    double square = 0;
    for (int j = 0; j < headSize; j++) {
      asked[j] = double(scale) * query[(row * queryHeads + q) * headSize + j];
      square += asked[j] * asked[j];
    }
    for (int i = 0; i < codes; i++) {
      if (channelCodes > 0) wanted[i] = asked[s.channels[i].dimension] * s.channels[i].weight;
      for (int j = 0; channelCodes == 0 && j < headSize; j++) {
        wanted[i] += rotation[i * headSize + j] * asked[j];
      }
    }
    const std::vector<double> centre(s.centre.data, s.centre.data + headSize);
    double largest = -1e30, total = 0;
    for (int token = 0; token < tokens; token++) {
      double score = 0;
      for (int i = 0; i < codes; i++) {
        score += wanted[i] * (2 * code_of(s, token, i, planes, words) - ((1 << planes) - 1));
      }
      const bool visible = window <= 0 || token > position - window;
      const double step = bf16_value(s.steps[token]);
      score = score * step - errorVariance * square / 2 * step * step;
      const auto here = rope.turned(centre, token);
      for (int j = 0; j < 2 * pairs; j++) score += asked[j] * here[j];
      scores.push_back(visible ? score : -INFINITY);
      largest = std::max(largest, scores.back());
    }
    for (double score : scores) total += std::exp(score - largest);
    for (int token = 0; token < tokens; token++) {
      expected[offsets[q / group] + token / pageTokens] +=
          std::exp(scores[token] - largest) / total / group;
    }
  }
  expect_close(what + ": mass", mass, expected, 1e-4);
}
}  // namespace

KERNEL_TEST(sketches_are_made_and_scored) {
  Random random(50);
  check(64, 16, 2, 0, 3, 0, 32, 1, random);
  check(64, 8, 1, 0, 1, 0, 16, 0, random);
  // One bit a dimension, two, and numbers that fill no word.
  check(64, 16, 2, 32, 3, 0, 32, 0, random);
  check(64, 8, 2, 64, 1, 100, 16, 1, random);
  check(80, 8, 2, 40, 7, 0, 40, 1, random);
  check(96, 1, 2, 33, 3, 50, 24, 0, random);
  check(128, 32, 2, 128, 4, 0, 64, 1, random);
  check(256, 16, 2, 7, 1, 0, 0, 1, random);
  for (int headSize : {64, 80, 96, 128, 256}) {
    for (int planes : {1, 2}) {
      const int pageTokens = headSize == 96 ? 1 : headSize == 128 ? 16 : headSize == 256 ? 32 : 8;
      check(headSize, pageTokens, planes, 0,
            headSize == 64   ? 3
            : headSize == 80 ? 1
                             : 7,
            headSize == 80 ? 50 : 0,
            headSize == 64   ? 0
            : headSize == 96 ? 24
                             : headSize / 2,
            headSize == 80, random);
    }
  }
}
