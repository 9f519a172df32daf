#include "registry.h"

#include <mutex>

namespace kvhost {
namespace {
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostBlocks = 65535;
constexpr unsigned kMostShared = 163 << 10;

std::mutex oneLaunch;
std::string error;

int refuse(int code, const std::string& reason) {
  error = reason;
  return code;
}
}  // namespace

std::map<std::string, Launcher>& kernels() {
  static std::map<std::string, Launcher> all;
  return all;
}

std::map<std::string, int>& parameter_counts() {
  static std::map<std::string, int> all;
  return all;
}

const std::string& launch_error() { return error; }

int launch(const std::string& kernel, Index3 grid, Index3 block, unsigned sharedBytes,
           void** parameters, bool reversed) {
  const std::lock_guard<std::mutex> guard(oneLaunch);
  const auto found = kernels().find(kernel);
  if (found == kernels().end()) return refuse(1, "no kernel is called " + kernel);
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || threads % 32 != 0) {
    return refuse(2, kernel + ": a block of " + std::to_string(threads) +
                         " threads; whole warps, at most 1024");
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > kMostBlocks ||
      grid.z > kMostBlocks) {
    return refuse(2, kernel + ": a grid of " + std::to_string(grid.x) + " x " +
                         std::to_string(grid.y) + " x " + std::to_string(grid.z) + " blocks");
  }
  if (sharedBytes > kMostShared) {
    return refuse(2, kernel + ": " + std::to_string(sharedBytes) + " bytes of shared memory");
  }
  const Launcher launcher = found->second;
  const std::string problem =
      run_grid(grid, block, sharedBytes, reversed, [=] { launcher(parameters); });
  if (!problem.empty()) return refuse(3, kernel + ", " + problem);
  return 0;
}
}  // namespace kvhost

extern "C" {
int kvfreeze_host_launch(const char* kernel, unsigned gridX, unsigned gridY, unsigned gridZ,
                         unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
                         void** parameters) {
  return kvhost::launch(kernel, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes,
                        parameters, false);
}

const char* kvfreeze_host_error(void) { return kvhost::launch_error().c_str(); }

int kvfreeze_host_parameter_count(const char* kernel) {
  const auto found = kvhost::parameter_counts().find(kernel);
  return found == kvhost::parameter_counts().end() ? -1 : found->second;
}

int kvfreeze_host_kernel_count(void) { return static_cast<int>(kvhost::kernels().size()); }

const char* kvfreeze_host_kernel_name(int index) {
  auto at = kvhost::kernels().begin();
  std::advance(at, index);
  return at->first.c_str();
}
}
