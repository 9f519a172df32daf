// What the kernel tests share: device memory with guards, launches, comparisons.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "registry.h"

namespace testing {
/// Fails the running test; the program goes on with the next.
[[noreturn]] void fail(const std::string& message);

/// A test by name, run by kernel_tests.cpp.
struct Test {
  Test(const char* name, void (*body)());
};
#define KERNEL_TEST(name)                              \
  static void name();                                  \
  static const testing::Test test_##name(#name, name); \
  static void name()

/// Memory filled with NaN, with guards around it.
std::shared_ptr<void> allocate_bytes(size_t bytes);

/// An array in device memory, freed with the last copy of this.
template <typename T>
struct Array {
  std::shared_ptr<void> memory;
  T* data;
  size_t count;

  explicit Array(size_t count)
      : memory(allocate_bytes(count * sizeof(T))),
        data(static_cast<T*>(memory.get())),
        count(count) {}
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    if (count > 0) std::memcpy(data, values.data(), count * sizeof(T));
  }
  operator T*() const { return data; }
  T& operator[](size_t i) const { return data[i]; }
  std::vector<T> values() const { return std::vector<T>(data, data + count); }
};

/// Launches with prepared pointers to arguments: once with the fibers in order, once reversed, on
/// the same memory; the results must have the same bits and the guards be whole.
void launch_pointers(const std::string& kernel, kvhost::Index3 grid, kvhost::Index3 block,
                     unsigned sharedBytes, void** arguments);

inline void* pointer_to(const void* value) { return const_cast<void*>(value); }

/// Arguments must have the kernel's exact types (pointers: any).
template <typename... Arguments>
void launch(const std::string& kernel, kvhost::Index3 grid, unsigned block, unsigned sharedBytes,
            const Arguments&... arguments) {
  void* pointers[] = {pointer_to(&arguments)...};
  launch_pointers(kernel, grid, {block, 1, 1}, sharedBytes, pointers);
}

/// Compares with a tolerance relative to the largest magnitude expected.
void expect_close(const std::string& what, const float* found, const std::vector<float>& expected,
                  double tolerance);
inline void expect_close(const std::string& what, const Array<float>& found,
                         const std::vector<float>& expected, double tolerance) {
  if (found.count != expected.size()) fail(what + ": sizes differ");
  expect_close(what, found.data, expected, tolerance);
}

void expect(const std::string& what, bool holds);

/// Seeded numbers.
struct Random {
  std::mt19937 engine;
  explicit Random(unsigned seed) : engine(seed) {}
  int below(int limit) { return static_cast<int>(engine() % static_cast<unsigned>(limit)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  float normal() { return std::normal_distribution<float>()(engine); }
  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(engine);
  }
  std::vector<float> normals(size_t count, float scale = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = scale * normal();
    return values;
  }
};

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float bf16_value(uint16_t bits) { return from_bits(uint32_t{bits} << 16); }
inline uint16_t bf16_bits(float value) {
  const uint32_t bits = bits_of(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline int divide_up(int a, int b) { return (a + b - 1) / b; }
inline kvhost::Index3 grid(int x, int y = 1, int z = 1) {
  return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
}
inline std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));
}  // namespace testing

#include <cstdarg>
namespace testing {
inline std::string text(const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(buffer, sizeof(buffer), format, arguments);
  va_end(arguments);
  return buffer;
}
}  // namespace testing
