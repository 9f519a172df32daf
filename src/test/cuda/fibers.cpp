#include "fibers.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace kvhost {
Fiber* current;
Index3 blockIndex, blockSize, gridSize;
unsigned char* dynamicShared;

namespace {
constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kSharedBytes = 256 << 10;

struct Copy {
  void* to;
  const void* from;
  int group;
};

enum class Waiting { kNothing, kWarp, kBlock, kDone };

struct Thread : Fiber {
  Waiting waiting;
  uint64_t meeting;  // the meeting of its warp or block that it waits for
  int copyGroup;
  std::vector<Copy> copies;
#if defined(__x86_64__)
  void* stackPointer;
#else
  ucontext_t context;
#endif
};

struct Warp {
  int arrived;
  uint64_t meetings;
  alignas(64) unsigned char slots[2][32 * kSlotBytes];
};

std::vector<std::unique_ptr<Thread>> threads;
std::vector<std::unique_ptr<Warp>> warps;
std::vector<unsigned char*> stacks;
int threadCount;
int alive;
int blockArrived;
int blockVotes[2];
uint64_t blockMeetings;
const std::function<void()>* kernelBody;
bool progressed;
std::string failure;

#if defined(__x86_64__)
void* schedulerStack;
extern "C" void kvhost_switch(void** saveTo, void* loadFrom);
asm(R"(
.text
.globl kvhost_switch
.type kvhost_switch,@function
kvhost_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size kvhost_switch,.-kvhost_switch
)");
#else
ucontext_t schedulerContext;
#endif

Thread* running() { return static_cast<Thread*>(current); }

void yield() {
  Thread* self = running();
#if defined(__x86_64__)
  kvhost_switch(&self->stackPointer, schedulerStack);
#else
  swapcontext(&self->context, &schedulerContext);
#endif
}

void resume(Thread* thread) {
  current = thread;
#if defined(__x86_64__)
  kvhost_switch(&schedulerStack, thread->stackPointer);
#else
  swapcontext(&schedulerContext, &thread->context);
#endif
}

void complete_block_if_all_arrived() {
  if (alive > 0 && blockArrived == alive) {
    blockArrived = 0;
    blockMeetings++;
  }
}

void enter() {
  (*kernelBody)();
  Thread* self = running();
  self->waiting = Waiting::kDone;
  alive--;
  // Threads that have returned are not waited for, as on the device.
  complete_block_if_all_arrived();
  for (;;) yield();
}

void prepare(Thread* thread, int number) {
  thread->number = number;
  thread->threadIndex = {number % blockSize.x, number / blockSize.x % blockSize.y,
                         number / (blockSize.x * blockSize.y)};
  thread->waiting = Waiting::kNothing;
  thread->copyGroup = 0;
  thread->copies.clear();
#if defined(__x86_64__)
  auto top = reinterpret_cast<uintptr_t>(stacks[number] + kStackBytes) & ~uintptr_t{63};
  auto* stack = reinterpret_cast<void**>(top);
  // As if enter() had been called: the return address at 8 below a multiple of 16.
  *--stack = nullptr;
  *--stack = reinterpret_cast<void*>(&enter);
  for (int i = 0; i < 6; i++) *--stack = nullptr;
  thread->stackPointer = stack;
#else
  getcontext(&thread->context);
  thread->context.uc_stack.ss_sp = stacks[number];
  thread->context.uc_stack.ss_size = kStackBytes;
  thread->context.uc_link = nullptr;
  makecontext(&thread->context, enter, 0);
#endif
}

bool ready(const Thread& thread) {
  switch (thread.waiting) {
    case Waiting::kNothing:
      return true;
    case Waiting::kWarp:
      return warps[thread.number / 32]->meetings > thread.meeting;
    case Waiting::kBlock:
      return blockMeetings > thread.meeting;
    case Waiting::kDone:
      return false;
  }
  return false;
}

void run_block(bool reversed) {
  alive = threadCount;
  blockArrived = 0;
  for (auto& warp : warps) warp->arrived = 0;
  for (int i = 0; i < threadCount; i++) prepare(threads[i].get(), i);
  while (alive > 0) {
    progressed = false;
    for (int i = 0; i < threadCount; i++) {
      Thread* thread = threads[reversed ? threadCount - 1 - i : i].get();
      if (ready(*thread)) {
        thread->waiting = Waiting::kNothing;
        progressed = true;
        resume(thread);
      }
    }
    if (!progressed) {
      const Thread* stuck = nullptr;
      for (int i = 0; i < threadCount && stuck == nullptr; i++) {
        if (threads[i]->waiting != Waiting::kDone) stuck = threads[i].get();
      }
      failure = "block (" + std::to_string(blockIndex.x) + ", " + std::to_string(blockIndex.y) +
                ", " + std::to_string(blockIndex.z) + "): thread " + std::to_string(stuck->number) +
                " and " + std::to_string(alive - 1) + " others wait for ever at a " +
                (stuck->waiting == Waiting::kBlock ? "block's barrier" : "warp's meeting");
      return;
    }
  }
}

void make_room(int count) {
  while (static_cast<int>(threads.size()) < count) {
    threads.push_back(std::make_unique<Thread>());
    void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) abort();
    stacks.push_back(static_cast<unsigned char*>(stack));
  }
  while (static_cast<int>(warps.size()) * 32 < count) warps.push_back(std::make_unique<Warp>());
}
}  // namespace

void meet_block() { meet_block_or(0); }

int meet_block_or(int predicate) {
  Thread* self = running();
  const uint64_t meeting = blockMeetings;
  if (blockArrived++ == 0) blockVotes[meeting % 2] = 0;
  blockVotes[meeting % 2] |= predicate != 0;
  complete_block_if_all_arrived();
  if (blockMeetings == meeting) {
    self->waiting = Waiting::kBlock;
    self->meeting = meeting;
    yield();
  }
  return blockVotes[meeting % 2];
}

unsigned char* meet_warp(Combine combine, const void* operand, size_t bytes) {
  Thread* self = running();
  Warp& warp = *warps[self->number / 32];
  const uint64_t meeting = warp.meetings;
  unsigned char* slots = warp.slots[meeting % 2];
  if (bytes > 0) std::memcpy(slots + kSlotBytes * lane(), operand, bytes);
  if (++warp.arrived == 32) {
    warp.arrived = 0;
    if (combine != nullptr) combine(slots);
    warp.meetings++;
  } else {
    self->waiting = Waiting::kWarp;
    self->meeting = meeting;
    yield();
  }
  return slots;
}

void begin_copy(void* to, const void* from) {
  Thread* self = running();
  // Not there until waited for: what is read too early is wrong for certain.
  std::memset(to, 0xff, 16);
  self->copies.push_back({to, from, self->copyGroup});
}

void commit_copies() { running()->copyGroup++; }

void wait_copies(int pending) {
  Thread* self = running();
  const int complete = self->copyGroup - pending;
  size_t done = 0;
  for (; done < self->copies.size() && self->copies[done].group < complete; done++) {
    const Copy& copy = self->copies[done];
    if (copy.from == nullptr) {
      std::memset(copy.to, 0, 16);
    } else {
      std::memcpy(copy.to, copy.from, 16);
    }
  }
  self->copies.erase(self->copies.begin(), self->copies.begin() + done);
}

std::string run_grid(Index3 grid, Index3 block, unsigned sharedBytes, bool reversed,
                     const std::function<void()>& kernel) {
  static auto* shared = static_cast<unsigned char*>(std::aligned_alloc(256, kSharedBytes));
  gridSize = grid;
  blockSize = block;
  threadCount = static_cast<int>(block.x * block.y * block.z);
  make_room(threadCount);
  kernelBody = &kernel;
  // At the end of the room, so that what a checker of addresses puts behind it is met.
  dynamicShared = shared + (kSharedBytes - (sharedBytes + 15) / 16 * 16);
  failure.clear();
  for (unsigned z = 0; z < grid.z; z++) {
    for (unsigned y = 0; y < grid.y; y++) {
      for (unsigned x = 0; x < grid.x; x++) {
        blockIndex = {x, y, z};
        std::memset(dynamicShared, 0xff, sharedBytes);
        run_block(reversed);
        if (!failure.empty()) return failure;
      }
    }
  }
  return "";
}
}  // namespace kvhost
