// The kernels of src/main/cuda once more, as plain loops over the same memory: quick enough to run
// whole models on a host, and independent of the kernels' own code. See src/main/cuda/README.md for
// parameters and layouts. Part of the stand-in libcuda.so.1 (libcuda_host.cc).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i64 = int64_t;

struct Int2 {
  int x, y;
};
struct Int4 {
  int x, y, z, w;
};

float bits_to_float(u32 bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

u32 float_to_bits(float value) {
  u32 bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

float bf16(u16 bits) { return bits_to_float(static_cast<u32>(bits) << 16); }

u16 to_bf16(float value) {
  u32 bits = float_to_bits(value);
  return static_cast<u16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float f16(u16 bits) {
  _Float16 value;
  std::memcpy(&value, &bits, 2);
  return static_cast<float>(value);
}

u16 half_at(const u8 *p) {
  u16 value;
  std::memcpy(&value, p, 2);
  return value;
}

// Where column c of a block of 32 is: thread of four, half, element of the half.
struct Place {
  int t, h, j;
  constexpr explicit Place(int c)
      : t(c % 8 / 2), h(c / 16), j(c % 16 < 8 ? c % 2 : 2 + c % 2) {}
};

int nibble(const u8 *record, int r, const Place &p) {
  int lane = r % 8 * 4 + p.t;
  return record[16 * lane + 4 * (r / 8) + p.j] >> 4 * p.h & 15;
}

int fifth_bit(const u8 *bits, int r, const Place &p) {
  int lane = r % 8 * 4 + p.t;
  return bits[4 * lane + p.j] >> (2 * (r / 8) + p.h) & 1;
}

int pair_bits(const u8 *bits, int r, const Place &p) {
  int lane = r % 8 * 4 + p.t;
  int i = r / 8;
  return bits[8 * lane + 4 * (i / 2) + p.j] >> (4 * (i % 2) + 2 * p.h) & 3;
}

float value_at(const u8 *record, int r, const Place &p) {
  int lane = r % 8 * 4 + p.t;
  int i = r / 8;
  int element = p.j % 2 + 2 * (i % 2) + 4 * (p.j / 2);
  return bf16(half_at(record + 512 * (2 * (i / 2) + p.h) + 16 * lane + 2 * element));
}

int signed_byte(const u8 *record, int r, const Place &p) {
  int lane = r % 8 * 4 + p.t;
  int i = r / 8;
  int k = i % 2 + 2 * p.h;
  return static_cast<int8_t>(record[512 * (i / 2) + 16 * lane + 4 * k + p.j]);
}

int scale_at(int r) { return r % 8 * 4 + r / 8; }

// One row of a matrix in tiles, as floats. TYPE is ggml's type id.
template <int TYPE>
void read_row_of(const u8 *weight, int columns, int row, float *out) {
  int r = row % 32;
  int blocks = columns / 32;
  for (int b = 0; b < blocks; b++) {
    u64 index = static_cast<u64>(row / 32) * blocks + b;
    u64 super = static_cast<u64>(row / 32) * (columns / 256) + b / 8;
#pragma GCC unroll 32
    for (int c = 0; c < 32; c++) {
      Place p(c);
      float value = 0;
      if constexpr (TYPE == 0 || TYPE == 1) {
        const u8 *rec = weight + index * 4096;
        value = value_at(rec, r, p) + value_at(rec + 2048, r, p);
      } else if constexpr (TYPE == 30) {
        value = value_at(weight + index * 2048, r, p);
      } else if constexpr (TYPE == 2) {
        const u8 *rec = weight + index * 576;
        value = f16(half_at(rec + 512 + 2 * scale_at(r))) * (nibble(rec, r, p) - 8);
      } else if constexpr (TYPE == 3) {
        const u8 *rec = weight + index * 640;
        const u8 *s = rec + 512 + 4 * scale_at(r);
        value = f16(half_at(s)) * nibble(rec, r, p) + f16(half_at(s + 2));
      } else if constexpr (TYPE == 6) {
        const u8 *rec = weight + index * 704;
        int u = nibble(rec, r, p) | fifth_bit(rec + 512, r, p) << 4;
        value = f16(half_at(rec + 640 + 2 * scale_at(r))) * (u - 16);
      } else if constexpr (TYPE == 7) {
        const u8 *rec = weight + index * 768;
        int u = nibble(rec, r, p) | fifth_bit(rec + 512, r, p) << 4;
        const u8 *s = rec + 640 + 4 * scale_at(r);
        value = f16(half_at(s)) * u + f16(half_at(s + 2));
      } else if constexpr (TYPE == 8) {
        const u8 *rec = weight + index * 1088;
        value = f16(half_at(rec + 1024 + 2 * scale_at(r))) * signed_byte(rec, r, p);
      } else if constexpr (TYPE == 12 || TYPE == 13) {
        int part = TYPE == 12 ? 576 : 704;
        const u8 *rec = weight + super * (8 * part + 128);
        const u8 *sub = rec + b % 8 * part;
        int u = nibble(sub, r, p) | (TYPE == 13 ? fifth_bit(sub + 512, r, p) << 4 : 0);
        const u8 *s = sub + part - 64 + 2 * scale_at(r);
        const u8 *d = rec + 8 * part + 4 * scale_at(r);
        value = f16(half_at(d)) * s[0] * u - f16(half_at(d + 2)) * s[1];
      } else if constexpr (TYPE == 14) {
        const u8 *rec = weight + super * 6720;
        const u8 *sub = rec + b % 8 * 832;
        int u = nibble(sub, r, p) | pair_bits(sub + 512, r, p) << 4;
        int s = static_cast<int8_t>(sub[768 + 2 * scale_at(r) + c / 16]);
        value = f16(half_at(rec + 8 * 832 + 2 * scale_at(r))) * s * (u - 32);
      }
      out[32 * b + c] = value;
    }
  }
}

void read_row(const u8 *weight, int type, int columns, int row, float *out) {
  switch (type) {
    case 0:
    case 1:
      return read_row_of<0>(weight, columns, row, out);
    case 2:
      return read_row_of<2>(weight, columns, row, out);
    case 3:
      return read_row_of<3>(weight, columns, row, out);
    case 6:
      return read_row_of<6>(weight, columns, row, out);
    case 7:
      return read_row_of<7>(weight, columns, row, out);
    case 8:
      return read_row_of<8>(weight, columns, row, out);
    case 12:
      return read_row_of<12>(weight, columns, row, out);
    case 13:
      return read_row_of<13>(weight, columns, row, out);
    case 14:
      return read_row_of<14>(weight, columns, row, out);
    case 30:
      return read_row_of<30>(weight, columns, row, out);
    default:
      std::abort();
  }
}

using Floats = float __attribute__((vector_size(32)));

Floats eight_at(const float *p) {
  Floats value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

float dot(const float *a, const float *b, int count) {
  // Enough independent sums to hide the latency of an addition.
  Floats sums[4] = {};
  int i = 0;
  for (; i + 32 <= count; i += 32)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) sums[k] += eight_at(a + i + 8 * k) * eight_at(b + i + 8 * k);
  Floats lanes = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float sum = 0;
  for (int k = 0; k < 8; k++) sum += lanes[k];
  for (; i < count; i++) sum += a[i] * b[i];
  return sum;
}

// Runs body(from, to) for parts of [0, count), on every core.
template <typename Body>
void in_parallel(int count, const Body &body) {
  int parts = std::min<int>(std::max(1u, std::thread::hardware_concurrency()), count);
  std::vector<std::thread> threads;
  for (int i = 1; i < parts; i++)
    threads.emplace_back([&, i] {
      body(static_cast<int>(static_cast<i64>(count) * i / parts),
           static_cast<int>(static_cast<i64>(count) * (i + 1) / parts));
    });
  if (count > 0) body(0, count / parts);
  for (auto &thread : threads) thread.join();
}

// The arguments of a launch, in order.
class Arguments {
 public:
  explicit Arguments(void **values) : values_(values) {}
  int number() { return *static_cast<int *>(values_[next_++]); }
  float real() { return *static_cast<float *>(values_[next_++]); }
  template <typename T>
  T *pointer() {
    return *static_cast<T **>(values_[next_++]);
  }

 private:
  void **values_;
  int next_ = 0;
};

struct Grid {
  unsigned x, y, z;
};

void embed_rows(Grid grid, Arguments a) {
  auto *table = a.pointer<u8>();
  int type = a.number(), columns = a.number();
  auto *tokens = a.pointer<int>();
  float scale = a.real();
  auto *out = a.pointer<float>();
  for (unsigned r = 0; r < grid.x; r++) {
    read_row(table, type, columns, tokens[r], out + static_cast<u64>(r) * columns);
    for (int c = 0; c < columns; c++) out[static_cast<u64>(r) * columns + c] *= scale;
  }
}

void norm(const float *x, const float *gain, int columns, float epsilon, float *out, u16 *rounded) {
  double squares = 0;
  for (int c = 0; c < columns; c++) squares += static_cast<double>(x[c]) * x[c];
  float factor = static_cast<float>(1 / std::sqrt(squares / columns + epsilon));
  for (int c = 0; c < columns; c++) {
    float value = x[c] * factor * gain[c];
    if (out) out[c] = value;
    if (rounded) rounded[c] = to_bf16(value);
  }
}

void rms_norm(Grid grid, Arguments a) {
  auto *x = a.pointer<float>();
  auto *gain = a.pointer<float>();
  int columns = a.number();
  float epsilon = a.real();
  auto *out = a.pointer<float>();
  auto *rounded = a.pointer<u16>();
  for (u64 r = 0; r < grid.x; r++)
    norm(x + r * columns, gain, columns, epsilon, out ? out + r * columns : nullptr,
         rounded ? rounded + r * columns : nullptr);
}

void add_row(float *x, const float *y, const float *y_gain, int columns, float epsilon) {
  std::vector<float> normed(y, y + columns);
  if (y_gain) norm(y, y_gain, columns, epsilon, normed.data(), nullptr);
  for (int c = 0; c < columns; c++) x[c] += normed[c];
}

void add_rms_norm(Grid grid, Arguments a) {
  auto *x = a.pointer<float>();
  auto *y = a.pointer<float>();
  auto *y_gain = a.pointer<float>();
  auto *gain = a.pointer<float>();
  int columns = a.number();
  float epsilon = a.real();
  auto *out = a.pointer<float>();
  auto *rounded = a.pointer<u16>();
  for (u64 r = 0; r < grid.x; r++) {
    add_row(x + r * columns, y + r * columns, y_gain, columns, epsilon);
    norm(x + r * columns, gain, columns, epsilon, out ? out + r * columns : nullptr,
         rounded ? rounded + r * columns : nullptr);
  }
}

void rms_norm_heads(Grid grid, Arguments a) {
  auto *x = a.pointer<float>();
  auto *gain = a.pointer<float>();
  int heads = a.number(), size = a.number();
  float epsilon = a.real();
  for (u64 i = 0; i < static_cast<u64>(grid.y) * heads; i++)
    norm(x + i * size, gain, size, epsilon, x + i * size, nullptr);
}

void add_bias(Grid grid, Arguments a) {
  auto *x = a.pointer<float>();
  auto *bias = a.pointer<float>();
  int columns = a.number();
  for (u64 r = 0; r < grid.y; r++)
    for (int c = 0; c < columns; c++) x[r * columns + c] += bias[c];
}

void add(Grid, Arguments a) {
  auto *x = a.pointer<float>();
  auto *y = a.pointer<float>();
  int count = a.number();
  for (int i = 0; i < count; i++) x[i] += y[i];
}

float gated(double x, float up, int activation) {
  double z = activation == 0 ? x : 2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
  return static_cast<float>(x / (1 + std::exp(-z)) * up);
}

void gate(Grid, Arguments a) {
  auto *gates = a.pointer<float>();
  auto *up = a.pointer<float>();
  int count = a.number(), activation = a.number();
  auto *rounded = a.pointer<u16>();
  for (int i = 0; i < count; i++) {
    gates[i] = gated(gates[i], up[i], activation);
    if (rounded) rounded[i] = to_bf16(gates[i]);
  }
}

void round_bf16(Grid, Arguments a) {
  auto *x = a.pointer<float>();
  int count = a.number();
  auto *out = a.pointer<u16>();
  for (int i = 0; i < count; i++) out[i] = to_bf16(x[i]);
}

void rope_table(Grid grid, Arguments a) {
  auto *positions = a.pointer<int>();
  auto *frequencies = a.pointer<float>();
  int pairs = a.number();
  auto *cosines = a.pointer<float>();
  auto *sines = a.pointer<float>();
  for (unsigned r = 0; r < grid.y; r++)
    for (int i = 0; i < pairs; i++) {
      double angle = static_cast<double>(positions[r]) * frequencies[i];
      cosines[r * pairs + i] = static_cast<float>(std::cos(angle));
      sines[r * pairs + i] = static_cast<float>(std::sin(angle));
    }
}

void rotate(float *head, const float *cosines, const float *sines, int pairs, int half_split) {
  for (int i = 0; i < pairs; i++) {
    float &first = head[half_split ? i : 2 * i];
    float &second = head[half_split ? i + pairs : 2 * i + 1];
    float p = first, q = second;
    first = p * cosines[i] - q * sines[i];
    second = p * sines[i] + q * cosines[i];
  }
}

void rope(Grid grid, Arguments a) {
  auto *x = a.pointer<float>();
  auto *cosines = a.pointer<float>();
  auto *sines = a.pointer<float>();
  int heads = a.number(), size = a.number(), pairs = a.number(), half_split = a.number();
  for (u64 r = 0; r < grid.y; r++)
    for (int head = 0; head < heads; head++)
      rotate(x + (r * heads + head) * size, cosines + r * pairs, sines + r * pairs, pairs, half_split);
}

u64 quant_at(int row, int column, int columns) {
  Place p(column % 32);
  u64 lane = row % 8 * 4 + p.t;
  return ((static_cast<u64>(row / 8) * (columns / 32) + column / 32) * 32 + lane) * 8 + 4 * p.h + p.j;
}

u64 rounded_scale_at(int row, int block, int columns) {
  return ((static_cast<u64>(row / 8) * (columns / 32) + block) * 8 + row % 8) * 2;
}

// Row r of a group of 8, zeros where x is null.
void round_row(const float *x, int r, int columns, int8_t *quants, float *scales) {
  for (int b = 0; b < columns / 32; b++) {
    float largest = 0;
    for (int c = 32 * b; x && c < 32 * (b + 1); c++) largest = std::max(largest, std::fabs(x[c]));
    float scale = largest / 127;
    float inverse = largest == 0 ? 0 : 127 / largest;
    int sum = 0;
    for (int c = 32 * b; c < 32 * (b + 1); c++) {
      int q = x ? static_cast<int>(std::nearbyint(x[c] * inverse)) : 0;
      quants[quant_at(r, c, columns)] = static_cast<int8_t>(q);
      sum += q;
    }
    scales[rounded_scale_at(r, b, columns)] = scale;
    scales[rounded_scale_at(r, b, columns) + 1] = scale * sum;
  }
}

void round_rows(Grid, Arguments a) {
  auto *x = a.pointer<float>();
  int rows = a.number(), columns = a.number();
  auto *quants = a.pointer<int8_t>();
  auto *scales = a.pointer<float>();
  for (int r = 0; r < (rows + 7) / 8 * 8; r++)
    round_row(r < rows ? x + static_cast<u64>(r) * columns : nullptr, r, columns, quants, scales);
}

void rms_norm_rounded(Grid grid, Arguments a) {
  auto *x = a.pointer<float>();
  auto *y = a.pointer<float>();
  auto *y_gain = a.pointer<float>();
  auto *gain = a.pointer<float>();
  int rows = a.number(), columns = a.number();
  float epsilon = a.real();
  auto *quants = a.pointer<int8_t>();
  auto *scales = a.pointer<float>();
  std::vector<float> normed(columns);
  for (int r = 0; r < static_cast<int>(grid.x); r++) {
    float *row = r < rows ? x + static_cast<u64>(r) * columns : nullptr;
    if (row) {
      if (y) add_row(row, y + static_cast<u64>(r) * columns, y_gain, columns, epsilon);
      norm(row, gain, columns, epsilon, normed.data(), nullptr);
    }
    round_row(row ? normed.data() : nullptr, r, columns, quants, scales);
  }
}

void gate_rounded(Grid grid, Arguments a) {
  auto *gates = a.pointer<float>();
  auto *up = a.pointer<float>();
  int rows = a.number(), columns = a.number(), activation = a.number();
  auto *quants = a.pointer<int8_t>();
  auto *scales = a.pointer<float>();
  std::vector<float> row(columns);
  for (int r = 0; r < static_cast<int>(grid.y); r++) {
    for (int c = 0; r < rows && c < columns; c++) {
      u64 at = static_cast<u64>(r) * columns + c;
      row[c] = gated(gates[at], up[at], activation);
    }
    round_row(r < rows ? row.data() : nullptr, r, columns, quants, scales);
  }
}

void decode_rows(Grid, Arguments a) {
  int rows = a.number(), columns = a.number();
  auto *quants = a.pointer<int8_t>();
  auto *scales = a.pointer<float>();
  auto *x = a.pointer<float>();
  int accumulate = a.number();
  std::vector<float> rounded;
  if (quants) {
    rounded.resize(static_cast<u64>(rows) * columns);
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < columns; c++)
        rounded[static_cast<u64>(r) * columns + c] =
            quants[quant_at(r, c, columns)] * scales[rounded_scale_at(r, c / 32, columns)];
  }
  for (int i = 0; i < 3; i++) {
    int type = a.number();
    auto *weight = a.pointer<u8>();
    int out_rows = a.number();
    auto *out = a.pointer<float>();
    bool exact = type == 0 || type == 1 || type == 30;
    in_parallel(out_rows, [&](int from, int to) {
      std::vector<float> row(columns);
      for (int o = from; o < to; o++) {
        read_row(weight, type, columns, o, row.data());
        for (int r = 0; r < rows; r++) {
          const float *in = (exact ? x : rounded.data()) + static_cast<u64>(r) * columns;
          float &target = out[static_cast<u64>(r) * out_rows + o];
          target = (accumulate ? target : 0) + dot(row.data(), in, columns);
        }
      }
    });
  }
}

void prefill_rows(Grid, Arguments a) {
  int rows = a.number(), columns = a.number();
  auto *x = a.pointer<u16>();
  int accumulate = a.number();
  std::vector<float> in(static_cast<u64>(rows) * columns);
  for (u64 i = 0; i < in.size(); i++) in[i] = bf16(x[i]);
  for (int i = 0; i < 3; i++) {
    int type = a.number();
    auto *weight = a.pointer<u8>();
    int out_rows = a.number();
    auto *out = a.pointer<float>();
    in_parallel(out_rows, [&](int from, int to) {
      std::vector<float> row(columns);
      for (int o = from; o < to; o++) {
        read_row(weight, type, columns, o, row.data());
        // The tensor cores multiply bfloat16.
        for (float &value : row) value = bf16(to_bf16(value));
        for (int r = 0; r < rows; r++) {
          float &target = out[static_cast<u64>(r) * out_rows + o];
          target = (accumulate ? target : 0) + dot(row.data(), &in[static_cast<u64>(r) * columns], columns);
        }
      }
    });
  }
}

struct Pages {
  const Int4 *segments;
  const Int2 *heads;
  const Int2 *pages;
  int page_tokens, size;
  u16 *pool;

  u16 *key(int slot, int token) const {
    return pool + (static_cast<u64>(slot) * 2 * page_tokens + token) * size;
  }
  u16 *value(int slot, int token) const { return key(slot, token) + static_cast<u64>(page_tokens) * size; }
};

// Writes a key and a value where a head's pages have a position.
void write_token(const Pages &p, Int2 head, int position, const float *key, const float *value) {
  for (int i = head.y - 1; i >= 0; i--) {
    Int2 page = p.pages[head.x + i];
    if (page.y > position) continue;
    int token = position - page.y;
    if (token >= p.page_tokens) return;
    for (int d = 0; d < p.size; d++) {
      p.key(page.x, token)[d] = to_bf16(key[d]);
      p.value(page.x, token)[d] = to_bf16(value[d]);
    }
    return;
  }
}

void write_kv(Grid grid, Arguments a) {
  auto *keys = a.pointer<float>();
  auto *values = a.pointer<float>();
  int kv_heads = a.number(), size = a.number(), page_tokens = a.number();
  auto *segments = a.pointer<Int4>();
  int count = a.number();
  auto *heads = a.pointer<Int2>();
  auto *pages = a.pointer<Int2>();
  Pages p{segments, heads, pages, page_tokens, size, a.pointer<u16>()};
  u64 written = 0;
  for (int s = 0; s < count; s++)
    for (int r = 0; r < segments[s].y; r++, written++)
      for (int h = 0; h < kv_heads; h++) {
        u64 from = (static_cast<u64>(segments[s].x + r) * kv_heads + h) * size;
        write_token(p, heads[s * kv_heads + h], segments[s].z + r, keys + from, values + from);
      }
  if (written != grid.y) std::abort();
}

void finish_qkv(Grid grid, Arguments a) {
  auto *queries = a.pointer<float>();
  auto *keys = a.pointer<float>();
  auto *values = a.pointer<float>();
  const float *biases[3], *gains[3] = {};
  for (auto &bias : biases) bias = a.pointer<float>();
  for (int i = 0; i < 2; i++) gains[i] = a.pointer<float>();
  float epsilon = a.real();
  auto *cosines = a.pointer<float>();
  auto *sines = a.pointer<float>();
  int pairs = a.number(), half_split = a.number();
  int query_heads = a.number(), kv_heads = a.number(), size = a.number(), page_tokens = a.number();
  auto *segments = a.pointer<Int4>();
  int count = a.number();
  auto *heads = a.pointer<Int2>();
  auto *pages = a.pointer<Int2>();
  Pages p{segments, heads, pages, page_tokens, size, a.pointer<u16>()};
  u64 written = 0;
  // Head h of queries, keys or values (i = 0, 1, 2), finished.
  auto finished = [&](const float *x, int i, u64 row, int head_count, int h) {
    std::vector<float> own(x + (row * head_count + h) * size, x + (row * head_count + h + 1) * size);
    for (int d = 0; biases[i] && d < size; d++) own[d] += biases[i][h * size + d];
    if (gains[i]) norm(own.data(), gains[i], size, epsilon, own.data(), nullptr);
    if (i < 2) rotate(own.data(), cosines + row * pairs, sines + row * pairs, pairs, half_split);
    return own;
  };
  for (int s = 0; s < count; s++)
    for (int r = 0; r < segments[s].y; r++, written++) {
      u64 row = segments[s].x + r;
      for (int h = 0; h < query_heads; h++) {
        auto own = finished(queries, 0, row, query_heads, h);
        std::copy(own.begin(), own.end(), queries + (row * query_heads + h) * size);
      }
      for (int h = 0; h < kv_heads; h++)
        write_token(p, heads[s * kv_heads + h], segments[s].z + r,
                    finished(keys, 1, row, kv_heads, h).data(),
                    finished(values, 2, row, kv_heads, h).data());
    }
  if (written != grid.y) std::abort();
}

// Attention of one row and query head over some of its pages; returns {maximum, sum}.
struct State {
  float maximum = -INFINITY;
  float sum = 0;
};

State attend(const Pages &p, const float *query, float scale, int window, int position, Int2 head,
             int from, int to, float *out, float *page_sums, int stride) {
  State state;
  std::vector<float> scores, key(p.size);
  int start = window <= 0 ? 0 : position - window + 1;
  for (int i = from; i < to; i++) {
    Int2 page = p.pages[head.x + i];
    for (int t = 0; t < p.page_tokens; t++) {
      int at = page.y + t;
      float score = -INFINITY;
      if (at <= position && at >= start) {
        const u16 *stored = p.key(page.x, t);
        for (int d = 0; d < p.size; d++) key[d] = bf16(stored[d]);
        score = scale * dot(query, key.data(), p.size);
      }
      scores.push_back(score);
      state.maximum = std::max(state.maximum, score);
    }
  }
  if (out) std::fill(out, out + p.size, 0.f);
  for (int i = from; i < to; i++) {
    float page_sum = 0;
    for (int t = 0; t < p.page_tokens; t++) {
      float score = scores[(i - from) * p.page_tokens + t];
      float e = score == -INFINITY ? 0 : std::exp(score - state.maximum);
      page_sum += e;
      if (out && e != 0)
        for (int d = 0; d < p.size; d++) out[d] += e * bf16(p.value(p.pages[head.x + i].x, t)[d]);
    }
    state.sum += page_sum;
    if (page_sums) page_sums[static_cast<u64>(head.x + i) * stride] = page_sum;
  }
  return state;
}

void attend_decode(Grid grid, Arguments a) {
  auto *queries = a.pointer<float>();
  int query_heads = a.number(), kv_heads = a.number(), size = a.number();
  float scale = a.real();
  int window = a.number(), page_tokens = a.number();
  auto *segments = a.pointer<Int4>();
  auto *heads = a.pointer<Int2>();
  auto *pages = a.pointer<Int2>();
  auto *parts = a.pointer<Int4>();
  Pages p{segments, heads, pages, page_tokens, size, a.pointer<u16>()};
  auto *states = a.pointer<State>();
  auto *sums = a.pointer<float>();
  auto *page_sums = a.pointer<float>();
  int group = query_heads / kv_heads;
  for (u64 i = 0; i < grid.x; i++) {
    Int4 part = parts[i];
    Int4 segment = segments[part.x / kv_heads];
    for (int g = 0; g < group; g++) {
      const float *query =
          queries + (static_cast<u64>(segment.x) * query_heads + part.x % kv_heads * group + g) * size;
      states[i * group + g] =
          attend(p, query, scale, window, segment.z, heads[part.x], part.y, part.z,
                 sums + (i * group + g) * size, page_sums ? page_sums + g : nullptr, group);
    }
  }
}

void merge_decode(Grid grid, Arguments a) {
  int query_heads = a.number(), kv_heads = a.number(), size = a.number();
  auto *segments = a.pointer<Int4>();
  auto *heads = a.pointer<Int2>();
  auto *parts = a.pointer<Int4>();
  auto *head_parts = a.pointer<Int2>();
  auto *states = a.pointer<State>();
  auto *sums = a.pointer<float>();
  auto *page_sums = a.pointer<float>();
  auto *out = a.pointer<float>();
  auto *rounded = a.pointer<u16>();
  auto *mass = a.pointer<float>();
  int group = query_heads / kv_heads;
  for (unsigned head = 0; head < grid.x; head++) {
    Int2 range = head_parts[head];
    if (mass)
      for (int i = 0; i < heads[head].y; i++) mass[heads[head].x + i] = 0;
    for (int g = 0; g < group; g++) {
      float maximum = -INFINITY, total = 0;
      for (int i = range.x; i < range.x + range.y; i++)
        maximum = std::max(maximum, states[static_cast<u64>(i) * group + g].maximum);
      std::vector<float> result(size);
      for (int i = range.x; i < range.x + range.y; i++) {
        State s = states[static_cast<u64>(i) * group + g];
        float factor = s.sum == 0 ? 0 : std::exp(s.maximum - maximum);
        total += s.sum * factor;
        for (int d = 0; d < size; d++)
          result[d] += factor * sums[(static_cast<u64>(i) * group + g) * size + d];
      }
      u64 to = (static_cast<u64>(segments[head / kv_heads].x) * query_heads + head % kv_heads * group + g) * size;
      for (int d = 0; d < size; d++) {
        float value = total == 0 ? 0 : result[d] / total;
        if (out) out[to + d] = value;
        if (rounded) rounded[to + d] = to_bf16(value);
      }
      for (int i = range.x; mass && i < range.x + range.y; i++) {
        float factor = std::exp(states[static_cast<u64>(i) * group + g].maximum - maximum) / (total * group);
        for (int page = parts[i].y; page < parts[i].z; page++) {
          u64 at = heads[head].x + page;
          float sum = page_sums[at * group + g];
          if (sum != 0) mass[at] += factor * sum;
        }
      }
    }
  }
}

void attend_prefill(Grid grid, Arguments a) {
  auto *queries = a.pointer<float>();
  int query_heads = a.number(), kv_heads = a.number(), size = a.number();
  float scale = a.real();
  int window = a.number(), page_tokens = a.number();
  auto *segments = a.pointer<Int4>();
  auto *heads = a.pointer<Int2>();
  auto *pages = a.pointer<Int2>();
  Pages p{segments, heads, pages, page_tokens, size, a.pointer<u16>()};
  auto *out = a.pointer<float>();
  auto *rounded = a.pointer<u16>();
  auto *log_sums = a.pointer<float>();
  int group = query_heads / kv_heads;
  for (unsigned s = 0; s < grid.z; s++)
    in_parallel(query_heads, [&](int first, int last) {
      std::vector<float> result(size);
      for (int h = first; h < last; h++)
        for (int r = 0; r < segments[s].y; r++) {
          u64 row = static_cast<u64>(segments[s].x + r) * query_heads + h;
          Int2 head = heads[s * kv_heads + h / group];
          State state = attend(p, queries + row * size, scale, window, segments[s].z + r, head, 0, head.y,
                               result.data(), nullptr, 0);
          for (int d = 0; d < size; d++) {
            if (out) out[row * size + d] = result[d] / state.sum;
            if (rounded) rounded[row * size + d] = to_bf16(result[d] / state.sum);
          }
          if (log_sums) log_sums[row] = state.maximum + std::log(state.sum);
        }
    });
}

void mass_prefill(Grid grid, Arguments a) {
  auto *queries = a.pointer<float>();
  int query_heads = a.number(), kv_heads = a.number(), size = a.number();
  float scale = a.real();
  int window = a.number(), page_tokens = a.number();
  auto *segments = a.pointer<Int4>();
  auto *heads = a.pointer<Int2>();
  auto *pages = a.pointer<Int2>();
  Pages p{segments, heads, pages, page_tokens, size, a.pointer<u16>()};
  auto *log_sums = a.pointer<float>();
  auto *mass = a.pointer<float>();
  int group = query_heads / kv_heads;
  for (unsigned s = 0; s < grid.z; s++)
    in_parallel(kv_heads, [&](int from, int to) {
      for (int h = from; h < to; h++) {
        Int2 head = heads[s * kv_heads + h];
        std::vector<float> by_page(static_cast<u64>(head.x) + head.y);
        for (int i = 0; i < head.y; i++) mass[head.x + i] = 0;
        for (int r = 0; r < segments[s].y; r++)
          for (int g = 0; g < group; g++) {
            u64 row = static_cast<u64>(segments[s].x + r) * query_heads + h * group + g;
            State state = attend(p, queries + row * size, scale, window, segments[s].z + r, head, 0, head.y,
                                 nullptr, by_page.data(), 1);
            for (int i = 0; i < head.y; i++)
              if (by_page[head.x + i] != 0)
                mass[head.x + i] += by_page[head.x + i] * std::exp(state.maximum - log_sums[row]) /
                                    (static_cast<float>(segments[s].y) * group);
          }
      }
    });
}

// What a code is of; place: codes of the dimension times 4, plus which of them from the lowest on.
struct Channel {
  int dimension;
  float weight, inverse_width;
  int place;

  int levels() const { return 1 << 2 * (place >> 2); }
};

struct Target {
  int *bits;
  u16 *steps;
  float *centre;
  const Channel *channels;
};

Target target(const u64 *targets, int index) {
  const u64 *own = targets + 4 * index;
  return {reinterpret_cast<int *>(own[0]), reinterpret_cast<u16 *>(own[1]), reinterpret_cast<float *>(own[2]),
          reinterpret_cast<const Channel *>(own[3])};
}

// The code of every dimension as one number, then cut in codes of 2 bits.
void encode_channels(const std::vector<float> &key, int codes, int token, Target to) {
  double step = 1;
  for (int i = 0; i < codes; i++) {
    Channel c = to.channels[i];
    step = std::max(step, double(std::fabs(key[c.dimension])) * c.inverse_width * 2 / c.levels());
  }
  u32 bits = float_to_bits(static_cast<float>(std::min(step, 1e30))) + 0xffff;
  to.steps[token] = static_cast<u16>(bits >> 16);
  double rounded = bf16(to.steps[token]);
  int words = (codes + 15) / 16;
  std::vector<u32> own(words);
  for (int i = 0; i < codes; i++) {
    Channel c = to.channels[i];
    double level = std::floor(key[c.dimension] * c.inverse_width / rounded + c.levels() / 2);
    int code = static_cast<int>(std::clamp(level, 0.0, c.levels() - 1.0));
    own[i / 16] |= static_cast<u32>(code >> 2 * (c.place & 3) & 3) << 2 * (i % 16);
    if (i % 16 == 15) own[i / 16] ^= 0x80000000u;
  }
  for (int w = 0; w < words; w++) to.bits[(token / 64 * words + w) * 64 + token % 64] = static_cast<int>(own[w]);
}

// How a RoPE turns: the kernels' tables, at a position whose angle is the sum of two.
struct Turns {
  const float *blocks, *offsets;
  int pairs, half_split;

  static Turns read(Arguments &a) {
    auto *blocks = a.pointer<float>();
    auto *offsets = a.pointer<float>();
    int pairs = a.number(), half_split = a.number();
    return {blocks, offsets, pairs, half_split};
  }

  void at(int position, int pair, double &cosine, double &sine) const {
    const float *block = blocks + 2 * (static_cast<u64>(position / 64) * pairs + pair);
    const float *offset = offsets + 2 * (pair * 64 + position % 64);
    cosine = double(block[0]) * offset[0] - double(block[1]) * offset[1];
    sine = double(block[1]) * offset[0] + double(block[0]) * offset[1];
  }

  // Turned by `position`, back where sign is -1.
  void turn(std::vector<float> &x, int position, double sign) const {
    for (int i = 0; i < pairs; i++) {
      int first = half_split ? i : 2 * i;
      int second = half_split ? i + pairs : 2 * i + 1;
      double cosine, sine, p = x[first], q = x[second];
      at(position, i, cosine, sine);
      x[first] = static_cast<float>(p * cosine - sign * q * sine);
      x[second] = static_cast<float>(q * cosine + sign * p * sine);
    }
  }
};

void sketch_centre(Grid grid, Arguments a) {
  auto *pool = a.pointer<u16>();
  int page_tokens = a.number(), size = a.number();
  auto *targets = a.pointer<u64>();
  auto *ranges = a.pointer<Int2>();
  auto *centred = a.pointer<Int2>();
  Turns turns = Turns::read(a);
  Pages p{nullptr, nullptr, nullptr, page_tokens, size, pool};
  for (unsigned i = 0; i < grid.x; i++) {
    std::vector<double> sums(size);
    for (int s = ranges[i].y; s < ranges[i + 1].y; s++)
      for (int t = 0; t < page_tokens; t++) {
        std::vector<float> key(size);
        for (int d = 0; d < size; d++) key[d] = bf16(p.key(centred[s].x, t)[d]);
        turns.turn(key, centred[s].y * page_tokens + t, -1);
        for (int d = 0; d < size; d++) sums[d] += key[d];
      }
    double tokens = static_cast<double>(ranges[i + 1].y - ranges[i].y) * page_tokens;
    for (int d = 0; d < size; d++)
      target(targets, ranges[i].x).centre[d] = static_cast<float>(sums[d] / tokens);
  }
}

void sketch_keys(Grid grid, Arguments a) {
  auto *pool = a.pointer<u16>();
  int page_tokens = a.number(), size = a.number(), code_count = a.number(), planes = a.number();
  auto *rotation = a.pointer<float>();
  auto *targets = a.pointer<u64>();
  auto *jobs = a.pointer<Int4>();
  Turns turns = Turns::read(a);
  Pages p{nullptr, nullptr, nullptr, page_tokens, size, pool};
  int codes = 32 / planes;
  int words = (size + codes - 1) / codes;
  int most = (1 << planes) - 1;
  std::vector<float> rotated(size);
  for (unsigned i = 0; i < grid.x; i++) {
    Target to = target(targets, jobs[i].x);
    for (int t = 0; t < page_tokens; t++) {
      const u16 *key = p.key(jobs[i].z, t);
      int token = jobs[i].y * page_tokens + t;
      std::vector<float> centre(to.centre, to.centre + size);
      turns.turn(centre, token, 1);
      if (to.channels) {
        std::vector<float> centred(size);
        for (int d = 0; d < size; d++) centred[d] = bf16(key[d]) - centre[d];
        encode_channels(centred, code_count, token, to);
        continue;
      }
      float square = 0;
      for (int d = 0; d < size; d++) {
        float sum = 0;
        for (int j = 0; j < size; j++) sum += rotation[d * size + j] * (bf16(key[j]) - centre[j]);
        rotated[d] = sum;
        square += sum * sum;
      }
      double half = planes == 1 ? INFINITY : 0.4979 * std::sqrt(square / size);
      float outer = static_cast<float>(std::min<double>(3.4e38, 2 * half));
      float product = 0;
      for (int first = 0; first < size; first += codes) {
        int count = std::min(codes, size - first);
        u32 word = 0;
        for (int k = 0; k < count; k++) {
          float value = rotated[first + k];
          int code = (value >= 0 ? most + 1 : most - 1) / 2;
          if (value > outer) code = most;
          if (value < -outer) code = 0;
          product += value * (2 * code - most);
          word |= static_cast<u32>(code) << k * planes;
        }
        if (count == codes) word ^= 0x80000000u;
        to.bits[(token / 64 * words + first / codes) * 64 + token % 64] = static_cast<int>(word);
      }
      to.steps[token] = to_bf16(product == 0 ? 0 : square / product);
    }
  }
}

void prepare_queries(Grid grid, Arguments a) {
  auto *queries = a.pointer<float>();
  int query_heads = a.number(), kv_heads = a.number(), size = a.number(), codes = a.number();
  float scale = a.real(), variance = a.real();
  auto *rotation = a.pointer<float>();
  auto *targets = a.pointer<u64>();
  int pairs = a.number(), half_split = a.number();
  auto *rows = a.pointer<int>();
  auto *prepared = a.pointer<float>();
  auto *waves = a.pointer<float>();
  auto *excess = a.pointer<float>();
  for (u64 r = 0; r < grid.y; r++)
    for (int h = 0; h < query_heads; h++) {
      const float *query = queries + (static_cast<u64>(rows[r]) * query_heads + h) * size;
      u64 to = r * query_heads + h;
      Target head = target(targets, static_cast<int>(r) * kv_heads + h / (query_heads / kv_heads));
      for (int i = 0; i < codes; i++)
        prepared[to * codes + i] = scale * (head.channels ? query[head.channels[i].dimension] * head.channels[i].weight
                                                          : dot(rotation + i * size, query, size));
      excess[to] = scale * scale * dot(query, query, size) * variance / 2;
      const float *centre = head.centre;
      for (int i = 0; centre && i < pairs; i++) {
        int first = half_split ? i : 2 * i;
        int second = half_split ? i + pairs : 2 * i + 1;
        waves[2 * (to * pairs + i)] = scale * (query[first] * centre[first] + query[second] * centre[second]);
        waves[2 * (to * pairs + i) + 1] = scale * (query[second] * centre[first] - query[first] * centre[second]);
      }
    }
}

void score_sketches(Grid grid, Arguments a) {
  auto *prepared = a.pointer<float>();
  auto *waves = a.pointer<float>();
  auto *excess = a.pointer<float>();
  int query_heads = a.number(), kv_heads = a.number(), code_count = a.number(), planes = a.number();
  int page_tokens = a.number(), window = a.number();
  auto *turn_blocks = a.pointer<float>();
  auto *turn_offsets = a.pointer<float>();
  Turns turns{turn_blocks, turn_offsets, a.number(), 0};
  auto *targets = a.pointer<u64>();
  auto *segments = a.pointer<Int4>();
  auto *parts = a.pointer<Int4>();
  auto *states = a.pointer<State>();
  auto *page_sums = a.pointer<float>();
  int group = query_heads / kv_heads;
  int codes = 32 / planes;
  int words = (code_count + codes - 1) / codes;
  int most = (1 << planes) - 1;
  for (u64 i = 0; i < grid.x; i++) {
    Int4 part = parts[i];
    int segment = part.x / kv_heads;
    int start = window <= 0 ? 0 : segments[segment].x - window + 1;
    Target from = target(targets, part.x);
    int tokens = (part.z - part.y) * page_tokens;
    std::vector<float> scores(tokens);
    for (int g = 0; g < group; g++) {
      u64 index = static_cast<u64>(segment) * query_heads + part.x % kv_heads * group + g;
      const float *query = prepared + index * code_count;
      State state;
      for (int t = 0; t < tokens; t++) {
        int token = part.y * page_tokens + t;
        float sum = 0;
        for (int d = 0; d < code_count; d++) {
          u32 word = static_cast<u32>(from.bits[(token / 64 * words + d / codes) * 64 + token % 64]);
          int place = d % codes * planes;
          int code = static_cast<int>(word >> place & static_cast<u32>(most));
          if (place + planes == 32) code ^= 1 << (planes - 1);
          sum += query[d] * (2 * code - most);
        }
        float step = bf16(from.steps[token]);
        double common = 0;
        for (int i = 0; i < turns.pairs; i++) {
          double cosine, sine;
          turns.at(token, i, cosine, sine);
          const float *wave = waves + 2 * (index * turns.pairs + i);
          common += wave[0] * cosine + wave[1] * sine;
        }
        float score = (sum - excess[index] * step) * step + static_cast<float>(common);
        scores[t] = token < start ? -INFINITY : score;
        state.maximum = std::max(state.maximum, scores[t]);
      }
      for (int page = part.y; page < part.z; page++) {
        float sum = 0;
        for (int t = 0; t < page_tokens; t++) {
          float score = scores[(page - part.y) * page_tokens + t];
          sum += score == -INFINITY ? 0 : std::exp(score - state.maximum);
        }
        page_sums[static_cast<u64>(part.w + page - part.y) * group + g] = sum;
        state.sum += sum;
      }
      states[i * group + g] = state;
    }
  }
}

void merge_sketches(Grid grid, Arguments a) {
  int query_heads = a.number(), kv_heads = a.number();
  auto *parts = a.pointer<Int4>();
  auto *head_parts = a.pointer<Int2>();
  auto *offsets = a.pointer<int>();
  auto *states = a.pointer<State>();
  auto *page_sums = a.pointer<float>();
  auto *mass = a.pointer<float>();
  int group = query_heads / kv_heads;
  for (unsigned head = 0; head < grid.x; head++) {
    Int2 range = head_parts[head];
    for (int i = range.x; i < range.x + range.y; i++)
      for (int page = parts[i].y; page < parts[i].z; page++) mass[offsets[head] + page] = 0;
    for (int g = 0; g < group; g++) {
      float maximum = -INFINITY, total = 0;
      for (int i = range.x; i < range.x + range.y; i++)
        maximum = std::max(maximum, states[static_cast<u64>(i) * group + g].maximum);
      for (int i = range.x; i < range.x + range.y; i++)
        total += states[static_cast<u64>(i) * group + g].sum *
                 std::exp(states[static_cast<u64>(i) * group + g].maximum - maximum);
      for (int i = range.x; i < range.x + range.y; i++) {
        float factor = std::exp(states[static_cast<u64>(i) * group + g].maximum - maximum) / (total * group);
        for (int page = parts[i].y; page < parts[i].z; page++)
          mass[offsets[head] + page] +=
              factor * page_sums[static_cast<u64>(parts[i].w + page - parts[i].y) * group + g];
      }
    }
  }
}

void gather_pages(Grid grid, Arguments a) {
  auto *pool = a.pointer<u8>();
  auto *slots = a.pointer<int>();
  u64 bytes = a.number();
  auto *out = a.pointer<u8>();
  for (u64 i = 0; i < grid.x; i++) std::memcpy(out + i * bytes, pool + slots[i] * bytes, bytes);
}

void scatter_pages(Grid grid, Arguments a) {
  auto *in = a.pointer<u8>();
  auto *slots = a.pointer<int>();
  u64 bytes = a.number();
  auto *pool = a.pointer<u8>();
  for (u64 i = 0; i < grid.x; i++) std::memcpy(pool + slots[i] * bytes, in + i * bytes, bytes);
}

// The first launch does nothing: the second reads the logits through the first's arguments.
struct LogitSource {
  const float *logits;
  int columns;
};
std::map<const float *, LogitSource> logit_sources;

void logit_parts(Grid, Arguments a) {
  auto *logits = a.pointer<float>();
  int columns = a.number();
  logit_sources[a.pointer<float>()] = {logits, columns};
}

void logit_statistics(Grid grid, Arguments a) {
  LogitSource source = logit_sources[a.pointer<float>()];
  a.number();
  auto *out = a.pointer<float>();
  for (unsigned r = 0; r < grid.x; r++) {
    const float *row = source.logits + static_cast<u64>(r) * source.columns;
    int best = 0;
    for (int c = 1; c < source.columns; c++)
      if (row[c] > row[best]) best = c;
    double sum = 0, moment = 0;
    for (int c = 0; c < source.columns; c++) {
      double below = static_cast<double>(row[best]) - row[c];
      double e = std::exp(-below);
      sum += e;
      moment += e == 0 ? 0 : below * e;
    }
    double log = std::log(sum);
    std::memcpy(out + 4 * r, &best, 4);
    out[4 * r + 1] = row[best];
    out[4 * r + 2] = static_cast<float>(row[best] + log);
    out[4 * r + 3] = static_cast<float>(log + moment / sum);
  }
}

struct PlainKernel {
  void (*run)(Grid, Arguments);
  int parameters;
};

const std::map<std::string, PlainKernel> &kernels() {
  static const std::map<std::string, PlainKernel> all = {
      {"embed_rows", {embed_rows, 6}},
      {"rms_norm", {rms_norm, 6}},
      {"add_rms_norm", {add_rms_norm, 8}},
      {"rms_norm_heads", {rms_norm_heads, 5}},
      {"add_bias", {add_bias, 3}},
      {"add", {add, 3}},
      {"gate", {gate, 5}},
      {"round_bf16", {round_bf16, 3}},
      {"rope_table", {rope_table, 5}},
      {"rope", {rope, 7}},
      {"round_rows", {round_rows, 5}},
      {"rms_norm_rounded", {rms_norm_rounded, 9}},
      {"gate_rounded", {gate_rounded, 7}},
      {"finish_qkv", {finish_qkv, 22}},
      {"decode_rows8", {decode_rows, 18}},
      {"decode_rows16", {decode_rows, 18}},
      {"decode_rows32", {decode_rows, 18}},
      {"prefill_rows128", {prefill_rows, 16}},
      {"prefill_rows64", {prefill_rows, 16}},
      {"write_kv", {write_kv, 10}},
      {"attend_decode", {attend_decode, 15}},
      {"merge_decode", {merge_decode, 13}},
      {"attend_prefill", {attend_prefill, 14}},
      {"mass_prefill", {mass_prefill, 13}},
      {"sketch_centre", {sketch_centre, 10}},
      {"sketch_keys", {sketch_keys, 12}},
      {"prepare_queries", {prepare_queries, 15}},
      {"score_sketches", {score_sketches, 17}},
      {"merge_sketches", {merge_sketches, 8}},
      {"gather_pages", {gather_pages, 4}},
      {"scatter_pages", {scatter_pages, 4}},
      {"logit_parts", {logit_parts, 3}},
      {"logit_statistics", {logit_statistics, 3}},
  };
  return all;
}

}  // namespace

// Number of parameters, or -1 for a kernel that is not here.
int plain_kernel_parameters(const std::string &name) {
  auto found = kernels().find(name);
  return found == kernels().end() ? -1 : found->second.parameters;
}

void launch_plain_kernel(const std::string &name, unsigned x, unsigned y, unsigned z, void **arguments) {
  kernels().at(name).run({x, y, z}, Arguments(arguments));
}
