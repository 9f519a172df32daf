package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;

/**
 * A block of neighbouring tokens of one KV head decoded to float32 panels, whatever pages they come
 * from: keys transposed {@code keys[d][KEY_STRIDE]}, values {@code values[token][valueStride]},
 * both from {@link LineAligned#FIRST} on. One block lives in one thread's scratch and is refilled
 * along the pages.
 */
final class KeyBlock {
  /** Tokens of a block. */
  static final int TOKENS = 128;

  /** Longer than the tokens, so that the rows of a panel do not fall into the same cache sets. */
  static final int KEY_STRIDE = TOKENS + 16;

  final int[] positions = new int[TOKENS];

  /** Page of each token. */
  final int[] pageOf = new int[TOKENS];

  float[] keys = {};
  float[] values = {};
  int valueStride;
  private int headSize;

  /** Tokens now in the block. */
  int count;

  private AttentionKernels kernels;
  private CpuPageMemory memory;
  private HeadPages pages;
  private int page;
  private int token;
  private int limit;

  /** Begins at the first token of page {@code from}; ends with page {@code to}. */
  void start(AttentionKernels kernels, CpuPageMemory memory, HeadPages pages, int from, int to) {
    this.kernels = kernels;
    this.memory = memory;
    this.pages = pages;
    page = from;
    token = 0;
    limit = to;
    PageLayout layout = memory.layout();
    valueStride = AttentionKernels.paddedColumns(layout.headSize()) + 16;
    if (headSize != layout.headSize()) {
      // New arrays, not longer ones: what lies beyond a value must be zero.
      headSize = layout.headSize();
      keys = LineAligned.floats(headSize * KEY_STRIDE + AttentionKernels.SLACK);
      values = LineAligned.floats(TOKENS * valueStride + AttentionKernels.SLACK);
    }
  }

  /** Decodes the next keys; returns false when none are left. */
  boolean nextKeys() {
    return next(false);
  }

  /** Decodes the next keys and values; returns false when none are left. */
  boolean nextKeysAndValues() {
    return next(true);
  }

  private boolean next(boolean withValues) {
    count = 0;
    while (page < limit && count < TOKENS) {
      int take = Math.min(pages.tokenCounts[page] - token, TOKENS - count);
      if (take > 0) {
        int slot = pages.slots[page];
        kernels.packKeys(memory, slot, token, take, keys, LineAligned.FIRST + count, KEY_STRIDE);
        if (withValues) {
          int at = LineAligned.FIRST + count * valueStride;
          kernels.packValues(memory, slot, token, take, values, at, valueStride);
        }
        for (int i = 0; i < take; i++) {
          positions[count + i] = pages.firstPositions[page] + token + i;
          pageOf[count + i] = page;
        }
        count += take;
        token += take;
      }
      if (token >= pages.tokenCounts[page]) {
        page++;
        token = 0;
      }
    }
    return count > 0;
  }

  /** Tokens at positions below {@code position}, which come first. */
  int tokensBefore(int position) {
    int low = 0;
    int high = count;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (positions[middle] < position) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}
