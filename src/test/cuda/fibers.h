// The threads of one block as fibers of the calling thread, and the points where they meet.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace kvhost {
struct Index3 {
  unsigned x, y, z;
};

struct Fiber {
  Index3 threadIndex;
  int number;
};

/// The running fiber; every other variable here is the running block's.
extern Fiber* current;
extern Index3 blockIndex, blockSize, gridSize;
extern unsigned char* dynamicShared;

constexpr int kSlotBytes = 64;

inline int lane() { return current->number % 32; }

/// What the last lane to arrive does with the operands of all, slot l being lane l's.
using Combine = void (*)(unsigned char* slots);

/// Waits for the whole block.
void meet_block();
/// The same; whether the predicate holds for any thread.
int meet_block_or(int predicate);
/// Waits for all 32 lanes and returns their slots, valid until the lane's next meeting but one.
unsigned char* meet_warp(Combine combine, const void* operand, size_t bytes);

/// cp.async: the bytes arrive when they are waited for, `from` null meaning zeros.
void begin_copy(void* to, const void* from);
void commit_copies();
void wait_copies(int pending);

/// Runs a grid. `reversed` starts the fibers of a block in opposite order.
/// Returns an empty string, or what went wrong.
std::string run_grid(Index3 grid, Index3 block, unsigned sharedBytes, bool reversed,
                     const std::function<void()>& kernel);
}  // namespace kvhost
