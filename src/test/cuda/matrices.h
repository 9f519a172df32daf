// Random weight matrices of every type, and their device layout, written down from the text of
// src/main/cuda/README.md alone (what Java writes is tested against the same bytes).
#pragma once

#include "testing.h"

namespace testing {
enum Type {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  BF16 = 30
};

constexpr Type kAllTypes[] = {F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K};

const char* type_name(Type type);

struct Matrix {
  Type type;
  int rows, columns;
  /// [rows][columns], the exact values.
  std::vector<float> values;
  /// The device's bytes.
  std::vector<uint8_t> packed;

  float value(int row, int column) const { return values[size_t(row) * columns + column]; }
};

/// K types need a multiple of 256 columns, all a multiple of 32.
Matrix random_matrix(Type type, int rows, int columns, Random& random);

float half_value(uint16_t bits);
uint16_t half_bits(float value);
}  // namespace testing
