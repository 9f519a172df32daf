#include "matrices.h"

using namespace testing;

static std::vector<float> normed(const std::vector<float>& x, const std::vector<float>& gain,
                                 int columns, float epsilon) {
  std::vector<float> out(x.size());
  for (size_t row = 0; row < x.size() / columns; row++) {
    double squares = 0;
    for (int i = 0; i < columns; i++)
      squares += double(x[row * columns + i]) * x[row * columns + i];
    const double factor = 1 / std::sqrt(squares / columns + epsilon);
    for (int i = 0; i < columns; i++) {
      out[row * columns + i] = x[row * columns + i] * factor * gain[i];
    }
  }
  return out;
}

static void expect_bf16(const std::string& what, const Array<uint16_t>& found,
                        const std::vector<float>& expected) {
  std::vector<float> values;
  for (uint16_t bits : found.values()) values.push_back(bf16_value(bits));
  expect_close(what, values.data(), expected, 0.004);
}

KERNEL_TEST(embed_rows_reads_every_type) {
  Random random(1);
  for (Type type : kAllTypes) {
    const int rows = 77, columns = 512;
    const Matrix table = random_matrix(type, rows, columns, random);
    const std::vector<int> tokens = {76, 0, 31, 32, 45, 9};
    std::vector<float> expected;
    for (int token : tokens) {
      for (int c = 0; c < columns; c++) expected.push_back(3.5f * table.value(token, c));
    }
    Array<uint8_t> packed(table.packed);
    Array<int> tokenArray(tokens);
    Array<float> out(expected.size());
    launch("embed_rows", grid(tokens.size()), 256, 0, packed.data, int(type), columns,
           tokenArray.data, 3.5f, out.data);
    expect_close(type_name(type), out, expected, type == F32 ? 1e-5 : 1e-6);
  }
}

KERNEL_TEST(rms_norm_over_odd_sizes) {
  Random random(2);
  for (int columns : {1, 7, 64, 255, 576, 1000}) {
    const int rows = 3;
    const auto x = random.normals(rows * columns), gain = random.normals(columns);
    const auto expected = normed(x, gain, columns, 1e-5f);
    Array<float> xs(x), gains(gain), out(x.size());
    Array<uint16_t> outBf16(x.size());
    launch("rms_norm", grid(rows), 256, 0, xs.data, gains.data, columns, 1e-5f, out.data,
           outBf16.data);
    expect_close("rms_norm", out, expected, 1e-6);
    expect_bf16("rms_norm in bf16", outBf16, expected);
    launch("rms_norm", grid(rows), 256, 0, xs.data, gains.data, columns, 1e-5f, xs.data,
           static_cast<uint16_t*>(nullptr));
    expect_close("in place", xs, expected, 1e-6);
  }
}

KERNEL_TEST(add_rms_norm_with_and_without_a_norm_of_the_addend) {
  Random random(3);
  for (int columns : {5, 576, 1152}) {
    for (bool post : {false, true}) {
      const int rows = 2;
      const auto x = random.normals(rows * columns), y = random.normals(rows * columns);
      const auto gain = random.normals(columns), yGain = random.normals(columns);
      auto sum = x;
      const auto addend = post ? normed(y, yGain, columns, 1e-6f) : y;
      for (size_t i = 0; i < sum.size(); i++) sum[i] += addend[i];
      const auto expected = normed(sum, gain, columns, 1e-6f);
      Array<float> xs(x), ys(y), gains(gain), yGains(yGain), out(x.size());
      Array<uint16_t> outBf16(x.size());
      launch("add_rms_norm", grid(rows), 256, 0, xs.data, ys.data, post ? yGains.data : nullptr,
             gains.data, columns, 1e-6f, out.data, outBf16.data);
      expect_close("the sum", xs, sum, 1e-6);
      expect_close("its norm", out, expected, 1e-6);
      expect_bf16("its norm in bf16", outBf16, expected);
    }
  }
}

KERNEL_TEST(rms_norm_heads_norms_each_head) {
  Random random(4);
  for (int headSize : {64, 80, 96, 128, 256}) {
    const int rows = 3, heads = 9;
    const auto x = random.normals(rows * heads * headSize), gain = random.normals(headSize);
    Array<float> xs(x), gains(gain);
    launch("rms_norm_heads", grid(2, rows), 256, 0, xs.data, gains.data, heads, headSize, 1e-5f);
    expect_close("heads", xs, normed(x, gain, headSize, 1e-5f), 1e-6);
  }
}

KERNEL_TEST(sums_and_rounding) {
  Random random(5);
  for (int columns : {1, 300, 1023}) {
    const int rows = 5, count = rows * columns;
    const auto x = random.normals(count), y = random.normals(count), bias = random.normals(columns);
    auto sum = x, biased = x;
    for (int i = 0; i < count; i++) {
      sum[i] += y[i];
      biased[i] += bias[i % columns];
    }
    Array<float> xs(x), ys(y), biases(bias), other(x);
    Array<uint16_t> rounded(count);
    launch("round_bf16", grid(divide_up(count, 1024)), 256, 0, xs.data, count, rounded.data);
    for (int i = 0; i < count; i++) expect("rounded", rounded[i] == bf16_bits(x[i]));
    launch("add", grid(divide_up(count, 1024)), 256, 0, xs.data, ys.data, count);
    expect_close("add", xs, sum, 0);
    launch("add_bias", grid(divide_up(columns, 256), rows), 256, 0, other.data, biases.data,
           columns);
    expect_close("add_bias", other, biased, 0);
  }
}

KERNEL_TEST(gate_with_both_activations) {
  Random random(6);
  for (int activation : {0, 1}) {
    const int count = 2500;
    auto x = random.normals(count, 4);
    x[0] = -200;
    x[1] = 200;
    const auto up = random.normals(count);
    std::vector<float> expected(count);
    for (int i = 0; i < count; i++) {
      const double v = x[i];
      const double gelu =
          0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
      expected[i] = (activation == 0 ? v / (1 + std::exp(-v)) : gelu) * up[i];
    }
    Array<float> gates(x), ups(up);
    Array<uint16_t> rounded(count);
    launch("gate", grid(divide_up(count, 1024)), 256, 0, gates.data, ups.data, count, activation,
           rounded.data);
    expect_close("gate", gates, expected, 1e-6);
    expect_bf16("gate in bf16", rounded, expected);
  }
}

KERNEL_TEST(rope_with_both_pairings) {
  Random random(7);
  for (int headSize : {64, 80, 128, 256}) {
    for (int halfSplit : {0, 1}) {
      const int rows = 3, heads = 9, pairs = halfSplit ? headSize / 2 : headSize / 2 - 8;
      const std::vector<int> position = {0, 131071, 77};
      std::vector<float> frequency(pairs);
      for (int i = 0; i < pairs; i++) frequency[i] = std::pow(10000.0, -double(i) / pairs);
      const auto x = random.normals(rows * heads * headSize);
      auto expected = x;
      for (int row = 0; row < rows; row++)
        for (int head = 0; head < heads; head++)
          for (int i = 0; i < pairs; i++) {
            float* v = &expected[(row * heads + head) * headSize];
            float& first = v[halfSplit ? i : 2 * i];
            float& second = v[halfSplit ? i + pairs : 2 * i + 1];
            const double angle = double(position[row]) * frequency[i];
            const double a = first, b = second;
            first = a * std::cos(angle) - b * std::sin(angle);
            second = a * std::sin(angle) + b * std::cos(angle);
          }
      Array<int> positions(position);
      Array<float> frequencies(frequency), xs(x), cosines(rows * pairs), sines(rows * pairs);
      launch("rope_table", grid(divide_up(pairs, 256), rows), 256, 0, positions.data,
             frequencies.data, pairs, cosines.data, sines.data);
      launch("rope", grid(divide_up(heads, 8), rows), 256, 0, xs.data, cosines.data, sines.data,
             heads, headSize, pairs, halfSplit);
      expect_close("rope", xs, expected, 1e-6);
    }
  }
}
