// A stand-in for the CUDA driver, so that the real host code runs in a JVM without a GPU: the
// functions of the driver API that kvfreeze calls, on host memory. Everything is done at once and
// in the order of the calls; whether the streams and events would have ordered it too is checked
// elsewhere (RecordingDriver). Built as libcuda.so.1, which JCuda's library asks for by name.
//
// Linked with libkvfreeze_host_kernels.so (see README.md), whose kernels it launches, unless plain
// ones are asked for (kvfreeze_host_plain(1)) or it does not have the kernel.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

extern "C" {
int kvfreeze_host_launch(const char *kernel, unsigned gridX, unsigned gridY, unsigned gridZ,
                         unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
                         void **parameters);
const char *kvfreeze_host_error(void);
int kvfreeze_host_parameter_count(const char *kernel);
}

int plain_kernel_parameters(const std::string &name);
void launch_plain_kernel(const std::string &name, unsigned x, unsigned y, unsigned z,
                         void **arguments);

namespace {

bool plain = true;

int parameters_of(const std::string &name) {
  int count = plain_kernel_parameters(name);
  return count >= 0 ? count : kvfreeze_host_parameter_count(name.c_str());
}

enum Result {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  INVALID_IMAGE = 200,
  NOT_FOUND = 500,
  LAUNCH_FAILED = 719
};

constexpr size_t kAlignment = 256;

std::mutex guard;
std::map<uint64_t, size_t> device_blocks;
std::map<uint64_t, size_t> host_blocks;
size_t device_bytes = 0;
int open_contexts = 0;

size_t total_bytes() {
  const char *limit = std::getenv("KVFREEZE_HOST_DEVICE_BYTES");
  return limit ? std::strtoull(limit, nullptr, 10) : size_t{8} << 30;
}

struct Kernel {
  std::string name;
  int shared_limit = 48 * 1024;
};

struct Event {
  std::chrono::steady_clock::time_point time;
};

// Whether a range lies in one block that was allocated and not freed.
bool inside(const std::map<uint64_t, size_t> &blocks, uint64_t address, size_t bytes) {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return false;
  auto block = std::prev(next);
  return address + bytes <= block->first + block->second;
}

bool valid(uint64_t address, size_t bytes) {
  std::lock_guard<std::mutex> lock(guard);
  return inside(device_blocks, address, bytes) || inside(host_blocks, address, bytes);
}

// Work of a stream that is being captured.
struct Stream {
  std::vector<std::function<int()>> *captured = nullptr;
};

using Graph = std::vector<std::function<int()>>;

int run(void *stream, std::function<int()> work) {
  Stream *s = static_cast<Stream *>(stream);
  if (s && s->captured) {
    s->captured->push_back(std::move(work));
    return SUCCESS;
  }
  return work();
}

uint64_t allocate(std::map<uint64_t, size_t> &blocks, size_t bytes) {
  // Filled with a pattern: code that relies on zeros shall fail.
  void *memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!memory) return 0;
  if (bytes <= (size_t{1} << 26)) std::memset(memory, 0xAB, bytes);
  uint64_t address = reinterpret_cast<uint64_t>(memory);
  std::lock_guard<std::mutex> lock(guard);
  blocks[address] = bytes;
  return address;
}

int release(std::map<uint64_t, size_t> &blocks, uint64_t address, size_t *bytes) {
  std::lock_guard<std::mutex> lock(guard);
  auto block = blocks.find(address);
  if (block == blocks.end()) return INVALID_VALUE;
  *bytes = block->second;
  blocks.erase(block);
  std::free(reinterpret_cast<void *>(address));
  return SUCCESS;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return SUCCESS; }

int cuDriverGetVersion(int *version) {
  *version = 12060;
  return SUCCESS;
}

int cuDeviceGetCount(int *count) {
  *count = 1;
  return SUCCESS;
}

int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetName(char *name, int length, int) {
  std::snprintf(name, length, "host memory");
  return SUCCESS;
}

int cuDeviceGetUuid(unsigned char *uuid, int) {
  for (int i = 0; i < 16; i++) uuid[i] = i;
  return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int) {
  *bytes = total_bytes();
  return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int) {
  switch (attribute) {
    case 16:  // multiprocessors
      *value = 4;
      return SUCCESS;
    case 75:  // compute capability, major
      *value = 8;
      return SUCCESS;
    case 76:  // compute capability, minor
      *value = 0;
      return SUCCESS;
    case 97:  // shared memory of a block, with permission
      *value = 163 * 1024;
      return SUCCESS;
    default:
      return INVALID_VALUE;
  }
}

int cuDevicePrimaryCtxRetain(void **context, int) {
  open_contexts++;
  *context = &open_contexts;
  return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int) { return --open_contexts < 0 ? INVALID_VALUE : SUCCESS; }

int cuDevicePrimaryCtxReset_v2(int) {
  std::lock_guard<std::mutex> lock(guard);
  for (auto *blocks : {&device_blocks, &host_blocks}) {
    for (auto &block : *blocks) std::free(reinterpret_cast<void *>(block.first));
    blocks->clear();
  }
  device_bytes = 0;
  return SUCCESS;
}

int cuCtxSetCurrent(void *) { return SUCCESS; }

int cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return SUCCESS;
}

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  *total = total_bytes();
  *free_bytes = device_bytes > *total ? 0 : *total - device_bytes;
  return SUCCESS;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  if (bytes == 0) return INVALID_VALUE;
  if (device_bytes + bytes > total_bytes()) return OUT_OF_MEMORY;
  *address = allocate(device_blocks, bytes);
  if (!*address) return OUT_OF_MEMORY;
  device_bytes += bytes;
  return SUCCESS;
}

int cuMemFree_v2(uint64_t address) {
  size_t bytes = 0;
  int result = release(device_blocks, address, &bytes);
  device_bytes -= bytes;
  return result;
}

int cuMemHostAlloc(void **address, size_t bytes, unsigned) {
  *address = reinterpret_cast<void *>(allocate(host_blocks, bytes));
  return *address ? SUCCESS : OUT_OF_MEMORY;
}

int cuMemHostGetDevicePointer_v2(uint64_t *address, void *host, unsigned) {
  *address = reinterpret_cast<uint64_t>(host);
  return SUCCESS;
}

int cuMemFreeHost(void *address) {
  size_t bytes = 0;
  return release(host_blocks, reinterpret_cast<uint64_t>(address), &bytes);
}

int cuModuleLoadData(void **module, const void *image) {
  // PTX is text with a terminating zero, and says what it is.
  if (!std::strstr(static_cast<const char *>(image), ".version")) return INVALID_IMAGE;
  *module = new int(0);
  return SUCCESS;
}

int cuModuleUnload(void *module) {
  delete static_cast<int *>(module);
  return SUCCESS;
}

int cuModuleGetFunction(void **function, void *, const char *name) {
  if (parameters_of(name) < 0) return NOT_FOUND;
  *function = new Kernel{name};
  return SUCCESS;
}

int cuFuncSetAttribute(void *function, int attribute, int value) {
  if (attribute != 8 || value > 227 * 1024) return INVALID_VALUE;
  static_cast<Kernel *>(function)->shared_limit = value;
  return SUCCESS;
}

int cuStreamCreateWithPriority(void **stream, unsigned, int) {
  *stream = new Stream();
  return SUCCESS;
}

int cuStreamDestroy_v2(void *stream) {
  delete static_cast<Stream *>(stream);
  return SUCCESS;
}

int cuStreamSynchronize(void *) { return SUCCESS; }

int cuEventCreate(void **event, unsigned) {
  *event = new Event();
  return SUCCESS;
}

int cuEventDestroy_v2(void *event) {
  delete static_cast<Event *>(event);
  return SUCCESS;
}

int cuEventRecord(void *event, void *stream) {
  return run(stream, [=] {
    static_cast<Event *>(event)->time = std::chrono::steady_clock::now();
    return SUCCESS;
  });
}

int cuEventQuery(void *) { return SUCCESS; }

int cuEventSynchronize(void *) { return SUCCESS; }

int cuEventElapsedTime(float *millis, void *from, void *to) {
  *millis = std::chrono::duration<float, std::milli>(static_cast<Event *>(to)->time -
                                                     static_cast<Event *>(from)->time)
                .count();
  return SUCCESS;
}

int cuStreamWaitEvent(void *, void *, unsigned) { return SUCCESS; }

int cuMemcpyAsync(uint64_t to, uint64_t from, size_t bytes, void *stream) {
  if (!valid(to, bytes) || !valid(from, bytes)) return INVALID_VALUE;
  return run(stream, [=] {
    std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes);
    return SUCCESS;
  });
}

int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *stream) {
  if (!valid(to, bytes)) return INVALID_VALUE;
  return run(stream, [=] {
    std::memset(reinterpret_cast<void *>(to), value, bytes);
    return SUCCESS;
  });
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **arguments, void **) {
  Kernel *kernel = static_cast<Kernel *>(function);
  if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || bx * by * bz == 0 ||
      bx * by * bz > 1024 || shared > static_cast<unsigned>(kernel->shared_limit))
    return INVALID_VALUE;
  // The driver copies the arguments; each lies in a place of 8 bytes.
  int parameters = parameters_of(kernel->name);
  std::vector<uint64_t> values(parameters);
  for (int i = 0; i < parameters; i++) std::memcpy(&values[i], arguments[i], 8);
  return run(stream, [=]() mutable {
    std::vector<void *> pointers(values.size());
    for (size_t i = 0; i < values.size(); i++) pointers[i] = &values[i];
    bool compiled = kvfreeze_host_parameter_count(kernel->name.c_str()) >= 0;
    if ((plain || !compiled) && plain_kernel_parameters(kernel->name) >= 0) {
      launch_plain_kernel(kernel->name, gx, gy, gz, pointers.data());
      return SUCCESS;
    }
    int result = kvfreeze_host_launch(kernel->name.c_str(), gx, gy, gz, bx, by, bz, shared,
                                      pointers.data());
    if (result != 0) std::fprintf(stderr, "%s\n", kvfreeze_host_error());
    return result == 0 ? SUCCESS : LAUNCH_FAILED;
  });
}

int cuStreamBeginCapture_v2(void *stream, int) {
  static_cast<Stream *>(stream)->captured = new Graph();
  return SUCCESS;
}

int cuStreamEndCapture(void *stream, void **graph) {
  Stream *s = static_cast<Stream *>(stream);
  *graph = s->captured;
  s->captured = nullptr;
  return SUCCESS;
}

int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
  *executable = new Graph(*static_cast<Graph *>(graph));
  return SUCCESS;
}

int cuGraphDestroy(void *graph) {
  delete static_cast<Graph *>(graph);
  return SUCCESS;
}

int cuGraphLaunch(void *executable, void *) {
  for (auto &work : *static_cast<Graph *>(executable)) {
    int result = work();
    if (result != SUCCESS) return result;
  }
  return SUCCESS;
}

int cuGraphExecDestroy(void *executable) {
  delete static_cast<Graph *>(executable);
  return SUCCESS;
}

// For tests: whether the plain kernels run, or those of src/main/cuda compiled for the host.
void Java_dev_kvfreeze_device_cuda_HostDriver_usePlainKernels(void *, void *, int use) {
  plain = use != 0;
}

// For tests: what is allocated now.
size_t kvfreeze_host_device_bytes() { return device_bytes; }
}
