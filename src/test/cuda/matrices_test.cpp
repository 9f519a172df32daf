#include "matrices.h"

namespace testing {
const char* type_name(Type type) {
  switch (type) {
    case F32:
      return "F32";
    case F16:
      return "F16";
    case BF16:
      return "BF16";
    case Q4_0:
      return "Q4_0";
    case Q4_1:
      return "Q4_1";
    case Q5_0:
      return "Q5_0";
    case Q5_1:
      return "Q5_1";
    case Q8_0:
      return "Q8_0";
    case Q4_K:
      return "Q4_K";
    case Q5_K:
      return "Q5_K";
    case Q6_K:
      return "Q6_K";
  }
  return "?";
}

float half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const float fraction = bits & 0x3ff;
  const float value =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

/// Truncates; only for numbers of ordinary size.
uint16_t half_bits(float value) {
  int exponent;
  const float fraction = std::frexp(std::fabs(value), &exponent);
  if (value == 0 || exponent < -13) return 0;
  const int mantissa = static_cast<int>(fraction * 2048) - 1024;
  return static_cast<uint16_t>((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | mantissa);
}

namespace {
/// Quants and scales of a matrix, before they are laid out.
struct Quants {
  int columns;
  std::vector<int> u;                     // [rows][columns]
  std::vector<uint16_t> scale, minimum;   // [rows][columns / 32], or superblocks: d, dmin
  std::vector<int> subScale, subMinimum;  // K types: [rows][columns / 16 or 32]

  int quant(int row, int column) const { return u[size_t(row) * columns + column]; }
};

bool is_k(Type type) { return type == Q4_K || type == Q5_K || type == Q6_K; }

int bits_of_quant(Type type) {
  switch (type) {
    case Q8_0:
      return 8;
    case Q6_K:
      return 6;
    case Q5_0:
    case Q5_1:
    case Q5_K:
      return 5;
    default:
      return 4;
  }
}

struct Writer {
  std::vector<uint8_t>& out;
  void byte(int value) { out.push_back(static_cast<uint8_t>(value)); }
  void half(int bits) {
    byte(bits & 255);
    byte(bits >> 8);
  }
};

int column_of(int t, int h, int j) {
  return j < 2 ? 16 * h + 2 * t + j : 16 * h + 8 + 2 * t + j - 2;
}

/// One block of 32 rows by 32 columns; rows past the end count as zeros.
void write_block(Type type, const Quants& q, int rows, int tile, int block, Writer w) {
  const auto quant = [&](int r, int c) {
    const int row = tile * 32 + r;
    return row < rows ? q.quant(row, block * 32 + c) : 0;
  };
  if (type == Q8_0) {
    for (int p = 0; p < 2; p++)
      for (int l = 0; l < 32; l++)
        for (int k = 0; k < 4; k++)
          for (int j = 0; j < 4; j++)
            w.byte(quant(l / 4 + 8 * (2 * p + k % 2), column_of(l % 4, k / 2, j)));
  } else {
    for (int l = 0; l < 32; l++)
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
          w.byte((quant(l / 4 + 8 * i, column_of(l % 4, 0, j)) & 15) |
                 (quant(l / 4 + 8 * i, column_of(l % 4, 1, j)) & 15) << 4);
  }
  if (bits_of_quant(type) == 5) {
    for (int l = 0; l < 32; l++)
      for (int j = 0; j < 4; j++) {
        int byte = 0;
        for (int i = 0; i < 4; i++)
          for (int h = 0; h < 2; h++)
            byte |= (quant(l / 4 + 8 * i, column_of(l % 4, h, j)) >> 4) << (2 * i + h);
        w.byte(byte);
      }
  }
  if (type == Q6_K) {
    for (int l = 0; l < 32; l++)
      for (int word = 0; word < 2; word++)
        for (int j = 0; j < 4; j++) {
          int byte = 0;
          for (int i = 2 * word; i < 2 * word + 2; i++)
            for (int h = 0; h < 2; h++)
              byte |= (quant(l / 4 + 8 * i, column_of(l % 4, h, j)) >> 4) << (4 * (i % 2) + 2 * h);
          w.byte(byte);
        }
  }
  for (int index = 0; index < 32; index++) {
    const int row = tile * 32 + index % 4 * 8 + index / 4;
    const bool real = row < rows;
    const size_t at = real ? size_t(row) * (q.columns / 32) + block : 0;
    if (type == Q6_K) {
      w.byte(real ? q.subScale[2 * at] : 0);
      w.byte(real ? q.subScale[2 * at + 1] : 0);
    } else if (is_k(type)) {
      w.byte(real ? q.subScale[at] : 0);
      w.byte(real ? q.subMinimum[at] : 0);
    } else {
      w.half(real ? q.scale[at] : 0);
      if (type == Q4_1 || type == Q5_1) w.half(real ? q.minimum[at] : 0);
    }
  }
}

void write_super(Type type, const Quants& q, int rows, int tile, int superBlock, Writer w) {
  for (int index = 0; index < 32; index++) {
    const int row = tile * 32 + index % 4 * 8 + index / 4;
    const size_t at = size_t(row) * (q.columns / 256) + superBlock;
    w.half(row < rows ? q.scale[at] : 0);
    if (type != Q6_K) w.half(row < rows ? q.minimum[at] : 0);
  }
}

void write_values(const Matrix& m, int tile, int block, bool rest, Writer w) {
  for (int part = 0; part < 4; part++)
    for (int l = 0; l < 32; l++)
      for (int e = 0; e < 8; e++) {
        const int row = tile * 32 + l / 4 + 8 * (2 * (part / 2) + e / 2 % 2);
        const int column = block * 32 + column_of(l % 4, part % 2, e % 2 + 2 * (e / 4));
        const float value = row < m.rows ? m.value(row, column) : 0;
        const uint16_t leading = bf16_bits(value);
        w.half(rest ? bf16_bits(value - bf16_value(leading)) : leading);
      }
}
}  // namespace

Matrix random_matrix(Type type, int rows, int columns, Random& random) {
  Matrix m{type, rows, columns, std::vector<float>(size_t(rows) * columns), {}};
  const bool dense = type == F32 || type == F16 || type == BF16;
  const int blocks = columns / 32;
  Quants q{columns, {}, {}, {}, {}, {}};
  if (dense) {
    for (float& value : m.values) {
      const float x = random.normal() * 0.05f;
      value = type == F32 ? x : type == F16 ? half_value(half_bits(x)) : bf16_value(bf16_bits(x));
    }
  } else {
    const int bits = bits_of_quant(type);
    for (size_t i = 0; i < m.values.size(); i++) {
      q.u.push_back(type == Q8_0 ? random.between(-128, 127) : random.below(1 << bits));
    }
    const int scales = is_k(type) ? columns / 256 : blocks;
    for (int i = 0; i < rows * scales; i++) {
      q.scale.push_back(half_bits(random.uniform(0.001f, 0.01f) * (random.below(8) == 0 ? -1 : 1)));
      q.minimum.push_back(half_bits(random.uniform(-0.03f, 0.03f)));
    }
    for (int i = 0; i < rows * blocks * 2; i++) {
      q.subScale.push_back(type == Q6_K ? random.between(-128, 127) : random.below(64));
      q.subMinimum.push_back(random.below(64));
    }
    for (int row = 0; row < rows; row++) {
      for (int c = 0; c < columns; c++) {
        const size_t block = size_t(row) * blocks + c / 32;
        const size_t super = size_t(row) * (columns / 256) + c / 256;
        const int u = q.quant(row, c);
        float value = 0;
        switch (type) {
          case Q8_0:
            value = half_value(q.scale[block]) * u;
            break;
          case Q4_0:
            value = half_value(q.scale[block]) * (u - 8);
            break;
          case Q5_0:
            value = half_value(q.scale[block]) * (u - 16);
            break;
          case Q4_1:
          case Q5_1:
            value = half_value(q.scale[block]) * u + half_value(q.minimum[block]);
            break;
          case Q4_K:
          case Q5_K:
            value = half_value(q.scale[super]) * q.subScale[block] * u -
                    half_value(q.minimum[super]) * q.subMinimum[block];
            break;
          default:
            value = half_value(q.scale[super]) * q.subScale[2 * block + c % 32 / 16] * (u - 32);
        }
        m.values[size_t(row) * columns + c] = value;
      }
    }
  }
  const Writer writer{m.packed};
  for (int tile = 0; tile < divide_up(rows, 32); tile++) {
    for (int block = 0; block < blocks; block++) {
      if (dense) {
        write_values(m, tile, block, false, writer);
        if (type != BF16) write_values(m, tile, block, true, writer);
      } else {
        write_block(type, q, rows, tile, block, writer);
        if (is_k(type) && block % 8 == 7) write_super(type, q, rows, tile, block / 8, writer);
      }
    }
  }
  return m;
}
}  // namespace testing
