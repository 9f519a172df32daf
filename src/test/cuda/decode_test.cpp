#include "matrices.h"

using namespace testing;

namespace {
/// What round_rows makes of rows, as numbers, and the arrays it fills.
struct Rounded {
  Array<int8_t> quants;
  Array<float> scales;
  std::vector<float> values;
};

Rounded rounded_rows(const std::vector<float>& x, int rows, int columns) {
  const int groups = divide_up(rows, 8), blocks = columns / 32;
  Rounded rounded{Array<int8_t>(groups * 8 * columns), Array<float>(groups * 8 * blocks * 2), x};
  Array<float> xs(x);
  launch("round_rows", grid(divide_up(columns, 256), groups), 256, 0, xs.data, rows, columns,
         rounded.quants.data, rounded.scales.data);
  for (int row = 0; row < groups * 8; row++) {
    for (int block = 0; block < blocks; block++) {
      float largest = 0;
      for (int i = 0; i < 32 && row < rows; i++) {
        largest = std::max(largest, std::fabs(x[row * columns + block * 32 + i]));
      }
      const float inverse = largest == 0 ? 0 : 127 / largest;
      int sum = 0;
      for (int t = 0; t < 4; t++)
        for (int h = 0; h < 2; h++)
          for (int j = 0; j < 4; j++) {
            const int c = j < 2 ? 16 * h + 2 * t + j : 16 * h + 6 + 2 * t + j;
            const float value = row < rows ? x[row * columns + block * 32 + c] : 0;
            const int quant = static_cast<int>(std::rint(value * inverse));
            const size_t at = ((row / 8 * blocks + block) * 32 + row % 8 * 4 + t) * 8 + 4 * h + j;
            expect("a quant", rounded.quants[at] == quant);
            sum += quant;
            if (row < rows)
              rounded.values[row * columns + block * 32 + c] = quant * (largest / 127);
          }
      const size_t at = ((row / 8 * blocks + block) * 8 + row % 8) * 2;
      expect("a scale", rounded.scales[at] == largest / 127);
      expect("a sum", rounded.scales[at + 1] == largest / 127 * sum);
    }
  }
  return rounded;
}

std::vector<float> product(const std::vector<float>& x, int rows, const Matrix& m) {
  std::vector<float> out(size_t(rows) * m.rows);
  for (int row = 0; row < rows; row++)
    for (int n = 0; n < m.rows; n++) {
      double sum = 0;
      for (int c = 0; c < m.columns; c++)
        sum += double(x[size_t(row) * m.columns + c]) * m.value(n, c);
      out[size_t(row) * m.rows + n] = sum;
    }
  return out;
}

bool dense(Type type) { return type == F32 || type == F16 || type == BF16; }

std::string kernel_name(int n) { return "decode_rows" + std::to_string(n); }
}  // namespace

KERNEL_TEST(decode_every_type_over_rows_and_columns) {
  Random random(10);
  for (Type type : kAllTypes) {
    for (int columns : {32, 96, 256, 576, 2304}) {
      if ((type == Q4_K || type == Q5_K || type == Q6_K) && columns % 256 != 0) continue;
      for (int rows : {1, 7, 9, 33}) {
        if (columns == 2304 && rows > 9) continue;
        const int outRows = columns == 576 ? 77 : 40;
        const Matrix m = random_matrix(type, outRows, columns, random);
        const auto x = random.normals(rows * columns);
        const Rounded rounded = rounded_rows(x, rows, columns);
        Array<float> xs(x);
        Array<uint8_t> packed(m.packed);
        const auto expected = product(dense(type) ? x : rounded.values, rows, m);
        std::vector<float> first;
        for (int n : {8, 16, 32}) {
          Array<float> out(expected.size());
          launch(kernel_name(n), grid(divide_up(outRows, 32), divide_up(rows, n)), 512, 0, rows,
                 columns, rounded.quants.data, rounded.scales.data, xs.data, 0, int(type),
                 packed.data, outRows, out.data, 0, nullptr, 0, nullptr, 0, nullptr, 0, nullptr);
          expect_close(text("%s, %d columns, %d rows, N = %d", type_name(type), columns, rows, n),
                       out, expected, 3e-5);
          if (first.empty()) first = out.values();
          expect("the same bits for every N",
                 std::memcmp(first.data(), out.data, 4 * first.size()) == 0);
        }
        if (rows > 1) {
          // The last row alone.
          const std::vector<float> last(x.end() - columns, x.end());
          const Rounded alone = rounded_rows(last, 1, columns);
          Array<float> lasts(last), out(outRows);
          launch("decode_rows8", grid(divide_up(outRows, 32)), 512, 0, 1, columns,
                 alone.quants.data, alone.scales.data, lasts.data, 0, int(type), packed.data,
                 outRows, out.data, 0, nullptr, 0, nullptr, 0, nullptr, 0, nullptr);
          expect("a row's result does not depend on the others",
                 std::memcmp(&first[(rows - 1) * outRows], out.data, 4 * outRows) == 0);
        }
      }
    }
  }
}

KERNEL_TEST(decode_three_matrices_of_different_types_and_accumulate) {
  Random random(11);
  const int columns = 512, rows = 5;
  const auto x = random.normals(rows * columns);
  const Rounded rounded = rounded_rows(x, rows, columns);
  const Matrix a = random_matrix(Q4_K, 100, columns, random);
  const Matrix b = random_matrix(Q6_K, 31, columns, random);
  const Matrix c = random_matrix(BF16, 65, columns, random);
  const auto before = random.normals(rows * 100);
  Array<uint8_t> aPacked(a.packed), bPacked(b.packed), cPacked(c.packed);
  Array<float> xs(x), aOut(before), bOut(std::vector<float>(rows * 31, 1.f)),
      cOut(std::vector<float>(rows * 65, -2.f));
  launch("decode_rows8", grid(4 + 1 + 3), 512, 0, rows, columns, rounded.quants.data,
         rounded.scales.data, xs.data, 1, 12, aPacked.data, 100, aOut.data, 14, bPacked.data, 31,
         bOut.data, 30, cPacked.data, 65, cOut.data);
  auto expected = product(rounded.values, rows, a);
  for (size_t i = 0; i < expected.size(); i++) expected[i] += before[i];
  expect_close("Q4_K", aOut, expected, 3e-5);
  expected = product(rounded.values, rows, b);
  for (float& value : expected) value += 1;
  expect_close("Q6_K", bOut, expected, 3e-5);
  expected = product(x, rows, c);
  for (float& value : expected) value -= 2;
  expect_close("BF16", cOut, expected, 3e-5);
}
