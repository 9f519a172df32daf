// Where tokens lie: the page tables of a launch (README.md, "Tables").
#pragma once

#include "platform.cuh"

/// The pages of one head, in order of position.
struct HeadList {
  /// {slot, position of the first token}.
  const int2* pages;
  int count;
  int pageTokens;
  /// 2^32 / pageTokens, rounded up: division by multiplication, exact for the sizes there are.
  uint32 reciprocal;

  __device__ __forceinline__ HeadList(const int2* allPages, int2 head, int pageTokens)
      : pages(allPages + head.x),
        count(head.y),
        pageTokens(pageTokens),
        reciprocal(pageTokens == 1 ? 0 : 0xffffffffu / pageTokens + 1) {}

  /// Page of a token counted through the list.
  __device__ __forceinline__ int page_of(int token) const {
    return pageTokens == 1 ? token
                           : static_cast<int>(static_cast<uint64>(token) * reciprocal >> 32);
  }

  __device__ __forceinline__ int position_of(int token) const {
    const int page = page_of(token);
    return pages[page].y + token - page * pageTokens;
  }

  /// The first page that begins after a position; all pages from there on are invisible to it.
  __device__ __forceinline__ int first_after(int position) const {
    int low = 0;
    int high = count;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (pages[middle].y > position) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

/// First position that a row sees through a sliding window, 0 meaning no window.
__device__ __forceinline__ int window_start(int position, int window) {
  return window <= 0 ? 0 : max(0, position - window + 1);
}

/// A token's key in the pool; its value lies `pageTokens * headSize` further.
__device__ __forceinline__ const bf16* key_at(const bf16* pool, int slot, int token, int pageTokens,
                                              int headSize) {
  const size_t row = static_cast<size_t>(slot) * (2 * pageTokens) + token;
  return pool + row * headSize;
}

/// The segment of a row.
__device__ __forceinline__ int segment_of(const int4* segments, int segmentCount, int row) {
  int low = 0;
  int high = segmentCount - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (segments[middle].x <= row) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/// Where the key of a position is written, in the page that covers it.
__device__ __forceinline__ bf16* writable_key(const HeadList& list, int position, bf16* pool,
                                              int headSize) {
  const int2 page = list.pages[list.first_after(position) - 1];
  return const_cast<bf16*>(key_at(pool, page.x, position - page.y, list.pageTokens, headSize));
}
