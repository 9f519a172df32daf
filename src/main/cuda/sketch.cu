// Sketches of keys (dev.kvfreeze.device.KeySketches): made when a page fills, scored at each step
// for every token, frozen or not. Codes are of the dimensions that a head's channels name, or of
// the key turned by a fixed matrix (the idea of RaBitQ, arXiv 2405.12497).
#include "page_tables.cuh"
#include "reduce.cuh"
#include "turning.cuh"

namespace {
constexpr int kSketchThreads = 128;
constexpr int kSketchWarps = kSketchThreads / kWarp;
constexpr int kCentreThreads = 256;
constexpr int kScoreThreads = 256;
/// Tokens whose codes lie together.
constexpr int kBlockTokens = kTurnBlock;
/// Dimensions a lane holds of the largest head.
constexpr int kMostDims = 256 / kWarp;
/// Queries scored at a time.
constexpr int kQueries = 4;
constexpr float kLargestFloat = 3.402823466e38f;
/// Half the optimal step of a uniform quantiser of four levels for Gaussian numbers (Max 1960).
constexpr float kGaussianHalfStep = 0.4979f;
/// Codes of 2 bits in a word, and the most step that a key may have, of channels.
constexpr int kChannelCodes = 16;
constexpr float kMostStep = 1e30f;

/// What one code of dev.kvfreeze.device.SketchChannels is of.
struct Channel {
  int dimension;
  /// What a level of 1 stands for, at a step of 1.
  float weight;
  /// One over the width of the dimension's levels.
  float inverseWidth;
  /// Codes of the dimension times 4, plus which of them from the lowest on.
  int place;

  /// Half the number of the dimension's levels.
  __device__ __forceinline__ float half() const {
    return static_cast<float>(1 << (2 * (place >> 2) - 1));
  }
};

/// Where one KV head's sketches lie.
struct Target {
  int* bits;
  bf16* steps;
  float* centre;
  /// Null where codes are of turned keys.
  const Channel* channels;

  __device__ __forceinline__ Target(const uint64* targets, int index)
      : bits(reinterpret_cast<int*>(targets[4 * index])),
        steps(reinterpret_cast<bf16*>(targets[4 * index + 1])),
        centre(reinterpret_cast<float*>(targets[4 * index + 2])),
        channels(reinterpret_cast<const Channel*>(targets[4 * index + 3])) {}
};

/// Words of so many codes.
__device__ __forceinline__ int words_of(int codes, int planes) {
  return divide_up(codes, 32 / planes);
}

/// Index of a token's word.
__device__ __forceinline__ int word_at(int token, int word, int words) {
  return (token / kBlockTokens * words + word) * kBlockTokens + token % kBlockTokens;
}

/// Row i of the rotation times a vector in shared memory.
__device__ __forceinline__ float rotated(const float* rotation, int i, const float* x,
                                         int headSize) {
  const float4* row = reinterpret_cast<const float4*>(rotation + static_cast<size_t>(i) * headSize);
  const float4* values = reinterpret_cast<const float4*>(x);
  float sum = 0;
  for (int j = 0; j < headSize / 4; j++) {
    const float4 r = row[j];
    const float4 v = values[j];
    sum = fmaf(r.x, v.x, sum);
    sum = fmaf(r.y, v.y, sum);
    sum = fmaf(r.z, v.z, sum);
    sum = fmaf(r.w, v.w, sum);
  }
  return sum;
}

/// One warp encodes one token's rotated key.
__device__ __forceinline__ void encode(const float* key, int headSize, int planes, int token,
                                       const Target& target) {
  const int lane = threadIdx.x % kWarp;
  float values[kMostDims];
  float square = 0;
#pragma unroll
  for (int i = 0; i < kMostDims; i++) {
    const int d = i * kWarp + lane;
    values[i] = d < headSize ? key[d] : 0.f;
    square += values[i] * values[i];
  }
  square = warp_sum(square);
  const int most = (1 << planes) - 1;
  // With one bit all that counts is the sign: the outer levels are never reached.
  const float outer = planes == 1
                          ? kLargestFloat
                          : fminf(kLargestFloat, 2 * kGaussianHalfStep * sqrtf(square / headSize));
  const int codes = 32 / planes;
  const int words = words_of(headSize, planes);
  float product = 0;
#pragma unroll
  for (int i = 0; i < kMostDims; i++) {
    const int d = i * kWarp + lane;
    if (i * kWarp < headSize) {
      int code = (values[i] >= 0 ? most + 1 : most - 1) / 2;
      if (values[i] > outer) {
        code = most;
      } else if (values[i] < -outer) {
        code = 0;
      }
      if (d >= headSize) code = 0;
      product += values[i] * (2 * code - most);
      // Lanes of one word put their codes together.
      uint32 word = static_cast<uint32>(code) << lane % codes * planes;
      for (int other = codes / 2; other > 0; other /= 2) word |= shuffle_xor(word, other);
      const int index = d / codes;
      if (lane % codes == 0 && index < words) {
        if ((index + 1) * codes <= headSize) word ^= 0x80000000u;
        target.bits[word_at(token, index, words)] = static_cast<int>(word);
      }
    }
  }
  product = warp_sum(product);
  // RaBitQ's unbiased estimate of a dot product with the key: |k|^2 / <k, code>.
  if (lane == 0) target.steps[token] = float_to_bf16(product == 0 ? 0.f : square / product);
}

/// One warp encodes one token's centred key in the dimensions of its channels. Each operation is
/// rounded by itself, so that codes are those of the CPU.
__device__ __forceinline__ void encode_channels(const float* key, int codes, int token,
                                                const Target& target) {
  const int lane = threadIdx.x % kWarp;
  // At least 1, and such that no dimension is cut; a bfloat16 number, rounded up.
  float step = 1;
  for (int i = lane; i < codes; i += kWarp) {
    const Channel channel = target.channels[i];
    const float reach =
        __fmul_rn(__fmul_rn(fabsf(key[channel.dimension]), channel.inverseWidth),
                  1 / channel.half());
    step = reach > step ? reach : step;
  }
  step = warp_max(step);
  step = step < kMostStep ? step : kMostStep;
  const uint32 bits = (__float_as_uint(step) + 0xffffu) & 0xffff0000u;
  const float inverse = __fdiv_rn(1.f, __uint_as_float(bits));
  const int words = words_of(codes, 2);
  for (int first = 0; first < codes; first += kWarp) {
    const int i = first + lane;
    uint32 word = 0;
    if (i < codes) {
      const Channel channel = target.channels[i];
      const float half = channel.half();
      const float top = 2 * half - 1;
      const float level = __fadd_rn(
          __fmul_rn(__fmul_rn(key[channel.dimension], channel.inverseWidth), inverse), half);
      const int code = level >= 0 ? static_cast<int>(level <= top ? level : top) : 0;
      word = static_cast<uint32>(code >> 2 * (channel.place & 3) & 3) << lane % kChannelCodes * 2;
    }
    // Lanes of one word put their codes together.
    for (int other = kChannelCodes / 2; other > 0; other /= 2) word |= shuffle_xor(word, other);
    const int index = i / kChannelCodes;
    if (lane % kChannelCodes == 0 && index < words) {
      if ((index + 1) * kChannelCodes <= codes) word ^= 0x80000000u;
      target.bits[word_at(token, index, words)] = static_cast<int>(word);
    }
  }
  if (lane == 0) target.steps[token] = static_cast<bf16>(bits >> 16);
}

/// Part weights as in attention.cu.
__device__ __forceinline__ float part_weight(float maximum, float largest) {
  return maximum == -infinity() ? 0.f : expf(maximum - largest);
}
}  // namespace

extern "C" __global__ void __launch_bounds__(kCentreThreads)
    sketch_centre(const bf16* pool, int pageTokens, int headSize, const uint64* targets,
                  const int2* ranges, const int2* pages, const float2* turnBlocks,
                  const float2* turnOffsets, int pairs, int halfSplit) {
  __shared__ float sums[kCentreThreads];
  const Turns turns(turnBlocks, turnOffsets, pairs, halfSplit);
  const int2 range = ranges[blockIdx.x];
  const int limit = ranges[blockIdx.x + 1].y;
  const Target target(targets, range.x);
  const int tokens = (limit - range.y) * pageTokens;
  // Several threads share a dimension: those of head sizes below the block's.
  const int shares = max(1, kCentreThreads / headSize);
  const int share = threadIdx.x / headSize;
  const int d = threadIdx.x % headSize;
  float sum = 0;
  if (share < shares) {
    for (int token = share; token < tokens; token += shares) {
      const int2 page = pages[range.y + token / pageTokens];
      const int t = token % pageTokens;
      const bf16* key = key_at(pool, page.x, t, pageTokens, headSize);
      const auto read = [key](int i) { return bf16_to_float(key[i]); };
      sum += turns.turned(read, d, page.y * pageTokens + t, -1);
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < headSize) {
    float total = 0;
    for (int i = 0; i < shares; i++) total += sums[i * headSize + threadIdx.x];
    target.centre[threadIdx.x] = total / tokens;
  }
}

extern "C" __global__ void __launch_bounds__(kSketchThreads)
    sketch_keys(const bf16* pool, int pageTokens, int headSize, int codes, int planes,
                const float* rotation, const uint64* targets, const int4* jobs,
                const float2* turnBlocks, const float2* turnOffsets, int pairs, int halfSplit) {
  DYNAMIC_SHARED(shared);
  const Turns turns(turnBlocks, turnOffsets, pairs, halfSplit);
  float* keys = reinterpret_cast<float*>(shared);
  float* turned = keys + kSketchWarps * headSize;
  const int4 job = jobs[blockIdx.x];
  const Target target(targets, job.x);
  const int warp = threadIdx.x / kWarp;
  for (int first = 0; first < pageTokens; first += kSketchWarps) {
    const int count = min(kSketchWarps, pageTokens - first);
    __syncthreads();
    for (int i = threadIdx.x; i < count * headSize; i += kSketchThreads) {
      const int t = i / headSize;
      const int d = i - t * headSize;
      const auto centre = [&target](int j) { return target.centre[j]; };
      keys[i] = bf16_to_float(key_at(pool, job.z, first + t, pageTokens, headSize)[d]) -
                turns.turned(centre, d, job.y * pageTokens + first + t, 1);
    }
    __syncthreads();
    const int token = job.y * pageTokens + first + warp;
    if (target.channels != nullptr) {
      if (warp < count) encode_channels(keys + warp * headSize, codes, token, target);
      continue;
    }
    for (int i = threadIdx.x; i < count * headSize; i += kSketchThreads) {
      const int t = i / headSize;
      turned[i] = rotated(rotation, i - t * headSize, keys + t * headSize, headSize);
    }
    __syncthreads();
    if (warp < count) encode(turned + warp * headSize, headSize, planes, token, target);
  }
}

// A query as the codes want it: turned like the keys, or of the dimensions of the channels and
// times their weights. Beside it: what it scores with the head's centre is a wave of the position
// for each pair, in phase and in quadrature; and half the variance of its scores' errors for a step
// of 1.
extern "C" __global__ void __launch_bounds__(kSketchThreads, 8)
    prepare_queries(const float* queries, int queryHeads, int kvHeads, int headSize, int codes,
                    float scale, float errorVariance, const float* rotation, const uint64* targets,
                    int pairs, int halfSplit, const int* rows, float* prepared, float2* waves,
                    float* excess) {
  DYNAMIC_SHARED(shared);
  float* query = reinterpret_cast<float*>(shared);
  const size_t from = (static_cast<size_t>(rows[blockIdx.y]) * queryHeads + blockIdx.x) * headSize;
  const size_t to = static_cast<size_t>(blockIdx.y) * queryHeads + blockIdx.x;
  for (int d = threadIdx.x; d < headSize; d += kSketchThreads) query[d] = queries[from + d] * scale;
  __syncthreads();
  const int head = blockIdx.x / (queryHeads / kvHeads);
  const Target target(targets, blockIdx.y * kvHeads + head);
  if (target.channels == nullptr) {
    for (int i = threadIdx.x; i < codes; i += kSketchThreads) {
      prepared[to * codes + i] = rotated(rotation, i, query, headSize);
    }
  } else {
    for (int i = threadIdx.x; i < codes; i += kSketchThreads) {
      const Channel channel = target.channels[i];
      prepared[to * codes + i] = query[channel.dimension] * channel.weight;
    }
  }
  const Turns turns(nullptr, nullptr, pairs, halfSplit);
  const float* centre = target.centre;
  // Null where nothing was sketched yet, and nothing is scored.
  const int waveCount = centre == nullptr ? 0 : pairs;
  for (int pair = threadIdx.x; pair < waveCount; pair += kSketchThreads) {
    const int a = turns.first(pair);
    const int b = turns.second(pair);
    waves[to * pairs + pair] = make_float2(query[a] * centre[a] + query[b] * centre[b],
                                           query[b] * centre[a] - query[a] * centre[b]);
  }
  if (threadIdx.x < kWarp) {
    float square = 0;
    for (int d = threadIdx.x; d < headSize; d += kWarp) square = fmaf(query[d], query[d], square);
    square = warp_sum(square);
    if (threadIdx.x == 0) excess[to] = square * errorVariance / 2;
  }
}

// A thread a token: neighbouring tokens' words are neighbours in memory. A code becomes a number
// once for four queries, which are broadcast from shared memory.
extern "C" __global__ void __launch_bounds__(kScoreThreads)
    score_sketches(const float* prepared, const float2* waves, const float* excess,
                   int queryHeads, int kvHeads, int codes, int planes, int pageTokens,
                   int window, const float2* turnBlocks, const float2* turnOffsets, int pairs,
                   const uint64* targets, const int4* scoreSegments, const int4* parts,
                   float* partStates, float* pageSums) {
  DYNAMIC_SHARED(shared);
  const int4 part = parts[blockIdx.x];
  const Target target(targets, part.x);
  // How dimensions are paired is in the waves.
  const Turns turns(turnBlocks, turnOffsets, pairs, 0);
  const int group = queryHeads / kvHeads;
  const int segment = part.x / kvHeads;
  const int tokens = (part.z - part.y) * pageTokens;
  const int firstToken = part.y * pageTokens;
  const int start = window_start(scoreSegments[segment].x, window);
  float2* groupWaves = reinterpret_cast<float2*>(shared);
  float* queries = reinterpret_cast<float*>(groupWaves + group * pairs);
  float* scores = queries + group * codes;
  const size_t firstQuery = static_cast<size_t>(segment) * queryHeads + part.x % kvHeads * group;
  const float* from = prepared + firstQuery * codes;
  for (int i = threadIdx.x; i < group * codes; i += kScoreThreads) queries[i] = from[i];
  for (int i = threadIdx.x; i < group * pairs; i += kScoreThreads) {
    groupWaves[i] = waves[firstQuery * pairs + i];
  }
  __syncthreads();

  const int wordCodes = 32 / planes;
  const int words = words_of(codes, planes);
  const int most = (1 << planes) - 1;
  for (int t = threadIdx.x; t < tokens; t += kScoreThreads) {
    const int token = firstToken + t;
    const float step = bf16_to_float(target.steps[token]);
    for (int first = 0; first < group; first += kQueries) {
      float sums[kQueries] = {};
      for (int w = 0; w < words; w++) {
        uint32 word = static_cast<uint32>(target.bits[word_at(token, w, words)]);
        const int count = min(wordCodes, codes - w * wordCodes);
        if (count == wordCodes) word ^= 0x80000000u;
        const float* q = queries + first * codes + w * wordCodes;
#pragma unroll 4
        for (int i = 0; i < count; i++) {
          const float code = static_cast<float>(2 * static_cast<int>(word & most) - most);
          word >>= planes;
#pragma unroll
          for (int g = 0; g < kQueries; g++) {
            if (first + g < group) sums[g] = fmaf(q[g * codes + i], code, sums[g]);
          }
        }
      }
#pragma unroll
      for (int g = 0; g < kQueries; g++) {
        if (first + g < group) sums[g] = (sums[g] - excess[firstQuery + first + g] * step) * step;
      }
      const float2* wave = groupWaves + first * pairs;
#pragma unroll 2
      for (int pair = 0; pair < pairs; pair++) {
        const float2 turn = turns.at(token, pair);
#pragma unroll
        for (int g = 0; g < kQueries; g++) {
          if (first + g < group) {
            const float2 own = wave[g * pairs + pair];
            sums[g] = fmaf(own.x, turn.x, fmaf(own.y, turn.y, sums[g]));
          }
        }
      }
#pragma unroll
      for (int g = 0; g < kQueries; g++) {
        if (first + g < group) {
          scores[(first + g) * tokens + t] = token < start ? -infinity() : sums[g];
        }
      }
    }
  }
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  for (int g = threadIdx.x / kWarp; g < group; g += kScoreThreads / kWarp) {
    float* own = scores + g * tokens;
    float largest = -infinity();
    for (int t = lane; t < tokens; t += kWarp) largest = fmaxf(largest, own[t]);
    largest = warp_max(largest);
    float sum = 0;
    for (int t = lane; t < tokens; t += kWarp) {
      own[t] = part_weight(own[t], largest);
      sum += own[t];
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      float2* states = reinterpret_cast<float2*>(partStates);
      states[static_cast<size_t>(blockIdx.x) * group + g] = make_float2(largest, sum);
    }
  }
  __syncthreads();
  const int pages = part.z - part.y;
  for (int i = threadIdx.x; i < pages * group; i += kScoreThreads) {
    const float* own = scores + i % group * tokens + i / group * pageTokens;
    float sum = 0;
    for (int t = 0; t < pageTokens; t++) sum += own[t];
    pageSums[static_cast<size_t>(part.w) * group + i] = sum;
  }
}

extern "C" __global__ void __launch_bounds__(kScoreThreads)
    merge_sketches(int queryHeads, int kvHeads, const int4* parts, const int2* headParts,
                   const int* massOffsets, const float* partStates, const float* pageSums,
                   float* mass) {
  constexpr int kMostGroup = 64;
  __shared__ float largests[kMostGroup];
  __shared__ float inverses[kMostGroup];
  const int group = queryHeads / kvHeads;
  const int2 own = headParts[blockIdx.x];
  if (own.y == 0) return;
  const float2* states =
      reinterpret_cast<const float2*>(partStates) + static_cast<size_t>(own.x) * group;
  const int lane = threadIdx.x % kWarp;
  for (int g = threadIdx.x / kWarp; g < group; g += kScoreThreads / kWarp) {
    float largest = -infinity();
    for (int i = lane; i < own.y; i += kWarp) largest = fmaxf(largest, states[i * group + g].x);
    largest = warp_max(largest);
    float total = 0;
    for (int i = lane; i < own.y; i += kWarp) {
      const float2 state = states[i * group + g];
      total += state.y * part_weight(state.x, largest);
    }
    total = warp_sum(total);
    if (lane == 0) {
      largests[g] = largest;
      inverses[g] = total > 0 ? 1.f / total : 0.f;
    }
  }
  __syncthreads();
  float* target = mass + massOffsets[blockIdx.x];
  for (int i = 0; i < own.y; i++) {
    const int4 part = parts[own.x + i];
    for (int page = part.y + threadIdx.x; page < part.z; page += kScoreThreads) {
      const float* sums = pageSums + (static_cast<size_t>(part.w) + page - part.y) * group;
      float total = 0;
      for (int g = 0; g < group; g++) {
        const float weight = part_weight(states[i * group + g].x, largests[g]) * inverses[g];
        total = fmaf(sums[g], weight, total);
      }
      target[page] = total / group;
    }
  }
}
