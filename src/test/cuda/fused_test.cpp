// The fused kernels against the plain ones, bit for bit.
#include "testing.h"

using namespace testing;

namespace {
template <typename T>
void expect_same(const std::string& what, const Array<T>& found, const Array<T>& expected) {
  expect(what, found.count == expected.count &&
                   std::memcmp(found.data, expected.data, sizeof(T) * found.count) == 0);
}
}  // namespace

KERNEL_TEST(fused_norm_and_gate_equal_the_plain_kernels) {
  Random random(60);
  for (int columns : {32, 576, 2304}) {
    for (int rows : {1, 8, 11}) {
      const int groups = divide_up(rows, 8), count = rows * columns, blocks = columns / 32;
      const auto x = random.normals(count), y = random.normals(count);
      Array<float> gain(random.normals(columns)), yGain(random.normals(columns)), ys(y);
      const auto round = [&](const Array<float>& values, const Array<int8_t>& quants,
                             const Array<float>& scales) {
        launch("round_rows", grid(divide_up(columns, 256), groups), 256, 0, values.data, rows,
               columns, quants.data, scales.data);
      };
      for (int addend : {0, 1, 2}) {
        Array<float> xs(x), fusedX(x), normed(count), scales(groups * 8 * blocks * 2),
            fusedScales(groups * 8 * blocks * 2);
        Array<int8_t> quants(groups * 8 * columns), fused(groups * 8 * columns);
        const float* added = addend > 0 ? ys.data : nullptr;
        const float* addedGain = addend == 2 ? yGain.data : nullptr;
        const uint16_t* none = nullptr;
        if (addend == 0) {
          launch("rms_norm", grid(rows), 256, 0, xs.data, gain.data, columns, 1e-5f, normed.data,
                 none);
        } else {
          launch("add_rms_norm", grid(rows), 256, 0, xs.data, ys.data, addedGain, gain.data,
                 columns, 1e-5f, normed.data, none);
        }
        round(normed, quants, scales);
        launch("rms_norm_rounded", grid(groups * 8), 256, 0, fusedX.data, added, addedGain,
               gain.data, rows, columns, 1e-5f, fused.data, fusedScales.data);
        expect_same("the sum", fusedX, xs);
        expect_same("quants", fused, quants);
        expect_same("scales", fusedScales, scales);
      }
      for (int activation : {0, 1}) {
        Array<float> gates(x), plain(x), scales(groups * 8 * blocks * 2),
            fusedScales(groups * 8 * blocks * 2);
        Array<int8_t> quants(groups * 8 * columns), fused(groups * 8 * columns);
        launch("gate", grid(divide_up(count, 1024)), 256, 0, plain.data, ys.data, count, activation,
               static_cast<uint16_t*>(nullptr));
        round(plain, quants, scales);
        launch("gate_rounded", grid(divide_up(columns, 2048), groups * 8), 256, 0, gates.data,
               ys.data, rows, columns, activation, fused.data, fusedScales.data);
        expect_same("gated quants", fused, quants);
        expect_same("gated scales", fusedScales, scales);
      }
    }
  }
}

KERNEL_TEST(fused_end_of_qkv_equals_the_plain_kernels) {
  Random random(61);
  for (int headSize : {64, 80, 96, 128, 256}) {
    for (int features = 0; features < 4; features++) {
      const bool biased = features % 2 == 1, normed = features / 2 == 1;
      const int queryHeads = 6, kvHeads = 2, rows = 5, pageTokens = 8, halfSplit = features % 2;
      const int pairs = headSize / (features == 2 ? 4 : 2), kvWidth = kvHeads * headSize;
      const int width = queryHeads * headSize;
      // Two sequences: three rows from position 7 on, two from 0 on.
      Array<int> segments(std::vector<int>{0, 3, 7, 0, 3, 2, 0, 0}),
          heads(std::vector<int>{0, 2, 2, 2, 4, 1, 5, 1}),
          pages(std::vector<int>{4, 0, 2, 8, 0, 0, 5, 8, 1, 0, 3, 0}),
          positions(std::vector<int>{7, 8, 9, 0, 1});
      std::vector<float> frequency(pairs);
      for (int i = 0; i < pairs; i++) frequency[i] = std::pow(10000.0, -double(i) / pairs);
      Array<float> frequencies(frequency), cosines(rows * pairs), sines(rows * pairs);
      launch("rope_table", grid(1, rows), 256, 0, positions.data, frequencies.data, pairs,
             cosines.data, sines.data);
      const auto q = random.normals(rows * width), k = random.normals(rows * kvWidth);
      Array<float> queries(q), fusedQueries(q), keys(k), plainKeys(k),
          values(random.normals(rows * kvWidth)), plainValues(values.values()),
          queryBias(random.normals(width)), keyBias(random.normals(kvWidth)),
          valueBias(random.normals(kvWidth)), queryGain(random.normals(headSize)),
          keyGain(random.normals(headSize));
      const std::vector<uint16_t> before(6 * 2 * pageTokens * headSize, 0x7fc0);
      Array<uint16_t> pool(before), fusedPool(before);
      const float* none = nullptr;
      launch("finish_qkv", grid(divide_up(queryHeads + 2 * kvHeads, 8), rows), 256, 0,
             fusedQueries.data, keys.data, values.data, biased ? queryBias.data : none,
             biased ? keyBias.data : none, biased ? valueBias.data : none,
             normed ? queryGain.data : none, normed ? keyGain.data : none, 1e-6f, cosines.data,
             sines.data, pairs, halfSplit, queryHeads, kvHeads, headSize, pageTokens, segments.data,
             2, heads.data, pages.data, fusedPool.data);
      if (biased) {
        launch("add_bias", grid(divide_up(width, 256), rows), 256, 0, queries.data, queryBias.data,
               width);
        launch("add_bias", grid(divide_up(kvWidth, 256), rows), 256, 0, plainKeys.data,
               keyBias.data, kvWidth);
        launch("add_bias", grid(divide_up(kvWidth, 256), rows), 256, 0, plainValues.data,
               valueBias.data, kvWidth);
      }
      if (normed) {
        launch("rms_norm_heads", grid(1, rows), 256, 0, queries.data, queryGain.data, queryHeads,
               headSize, 1e-6f);
        launch("rms_norm_heads", grid(1, rows), 256, 0, plainKeys.data, keyGain.data, kvHeads,
               headSize, 1e-6f);
      }
      launch("rope", grid(1, rows), 256, 0, queries.data, cosines.data, sines.data, queryHeads,
             headSize, pairs, halfSplit);
      launch("rope", grid(1, rows), 256, 0, plainKeys.data, cosines.data, sines.data, kvHeads,
             headSize, pairs, halfSplit);
      launch("write_kv", grid(1, rows), 256, 0, plainKeys.data, plainValues.data, kvHeads, headSize,
             pageTokens, segments.data, 2, heads.data, pages.data, pool.data);
      expect_same("queries", fusedQueries, queries);
      expect_same("pages", fusedPool, pool);
    }
  }
}
