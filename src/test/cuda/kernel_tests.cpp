// Runs the kernel tests: all of them, or those whose names contain the argument.
#include <algorithm>
#include <chrono>
#include <set>
#include <stdexcept>

#include "testing.h"

namespace testing {
namespace {
struct Named {
  const char* name;
  void (*body)();
};

std::vector<Named>& tests() {
  static std::vector<Named> all;
  return all;
}

// With AddressSanitizer (CXX_FLAGS=-fsanitize=address) arrays end where their memory ends, so that
// reading past them shows too.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kExact = true;
#else
constexpr bool kExact = false;
#endif
constexpr size_t kGuardBytes = kExact ? 0 : 256;
constexpr unsigned char kGuard = 0xa5;

struct Allocation {
  unsigned char* memory;
  size_t bytes;
};
std::vector<Allocation> allocations;
std::set<std::string> launched;

size_t whole(size_t bytes) {
  if (kExact) return bytes;
  return kGuardBytes + (bytes + 255) / 256 * 256 + kGuardBytes;
}

void check_guards(const std::string& kernel) {
  for (const Allocation& allocation : allocations) {
    const size_t end = whole(allocation.bytes);
    for (size_t i = 0; i < end; i++) {
      const bool inside = i >= kGuardBytes && i < kGuardBytes + allocation.bytes;
      if (!inside && allocation.memory[i] != kGuard) {
        fail(kernel + text(" wrote byte %lld of an array of %zu bytes",
                           static_cast<long long>(i) - static_cast<long long>(kGuardBytes),
                           allocation.bytes));
      }
    }
  }
}

std::vector<std::vector<unsigned char>> snapshot() {
  std::vector<std::vector<unsigned char>> all;
  for (const Allocation& allocation : allocations) {
    all.emplace_back(allocation.memory, allocation.memory + whole(allocation.bytes));
  }
  return all;
}
}  // namespace

void fail(const std::string& message) { throw std::runtime_error(message); }

Test::Test(const char* name, void (*body)()) { tests().push_back({name, body}); }

std::shared_ptr<void> allocate_bytes(size_t bytes) {
  void* room = nullptr;
  if (posix_memalign(&room, 256, whole(bytes)) != 0) fail("no memory");
  auto* memory = static_cast<unsigned char*>(room);
  std::memset(memory, kGuard, whole(bytes));
  std::memset(memory + kGuardBytes, 0xff, bytes);
  allocations.push_back({memory, bytes});
  return std::shared_ptr<void>(memory + kGuardBytes, [memory](void*) {
    const auto own = std::find_if(allocations.begin(), allocations.end(),
                                  [=](const Allocation& a) { return a.memory == memory; });
    allocations.erase(own);
    std::free(memory);
  });
}

void launch_pointers(const std::string& kernel, kvhost::Index3 grid, kvhost::Index3 block,
                     unsigned sharedBytes, void** arguments) {
  launched.insert(kernel);
  const auto before = snapshot();
  if (kvhost::launch(kernel, grid, block, sharedBytes, arguments, true) != 0) {
    fail(kvhost::launch_error());
  }
  const auto reversed = snapshot();
  for (size_t i = 0; i < allocations.size(); i++) {
    std::memcpy(allocations[i].memory, before[i].data(), before[i].size());
  }
  if (kvhost::launch(kernel, grid, block, sharedBytes, arguments, false) != 0) {
    fail(kvhost::launch_error());
  }
  for (size_t i = 0; i < allocations.size(); i++) {
    if (std::memcmp(allocations[i].memory, reversed[i].data(), reversed[i].size()) != 0) {
      fail(kernel + ": the result depends on the order in which threads run");
    }
  }
  check_guards(kernel);
}

void expect_close(const std::string& what, const float* found, const std::vector<float>& expected,
                  double tolerance) {
  double largest = 1e-30;
  for (float value : expected) largest = std::max(largest, std::fabs(double(value)));
  for (size_t i = 0; i < expected.size(); i++) {
    if (!(std::fabs(double(found[i]) - expected[i]) <= tolerance * largest)) {
      fail(what + text(": element %zu of %zu is %.9g, expected %.9g (largest %.3g)", i,
                       expected.size(), found[i], expected[i], largest));
    }
  }
}

void expect(const std::string& what, bool holds) {
  if (!holds) fail(what);
}
}  // namespace testing

int main(int argumentCount, char** arguments) {
  using namespace testing;
  const std::string wanted = argumentCount > 1 ? arguments[1] : "";
  auto& all = tests();
  std::sort(all.begin(), all.end(),
            [](const Named& a, const Named& b) { return std::strcmp(a.name, b.name) < 0; });
  int failures = 0;
  for (const Named& test : all) {
    if (std::string(test.name).find(wanted) == std::string::npos) continue;
    const auto start = std::chrono::steady_clock::now();
    std::string problem;
    try {
      test.body();
    } catch (const std::exception& e) {
      problem = e.what();
      failures++;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%s %s (%.1f s)%s%s\n", problem.empty() ? "passed" : "FAILED", test.name,
                took.count(), problem.empty() ? "" : ": ", problem.c_str());
    std::fflush(stdout);
  }
  if (wanted.empty()) {
    for (const auto& kernel : kvhost::kernels()) {
      if (launched.count(kernel.first) == 0) {
        std::printf("FAILED: no test launches %s\n", kernel.first.c_str());
        failures++;
      }
    }
  }
  return failures == 0 ? 0 : 1;
}
