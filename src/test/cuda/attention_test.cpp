#include "testing.h"

using namespace testing;

namespace {
struct Shape {
  int kvHeads, group, headSize, pageTokens, window;
  int queryHeads() const { return kvHeads * group; }
  float scale() const { return 1 / std::sqrt(float(headSize)); }
  std::string name() const {
    return text("%d KV heads x %d, head size %d, pages of %d, window %d", kvHeads, group, headSize,
                pageTokens, window);
  }
};

/// Sequences with pages in random slots, some frozen away, and the launch's tables.
struct Batch {
  Shape shape;
  int rows = 0, slots = 0, firstRow = 0;
  std::vector<int> segment, head, page;      // as the kernels want them, flattened
  std::vector<float> keys, values, queries;  // of the rows
  std::vector<uint16_t> pool;

  int segments() const { return int(segment.size()) / 4; }
  int heads() const { return int(head.size()) / 2; }
  int pages() const { return int(page.size()) / 2; }
};

/// Lengths before this pass and rows of it, by sequence.
Batch make_batch(Shape shape, const std::vector<std::pair<int, int>>& lengths, int frozenPercent,
                 Random& random) {
  Batch b;
  b.shape = shape;
  b.firstRow = 2;
  int row = b.firstRow;
  for (auto [before, rows] : lengths) {
    b.segment.insert(b.segment.end(), {row, rows, before, 0});
    row += rows;
    for (int h = 0; h < shape.kvHeads; h++) {
      const int count = divide_up(before + rows, shape.pageTokens);
      const int first = b.pages();
      for (int p = 0; p < count; p++) {
        // Whole pages before this pass may be away.
        if ((p + 1) * shape.pageTokens <= before && random.below(100) < frozenPercent) continue;
        b.page.insert(b.page.end(), {b.slots++, p * shape.pageTokens});
      }
      b.head.insert(b.head.end(), {first, b.pages() - first});
    }
  }
  b.rows = row;
  std::vector<int> slot(b.slots);
  for (int i = 0; i < b.slots; i++) slot[i] = i;
  std::shuffle(slot.begin(), slot.end(), random.engine);
  for (int i = 0; i < b.pages(); i++) b.page[2 * i] = slot[b.page[2 * i]];
  b.keys = random.normals(size_t(row) * shape.kvHeads * shape.headSize);
  b.values = random.normals(b.keys.size());
  b.queries = random.normals(size_t(row) * shape.queryHeads() * shape.headSize, 2);
  // What nobody has written is NaN, so that reading it shows.
  b.pool.assign(size_t(b.slots) * 2 * shape.pageTokens * shape.headSize, 0xffff);
  for (int s = 0; s < b.segments(); s++)
    for (int h = 0; h < shape.kvHeads; h++) {
      const int* list = &b.head[2 * (s * shape.kvHeads + h)];
      for (int p = list[0]; p < list[0] + list[1]; p++)
        for (int t = 0; t < shape.pageTokens; t++) {
          if (b.page[2 * p + 1] + t >= lengths[s].first) continue;
          const size_t at = (size_t(b.page[2 * p]) * 2 * shape.pageTokens + t) * shape.headSize;
          for (int d = 0; d < shape.headSize; d++) {
            b.pool[at + d] = bf16_bits(random.normal());
            b.pool[at + size_t(shape.pageTokens) * shape.headSize + d] = bf16_bits(random.normal());
          }
        }
    }
  return b;
}

struct Device {
  Array<int> segment, head, page;
  Array<float> keys, values, queries;
  Array<uint16_t> pool;
  explicit Device(const Batch& b)
      : segment(b.segment),
        head(b.head),
        page(b.page),
        keys(b.keys),
        values(b.values),
        queries(b.queries),
        pool(b.pool) {}
};

/// Writes the rows' keys and values with the kernel and checks every bit of the pool.
void write_rows(Batch& b, Device& device) {
  const Shape& shape = b.shape;
  launch("write_kv", grid(divide_up(shape.kvHeads, 8), b.rows - b.firstRow), 256, 0,
         device.keys.data, device.values.data, shape.kvHeads, shape.headSize, shape.pageTokens,
         device.segment.data, b.segments(), device.head.data, device.page.data, device.pool.data);
  for (int s = 0; s < b.segments(); s++)
    for (int h = 0; h < shape.kvHeads; h++) {
      const int* list = &b.head[2 * (s * shape.kvHeads + h)];
      const int* segment = &b.segment[4 * s];
      for (int p = list[0]; p < list[0] + list[1]; p++)
        for (int t = 0; t < shape.pageTokens; t++) {
          const int row = b.page[2 * p + 1] + t - segment[2];
          if (row < 0 || row >= segment[1]) continue;
          const size_t to = (size_t(b.page[2 * p]) * 2 * shape.pageTokens + t) * shape.headSize;
          const size_t from = (size_t(segment[0] + row) * shape.kvHeads + h) * shape.headSize;
          for (int d = 0; d < shape.headSize; d++) {
            b.pool[to + d] = bf16_bits(b.keys[from + d]);
            b.pool[to + size_t(shape.pageTokens) * shape.headSize + d] =
                bf16_bits(b.values[from + d]);
          }
        }
    }
  expect("the pool after write_kv",
         std::memcmp(b.pool.data(), device.pool.data, 2 * b.pool.size()) == 0);
}

struct Attention {
  std::vector<float> out, logSums, mass;
};

Attention expected_attention(const Batch& b) {
  const Shape& shape = b.shape;
  Attention a;
  a.out.assign(b.queries.size(), 0);
  a.logSums.assign(size_t(b.rows) * shape.queryHeads(), 0);
  a.mass.assign(b.pages(), 0);
  for (int s = 0; s < b.segments(); s++)
    for (int r = 0; r < b.segment[4 * s + 1]; r++)
      for (int q = 0; q < shape.queryHeads(); q++) {
        const int* list = &b.head[2 * (s * shape.kvHeads + q / shape.group)];
        const int position = b.segment[4 * s + 2] + r;
        const size_t index = size_t(b.segment[4 * s] + r) * shape.queryHeads() + q;
        const float* query = &b.queries[index * shape.headSize];
        std::vector<double> scores;
        std::vector<size_t> at;
        std::vector<int> pageOf;
        for (int p = list[0]; p < list[0] + list[1]; p++)
          for (int t = 0; t < shape.pageTokens; t++) {
            const int key = b.page[2 * p + 1] + t;
            if (key > position || (shape.window > 0 && key <= position - shape.window)) continue;
            at.push_back((size_t(b.page[2 * p]) * 2 * shape.pageTokens + t) * shape.headSize);
            pageOf.push_back(p);
            double score = 0;
            for (int d = 0; d < shape.headSize; d++) {
              score += double(query[d]) * bf16_value(b.pool[at.back() + d]);
            }
            scores.push_back(score * shape.scale());
          }
        double largest = -1e30, total = 0;
        for (double score : scores) largest = std::max(largest, score);
        for (double score : scores) total += std::exp(score - largest);
        a.logSums[index] = largest + std::log(total);
        std::vector<double> sum(shape.headSize);
        for (size_t i = 0; i < scores.size(); i++) {
          const double weight = std::exp(scores[i] - largest) / total;
          a.mass[pageOf[i]] += weight / (shape.group * b.segment[4 * s + 1]);
          for (int d = 0; d < shape.headSize; d++) {
            const size_t value = at[i] + size_t(shape.pageTokens) * shape.headSize + d;
            sum[d] += weight * bf16_value(b.pool[value]);
          }
        }
        for (int d = 0; d < shape.headSize; d++) a.out[index * shape.headSize + d] = sum[d];
      }
  return a;
}

/// Only the segments' rows: the ones before are not touched.
void expect_rows(const std::string& what, const Batch& b, const Array<float>& found,
                 const std::vector<float>& expected, double tolerance) {
  const size_t skipped = found.count / b.rows * b.firstRow;
  expect_close(what, found.data + skipped,
               std::vector<float>(expected.begin() + skipped, expected.end()), tolerance);
}

const Shape kShapes[] = {{3, 3, 64, 16, 0},  {1, 1, 80, 8, 0},   {2, 7, 96, 32, 0},
                         {2, 4, 128, 16, 0}, {1, 8, 256, 8, 0},  {2, 4, 128, 1, 0},
                         {3, 3, 64, 16, 20}, {1, 4, 256, 32, 9}, {2, 2, 80, 1, 7},
                         {1, 5, 16, 8, 0},   {1, 12, 32, 16, 0}};
}  // namespace

KERNEL_TEST(attend_decode_over_ragged_batches) {
  Random random(20);
  for (const Shape& shape : kShapes) {
    for (int frozen : {0, 40}) {
      Batch b = make_batch(shape, {{0, 1}, {1, 1}, {33, 1}, {200, 1}, {79, 1}}, frozen, random);
      Device device(b);
      write_rows(b, device);
      const Attention expected = expected_attention(b);
      for (int partTokens : {32, 64, 256}) {
        const int partPages = std::max(1, partTokens / shape.pageTokens);
        std::vector<int> parts, headParts;
        int most = 0;
        for (int i = 0; i < b.heads(); i++) {
          const int position = b.segment[4 * (i / shape.kvHeads) + 2];
          int first = 0;
          // Pages wholly before the window may be left out; one is kept here, to be masked.
          while (shape.window > 0 && first + 1 < b.head[2 * i + 1] &&
                 b.page[2 * (b.head[2 * i] + first + 1) + 1] + shape.pageTokens <=
                     position - shape.window + 1) {
            first++;
          }
          headParts.push_back(int(parts.size()) / 4);
          for (int from = first; from < b.head[2 * i + 1]; from += partPages) {
            const int to = std::min(from + partPages, b.head[2 * i + 1]);
            parts.insert(parts.end(), {i, from, to, 0});
            most = std::max(most, to - from);
          }
          headParts.push_back(int(parts.size()) / 4 - headParts.back());
        }
        const int count = int(parts.size()) / 4, group = shape.group;
        const int shared =
            4 * (group * most * shape.pageTokens + 4 * std::min(group, 4) * shape.headSize +
                 2 * group + group * shape.headSize) +
            8 * most;
        Array<int> partArray(parts), headPartArray(headParts);
        Array<float> states(count * group * 2), sums(count * group * shape.headSize),
            pageSums(b.pages() * group), out(b.queries.size()), mass(b.pages());
        Array<uint16_t> rounded(b.queries.size());
        const std::string what =
            shape.name() + text(", %d %% frozen, parts of %d", frozen, partTokens);
        launch("attend_decode", grid(count), 128, (shared + 15) / 16 * 16, device.queries.data,
               shape.queryHeads(), shape.kvHeads, shape.headSize, shape.scale(), shape.window,
               shape.pageTokens, device.segment.data, device.head.data, device.page.data,
               partArray.data, device.pool.data, states.data, sums.data, pageSums.data);
        launch("merge_decode", grid(b.heads(), group), 128, 0, shape.queryHeads(), shape.kvHeads,
               shape.headSize, device.segment.data, device.head.data, partArray.data,
               headPartArray.data, states.data, sums.data, pageSums.data, out.data, rounded.data,
               mass.data);
        expect_rows(what, b, out, expected.out, 1e-5);
        expect_close(what + ": mass", mass, expected.mass, 1e-5);
        for (size_t i = out.count / b.rows * b.firstRow; i < out.count; i++) {
          expect("bf16", rounded[i] == bf16_bits(out[i]));
        }
        Array<float> plain(b.queries.size());
        launch("merge_decode", grid(b.heads(), group), 128, 0, shape.queryHeads(), shape.kvHeads,
               shape.headSize, device.segment.data, device.head.data, partArray.data,
               headPartArray.data, states.data, sums.data, nullptr, plain.data, nullptr, nullptr);
        expect("the same without mass", std::memcmp(plain.data, out.data, 4 * out.count) == 0);
      }
    }
  }
}

KERNEL_TEST(attend_prefill_over_ragged_batches) {
  Random random(21);
  for (const Shape& shape : kShapes) {
    for (int frozen : {0, 40}) {
      Batch b = make_batch(shape, {{0, 33}, {90, 2}, {5, 17}, {150, 7}}, frozen, random);
      Device device(b);
      write_rows(b, device);
      const Attention expected = expected_attention(b);
      Array<float> out(b.queries.size()), logSums(expected.logSums.size()), mass(b.pages());
      Array<uint16_t> rounded(b.queries.size());
      int mostPages = 0;
      for (int i = 0; i < b.heads(); i++) mostPages = std::max(mostPages, b.head[2 * i + 1]);
      const int room = (shape.headSize <= 64    ? 64
                        : shape.headSize <= 96  ? 96
                        : shape.headSize <= 128 ? 128
                                                : 256) +
                       8;
      const int shared = 2 * room * (64 + 4 * (shape.headSize <= 128 ? 64 : 32));
      launch("attend_prefill", grid(divide_up(33 * shape.group, 64), shape.kvHeads, b.segments()),
             128, shared, device.queries.data, shape.queryHeads(), shape.kvHeads, shape.headSize,
             shape.scale(), shape.window, shape.pageTokens, device.segment.data, device.head.data,
             device.page.data, device.pool.data, out.data, rounded.data, logSums.data);
      // Queries and probabilities are rounded to bf16.
      expect_rows(shape.name() + ": log sums", b, logSums, expected.logSums, 6e-3);
      expect_rows(shape.name(), b, out, expected.out, 1.5e-2);
      for (size_t i = out.count / b.rows * b.firstRow; i < out.count; i++) {
        expect("bf16", rounded[i] == bf16_bits(out[i]));
      }
      launch("mass_prefill",
             grid(divide_up(mostPages * shape.pageTokens, 64), shape.kvHeads, b.segments()), 128,
             2 * room * 128, device.queries.data, shape.queryHeads(), shape.kvHeads, shape.headSize,
             shape.scale(), shape.window, shape.pageTokens, device.segment.data, device.head.data,
             device.page.data, device.pool.data, logSums.data, mass.data);
      expect_close(shape.name() + ": mass", mass, expected.mass, 1.5e-2);
      for (int i = 0; i < b.heads(); i++) {
        double sum = 0;
        for (int p = 0; p < b.head[2 * i + 1]; p++) sum += mass[b.head[2 * i] + p];
        expect(text("%s: the mass of a head adds up to %g", shape.name().c_str(), sum),
               std::fabs(sum - 1) < 1e-3);
      }
    }
  }
}

KERNEL_TEST(attend_decode_of_a_head_without_pages_is_zero) {
  const int group = 3, headSize = 64;
  Random random(22);
  Array<int> segment(std::vector<int>{0, 1, 40, 0}), head(std::vector<int>{0, 0}),
      part(std::vector<int>{0, 0, 0, 0}), headPart(std::vector<int>{0, 1}), page(2);
  Array<float> queries(random.normals(group * headSize)), states(2 * group), sums(group * headSize),
      pageSums(1), out(group * headSize), mass(1);
  Array<uint16_t> pool(2 * 16 * headSize);
  launch("attend_decode", grid(1), 128, 4 * (3 * headSize * 4 + 2 * group + group * headSize) + 16,
         queries.data, group, 1, headSize, 0.1f, 0, 16, segment.data, head.data, page.data,
         part.data, pool.data, states.data, sums.data, pageSums.data);
  launch("merge_decode", grid(1, group), 128, 0, group, 1, headSize, segment.data, head.data,
         part.data, headPart.data, states.data, sums.data, pageSums.data, out.data, nullptr,
         mass.data);
  for (float value : out.values()) expect("zero", value == 0);
}
