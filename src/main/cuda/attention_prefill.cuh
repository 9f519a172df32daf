// Attention of many rows on tensor cores (FlashAttention-2, arXiv 2307.08691), over pages.
//
// A block of threads takes 64 queries, which are the query heads of a group times 64 / group rows,
// so that all of them share the keys and values; each of its four warps holds 16. Keys and values
// pass through shared memory in blocks of 64 tokens (32 for head sizes above 128, to stay within
// the 99 KB of compute capability 8.9), the next block's copies under way while one is used.
//
// The mass of a page needs the final softmax, so it is a second pass: blocks of 64 tokens over all
// queries that see them, scores again, probabilities by the logSums of the first pass.
#pragma once

#include "page_tables.cuh"
#include "reduce.cuh"

constexpr int kPrefillThreads = 128;
constexpr int kPrefillWarps = kPrefillThreads / kWarp;
/// Queries of a block of threads.
constexpr int kTileQueries = 64;
constexpr float kLog2E = 1.4426950408889634f;

/// Room of a row in shared memory: 16 bytes more spread the rows of ldmatrix over the banks.
template <int kHead>
constexpr int kRowRoom = kHead + 8;

/// Tokens of a block of keys in `attend_tile`.
template <int kHead>
constexpr int kBlockTokens = kHead > 128 ? 32 : 64;

/// The arguments, and which segment and head this block of threads is at.
struct PrefillPass {
  const float* queries;
  const bf16* pool;
  int queryHeads, headSize, group, window, pageTokens;
  float scale;
  int4 segment;
  int2 listed;
  HeadList list;
  int head;

  __device__ __forceinline__ PrefillPass(const float* queries, int queryHeads, int kvHeads,
                                         int headSize, float scale, int window, int pageTokens,
                                         const int4* segments, const int2* heads, const int2* pages,
                                         const bf16* pool)
      : queries(queries),
        pool(pool),
        queryHeads(queryHeads),
        headSize(headSize),
        group(queryHeads / kvHeads),
        window(window),
        pageTokens(pageTokens),
        scale(scale),
        segment(segments[blockIdx.z]),
        listed(heads[blockIdx.z * kvHeads + blockIdx.y]),
        list(pages, listed, pageTokens),
        head(blockIdx.y) {}

  __device__ __forceinline__ int queries_of_head() const { return segment.y * group; }

  /// Index of query i of this head in `[rows][queryHeads]`.
  __device__ __forceinline__ size_t query_index(int i) const {
    const int row = i / group;
    return static_cast<size_t>(segment.x + row) * queryHeads + head * group + (i - row * group);
  }

  __device__ __forceinline__ int position_of_query(int i) const { return segment.z + i / group; }
};

/// Queries `first ..` as bfloat16 into shared memory, zeros past the end.
template <int kHead>
__device__ __forceinline__ void load_queries(const PrefillPass& pass, int first, bf16* tile) {
  constexpr int kPairs = kHead / 2;
  for (int i = threadIdx.x; i < kTileQueries * kPairs; i += kPrefillThreads) {
    const int query = first + i / kPairs;
    const int d = i % kPairs * 2;
    uint32 pair = 0;
    if (query < pass.queries_of_head() && d < pass.headSize) {
      const float* from = pass.queries + pass.query_index(query) * pass.headSize + d;
      pair = pack_bf16(from[0], from[1]);
    }
    *reinterpret_cast<uint32*>(tile + i / kPairs * kRowRoom<kHead> + d) = pair;
  }
}

/// Begins the copies of a block of keys (`offset` 0) or values; tokens are counted through the
/// head's list, those outside [from, limit) become zeros.
template <int kHead, int kTokens>
__device__ __forceinline__ void copy_tokens(const PrefillPass& pass, int first, int from, int limit,
                                            int offset, bf16* tile) {
  constexpr int kChunks = kHead / 8;
#pragma unroll 4
  for (int i = threadIdx.x; i < kTokens * kChunks; i += kPrefillThreads) {
    const int token = first + i / kChunks;
    const int d = i % kChunks * 8;
    const bool valid = token >= from && token < limit && d < pass.headSize;
    const bf16* source = pass.pool;
    if (valid) {
      const int page = pass.list.page_of(token);
      source = key_at(pass.pool, pass.list.pages[page].x, token - page * pass.pageTokens,
                      pass.pageTokens, pass.headSize) +
               offset + d;
    }
    copy_async(tile + i / kChunks * kRowRoom<kHead> + d, source, valid);
  }
}

/// Scores of a warp's 16 queries and kTokens keys: sums[n] are tokens 8 n .. 8 n + 7.
template <int kHead, int kTokens>
__device__ __forceinline__ void multiply_keys(const bf16* queries, const bf16* keys,
                                              float (&scores)[kTokens / 8][4]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int n = 0; n < kTokens / 8; n++) {
#pragma unroll
    for (int c = 0; c < 4; c++) scores[n][c] = 0;
  }
#pragma unroll
  for (int k = 0; k < kHead / 16; k++) {
    uint32 a[4];
    load_matrices(a, queries + lane % 16 * kRowRoom<kHead> + 16 * k + lane / 16 * 8);
#pragma unroll
    for (int n = 0; n < kTokens / 8; n += 2) {
      uint32 b[4];
      const int token = 8 * n + lane / 16 * 8 + lane % 8;
      load_matrices(b, keys + token * kRowRoom<kHead> + 16 * k + lane / 8 % 2 * 8);
      mma_bf16(scores[n], a, b[0], b[1]);
      mma_bf16(scores[n + 1], a, b[2], b[3]);
    }
  }
}

/// out += probabilities x values.
template <int kHead, int kTokens>
__device__ __forceinline__ void add_values(const float (&weights)[kTokens / 8][4],
                                           const bf16* values, float (&out)[kHead / 8][4]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int k = 0; k < kTokens / 16; k++) {
    // The layout of the sums is that of the first operand.
    const uint32 a[4] = {pack_bf16(weights[2 * k][0], weights[2 * k][1]),
                         pack_bf16(weights[2 * k][2], weights[2 * k][3]),
                         pack_bf16(weights[2 * k + 1][0], weights[2 * k + 1][1]),
                         pack_bf16(weights[2 * k + 1][2], weights[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < kHead / 8; n += 2) {
      uint32 b[4];
      const int token = 16 * k + lane / 8 % 2 * 8 + lane % 8;
      load_matrices_transposed(b, values + token * kRowRoom<kHead> + 8 * n + lane / 16 * 8);
      mma_bf16(out[n], a, b[0], b[1]);
      mma_bf16(out[n + 1], a, b[2], b[3]);
    }
  }
}

/// Dynamic shared memory: 2 (kHead + 8) (64 + 4 kBlockTokens) bytes.
template <int kHead>
__device__ __forceinline__ void attend_tile(const PrefillPass& pass, float* out, bf16* outBf16,
                                            float* logSums) {
  constexpr int kTokens = kBlockTokens<kHead>;
  constexpr int kTileRoom = kTokens * kRowRoom<kHead>;
  const int firstQuery = blockIdx.x * kTileQueries;
  if (firstQuery >= pass.queries_of_head()) return;
  DYNAMIC_SHARED(tiles);
  bf16* queryTile = reinterpret_cast<bf16*>(tiles);
  bf16* keyTiles = queryTile + kTileQueries * kRowRoom<kHead>;
  bf16* valueTiles = keyTiles + 2 * kTileRoom;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;

  const int lastQuery = min(firstQuery + kTileQueries, pass.queries_of_head()) - 1;
  const int firstPosition = pass.position_of_query(firstQuery);
  const int lastPosition = pass.position_of_query(lastQuery);
  const int start = window_start(firstPosition, pass.window);
  // Tokens of the list that any query of the tile sees. In the last page only positions up to the
  // tile's own are there for certain.
  const int pageLimit = pass.list.first_after(lastPosition);
  const int lastPage = pass.list.pages[pageLimit - 1].y;
  const int limit =
      (pageLimit - 1) * pass.pageTokens + min(pass.pageTokens, lastPosition - lastPage + 1);
  const int fromPage = start == 0 ? 0 : max(0, pass.list.first_after(start) - 1);
  const int from = fromPage * pass.pageTokens;
  const int toValues = pass.pageTokens * pass.headSize;

  int rowPosition[2], rowStart[2];
  float largest[2] = {-infinity(), -infinity()};
  float total[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int query = min(firstQuery + 16 * warp + lane / 4 + 8 * i, lastQuery);
    rowPosition[i] = pass.position_of_query(query);
    rowStart[i] = window_start(rowPosition[i], pass.window);
  }
  float sums[kHead / 8][4] = {};

  load_queries<kHead>(pass, firstQuery, queryTile);
  copy_tokens<kHead, kTokens>(pass, from, from, limit, 0, keyTiles);
  copy_tokens<kHead, kTokens>(pass, from, from, limit, toValues, valueTiles);
  commit_copies();
  int stage = 0;
  for (int block = from; block < limit; block += kTokens, stage ^= 1) {
    // All warps are done with the stage that is filled now.
    __syncthreads();
    if (block + kTokens < limit) {
      const int next = (stage ^ 1) * kTileRoom;
      copy_tokens<kHead, kTokens>(pass, block + kTokens, from, limit, 0, keyTiles + next);
      copy_tokens<kHead, kTokens>(pass, block + kTokens, from, limit, toValues, valueTiles + next);
    }
    commit_copies();
    wait_copies<1>();
    __syncthreads();

    float scores[kTokens / 8][4];
    multiply_keys<kHead, kTokens>(queryTile + 16 * warp * kRowRoom<kHead>,
                                  keyTiles + stage * kTileRoom, scores);
    const bool all = block + kTokens <= limit &&
                     pass.list.position_of(block + kTokens - 1) <= firstPosition &&
                     (pass.window <= 0 ||
                      pass.list.position_of(block) >= window_start(lastPosition, pass.window));
    const float factor = pass.scale * kLog2E;
    float blockMax[2] = {-infinity(), -infinity()};
#pragma unroll
    for (int n = 0; n < kTokens / 8; n++) {
#pragma unroll
      for (int c = 0; c < 4; c++) {
        scores[n][c] *= factor;
        if (!all) {
          const int token = block + 8 * n + 2 * (lane % 4) + c % 2;
          const int position = token < limit ? pass.list.position_of(token) : 0x7fffffff;
          if (position > rowPosition[c / 2] || position < rowStart[c / 2]) {
            scores[n][c] = -infinity();
          }
        }
        blockMax[c / 2] = fmaxf(blockMax[c / 2], scores[n][c]);
      }
    }
    float keep[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      blockMax[i] = fmaxf(blockMax[i], shuffle_xor(blockMax[i], 1));
      blockMax[i] = fmaxf(blockMax[i], shuffle_xor(blockMax[i], 2));
      const float previous = largest[i];
      largest[i] = fmaxf(previous, blockMax[i]);
      keep[i] = previous == -infinity() ? 0.f : exp2f(previous - largest[i]);
      total[i] *= keep[i];
      // No token seen yet: zero in place of infinity less infinity.
      blockMax[i] = largest[i] == -infinity() ? 0.f : largest[i];
    }
#pragma unroll
    for (int n = 0; n < kTokens / 8; n++) {
#pragma unroll
      for (int c = 0; c < 4; c++) {
        scores[n][c] = exp2f(scores[n][c] - blockMax[c / 2]);
        total[c / 2] += scores[n][c];
      }
    }
#pragma unroll
    for (int n = 0; n < kHead / 8; n++) {
#pragma unroll
      for (int c = 0; c < 4; c++) sums[n][c] *= keep[c / 2];
    }
    add_values<kHead, kTokens>(scores, valueTiles + stage * kTileRoom, sums);
  }

#pragma unroll
  for (int i = 0; i < 2; i++) {
    total[i] += shuffle_xor(total[i], 1);
    total[i] += shuffle_xor(total[i], 2);
    const int query = firstQuery + 16 * warp + lane / 4 + 8 * i;
    if (query > lastQuery) continue;
    const size_t index = pass.query_index(query);
    const float inverse = 1.f / total[i];
    if (logSums != nullptr && lane % 4 == 0) {
      logSums[index] = (largest[i] + log2f(total[i])) / kLog2E;
    }
#pragma unroll
    for (int n = 0; n < kHead / 8; n++) {
      const int d = 8 * n + 2 * (lane % 4);
      if (d < pass.headSize) {
        const float first = sums[n][2 * i] * inverse;
        const float second = sums[n][2 * i + 1] * inverse;
        const size_t at = index * pass.headSize + d;
        if (out != nullptr) *reinterpret_cast<float2*>(out + at) = make_float2(first, second);
        if (outBf16 != nullptr) {
          *reinterpret_cast<uint32*>(outBf16 + at) = pack_bf16(first, second);
        }
      }
    }
  }
}

/// Dynamic shared memory: 2 (kHead + 8) 128 bytes. 64 tokens hold whole pages.
template <int kHead>
__device__ __forceinline__ void sum_mass(const PrefillPass& pass, const float* logSums,
                                         float* mass) {
  constexpr int kTokens = 64;
  __shared__ float tokenSums[kPrefillWarps][kTokens];
  const int block = blockIdx.x * kTokens;
  if (block >= pass.list.count * pass.pageTokens) return;
  DYNAMIC_SHARED(tiles);
  bf16* queryTile = reinterpret_cast<bf16*>(tiles);
  bf16* keyTile = queryTile + kTileQueries * kRowRoom<kHead>;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;

  const int lastPosition = pass.segment.z + pass.segment.y - 1;
  const int pageLimit = pass.list.first_after(lastPosition);
  const int lastPage = pageLimit > 0 ? pass.list.pages[pageLimit - 1].y : 0;
  const int limit = pageLimit == 0 ? 0
                                   : (pageLimit - 1) * pass.pageTokens +
                                         min(pass.pageTokens, lastPosition - lastPage + 1);
  float sums[kTokens / 8][2] = {};
  if (block < limit) {
    copy_tokens<kHead, kTokens>(pass, block, block, limit, 0, keyTile);
    commit_copies();
    wait_copies<0>();
    const int blockFirst = pass.list.position_of(block);
    const int blockLast = pass.list.position_of(min(block + kTokens, limit) - 1);
    // Queries at positions from the block's first token on see it, until the window has passed.
    int query = max(0, blockFirst - pass.segment.z) * pass.group / kTileQueries * kTileQueries;
    int queryLimit = pass.queries_of_head();
    if (pass.window > 0) {
      const int rows = max(0, blockLast + pass.window - pass.segment.z);
      queryLimit = min(queryLimit, min(rows, pass.segment.y) * pass.group);
    }
    for (; query < queryLimit; query += kTileQueries) {
      __syncthreads();
      load_queries<kHead>(pass, query, queryTile);
      __syncthreads();
      float scores[kTokens / 8][4];
      multiply_keys<kHead, kTokens>(queryTile + 16 * warp * kRowRoom<kHead>, keyTile, scores);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int own = query + 16 * warp + lane / 4 + 8 * i;
        if (own < queryLimit) {
          const float logSum = logSums[pass.query_index(own)] * kLog2E;
          const int position = pass.position_of_query(own);
          const int start = window_start(position, pass.window);
#pragma unroll
          for (int n = 0; n < kTokens / 8; n++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
              const int token = block + 8 * n + 2 * (lane % 4) + c;
              const int at = token < limit ? pass.list.position_of(token) : 0x7fffffff;
              if (at >= start && at <= position) {
                sums[n][c] += exp2f(scores[n][2 * i + c] * pass.scale * kLog2E - logSum);
              }
            }
          }
        }
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kTokens / 8; n++) {
#pragma unroll
    for (int c = 0; c < 2; c++) {
      for (int offset = 4; offset < kWarp; offset *= 2) {
        sums[n][c] += shuffle_xor(sums[n][c], offset);
      }
      if (lane < 4) tokenSums[warp][8 * n + 2 * lane + c] = sums[n][c];
    }
  }
  __syncthreads();
  const int firstPage = block / pass.pageTokens;
  const int pages = min(kTokens / pass.pageTokens, pass.list.count - firstPage);
  for (int i = threadIdx.x; i < pages; i += kPrefillThreads) {
    float sum = 0;
    for (int t = 0; t < pass.pageTokens; t++) {
      for (int w = 0; w < kPrefillWarps; w++) sum += tokenSums[w][i * pass.pageTokens + t];
    }
    mass[pass.listed.x + firstPage + i] = sum / pass.queries_of_head();
  }
}
