// Pages between the pool and a contiguous staging area, which may be mapped pinned host memory.
#include "platform.cuh"

namespace {
constexpr int kThreads = 128;

__device__ void copy_page(const uint8* from, uint8* to, int bytes) {
  const uint4* source = reinterpret_cast<const uint4*>(from);
  uint4* target = reinterpret_cast<uint4*>(to);
  for (int i = threadIdx.x; i < bytes / 16; i += kThreads) target[i] = source[i];
}
}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads)
    gather_pages(const uint8* pool, const int* slots, int pageBytes, uint8* out) {
  copy_page(pool + static_cast<size_t>(slots[blockIdx.x]) * pageBytes,
            out + static_cast<size_t>(blockIdx.x) * pageBytes, pageBytes);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    scatter_pages(const uint8* in, const int* slots, int pageBytes, uint8* pool) {
  copy_page(in + static_cast<size_t>(blockIdx.x) * pageBytes,
            pool + static_cast<size_t>(slots[blockIdx.x]) * pageBytes, pageBytes);
}
