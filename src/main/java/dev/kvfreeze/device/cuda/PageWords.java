package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.PageLayout;
import java.nio.ByteBuffer;

/**
 * Between the kernels' order of a page, {@code [pageTokens][headSize]} bf16 keys then values, and
 * the words of {@link PageLayout}. Both have the same bits.
 */
final class PageWords {
  private PageWords() {}

  static void fromDevice(PageLayout layout, ByteBuffer page, int[] words, int offset) {
    int tokens = layout.pageTokens();
    int size = layout.headSize();
    int half = size / 2;
    for (int t = 0; t < tokens; t++) {
      for (int j = 0; j < half; j++) {
        int key = 2 * (t * size + j);
        int value = key + 2 * tokens * size;
        words[offset + j * tokens + t] = word(page, key, half);
        words[offset + layout.valueOffset() + t * half + j] = word(page, value, half);
      }
    }
  }

  static void toDevice(PageLayout layout, int[] words, int offset, ByteBuffer page) {
    int tokens = layout.pageTokens();
    int size = layout.headSize();
    int half = size / 2;
    for (int t = 0; t < tokens; t++) {
      for (int j = 0; j < half; j++) {
        int key = 2 * (t * size + j);
        int value = key + 2 * tokens * size;
        put(page, key, half, words[offset + j * tokens + t]);
        put(page, value, half, words[offset + layout.valueOffset() + t * half + j]);
      }
    }
  }

  private static int word(ByteBuffer page, int at, int half) {
    return page.getShort(at) & 0xffff | page.getShort(at + 2 * half) << 16;
  }

  private static void put(ByteBuffer page, int at, int half, int word) {
    page.putShort(at, (short) word);
    page.putShort(at + 2 * half, (short) (word >>> 16));
  }
}
