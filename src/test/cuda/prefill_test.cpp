#include "matrices.h"

using namespace testing;

namespace {
std::vector<float> product(const std::vector<float>& x, int rows, const Matrix& m, bool rounded) {
  std::vector<float> values = m.values;
  if (rounded) {
    for (float& value : values) value = bf16_value(bf16_bits(value));
  }
  std::vector<float> out(size_t(rows) * m.rows);
  for (int row = 0; row < rows; row++)
    for (int n = 0; n < m.rows; n++) {
      double sum = 0;
      for (int c = 0; c < m.columns; c++) {
        sum += double(x[size_t(row) * m.columns + c]) * values[size_t(n) * m.columns + c];
      }
      out[size_t(row) * m.rows + n] = sum;
    }
  return out;
}

std::vector<uint16_t> rounded(std::vector<float>& x) {
  std::vector<uint16_t> bits;
  for (float& value : x) {
    bits.push_back(bf16_bits(value));
    value = bf16_value(bits.back());
  }
  return bits;
}
}  // namespace

KERNEL_TEST(prefill_every_type_over_rows_and_columns) {
  Random random(30);
  for (Type type : kAllTypes) {
    for (int columns : {32, 96, 256, 768}) {
      if ((type == Q4_K || type == Q5_K || type == Q6_K) && columns % 256 != 0) continue;
      for (int rows : {2, 33, 65, 130}) {
        if (columns == 768 && rows > 65) continue;
        const int outRows = columns == 256 ? 40 : 150;
        const Matrix m = random_matrix(type, outRows, columns, random);
        auto x = random.normals(rows * columns);
        Array<uint16_t> xs(rounded(x));
        Array<uint8_t> packed(m.packed);
        // The weights are rounded to bf16 as they are unpacked.
        const auto expected = product(x, rows, m, true);
        std::vector<float> first;
        for (int n : {64, 128}) {
          Array<float> out(expected.size());
          launch(text("prefill_rows%d", n), grid(divide_up(rows, n), divide_up(outRows, 128)), 128,
                 0, rows, columns, xs.data, 0, int(type), packed.data, outRows, out.data, 0,
                 nullptr, 0, nullptr, 0, nullptr, 0, nullptr);
          expect_close(text("%s, %d columns, %d rows, N = %d", type_name(type), columns, rows, n),
                       out, expected, 2e-5);
          if (first.empty()) first = out.values();
          expect("the same bits for every N",
                 std::memcmp(first.data(), out.data, 4 * first.size()) == 0);
        }
      }
    }
  }
}

KERNEL_TEST(prefill_three_matrices_of_different_types_and_accumulate) {
  Random random(31);
  const int columns = 256, rows = 37;
  auto x = random.normals(rows * columns);
  Array<uint16_t> xs(rounded(x));
  const Matrix a = random_matrix(Q4_K, 200, columns, random);
  const Matrix b = random_matrix(Q6_K, 31, columns, random);
  const Matrix c = random_matrix(F16, 129, columns, random);
  Array<uint8_t> aPacked(a.packed), bPacked(b.packed), cPacked(c.packed);
  Array<float> aOut(std::vector<float>(rows * 200, 3.f)), bOut(std::vector<float>(rows * 31, 1.f)),
      cOut(std::vector<float>(rows * 129, -2.f));
  launch("prefill_rows64", grid(1, 2 + 1 + 2), 128, 0, rows, columns, xs.data, 1, 12, aPacked.data,
         200, aOut.data, 14, bPacked.data, 31, bOut.data, 1, cPacked.data, 129, cOut.data);
  const auto check = [&](const Matrix& m, const Array<float>& out, float before) {
    auto expected = product(x, rows, m, true);
    for (float& value : expected) value += before;
    expect_close(type_name(m.type), out, expected, 2e-5);
  };
  check(a, aOut, 3);
  check(b, bOut, 1);
  check(c, cOut, -2);
}
