package dev.kvfreeze.engine;

import java.util.Arrays;

/**
 * Some tokens of a vocabulary with their logits, most probable first after {@link #sort}; of equal
 * logits the smaller token comes first. A candidate is one number whose order is that of the
 * logits: the logit's bits, made monotone, above the token's complement.
 */
final class CandidateList {
  private long[] keys = new long[256];
  private int count;

  int count() {
    return count;
  }

  /** The i-th most probable token. */
  int token(int i) {
    return ~(int) keys[count - 1 - i];
  }

  /** Its logit. */
  float logit(int i) {
    return Float.intBitsToFloat(monotone((int) (keys[count - 1 - i] >> 32)));
  }

  /** Takes the tokens whose logit is at least {@code least}. */
  void takeAtLeast(float[] logits, double least) {
    count = 0;
    for (int token = 0; token < logits.length; token++) {
      if (logits[token] >= least) {
        if (count == keys.length) {
          keys = Arrays.copyOf(keys, Math.min(logits.length, 2 * count));
        }
        keys[count++] = key(token, logits[token]);
      }
    }
  }

  /** Takes the {@code limit} tokens of the largest logits, by a heap of the best so far. */
  void takeLargest(float[] logits, int limit) {
    int size = Math.min(limit, logits.length);
    if (keys.length < size) {
      keys = new long[size];
    }
    count = size;
    for (int token = 0; token < size; token++) {
      keys[token] = key(token, logits[token]);
    }
    for (int parent = size / 2 - 1; parent >= 0; parent--) {
      siftDown(parent);
    }
    for (int token = size; token < logits.length; token++) {
      long key = key(token, logits[token]);
      if (key > keys[0]) {
        keys[0] = key;
        siftDown(0);
      }
    }
  }

  void sort() {
    Arrays.sort(keys, 0, count);
  }

  private void siftDown(int from) {
    int parent = from;
    long moving = keys[parent];
    for (int child = 2 * parent + 1; child < count; child = 2 * parent + 1) {
      if (child + 1 < count && keys[child + 1] < keys[child]) {
        child++;
      }
      if (moving <= keys[child]) {
        break;
      }
      keys[parent] = keys[child];
      parent = child;
    }
    keys[parent] = moving;
  }

  private static long key(int token, float logit) {
    return (long) monotone(Float.floatToRawIntBits(logit)) << 32 | (~token & 0xffffffffL);
  }

  /** Between a float's bits and an integer of the same order; its own inverse. */
  private static int monotone(int bits) {
    return bits ^ ((bits >> 31) & 0x7fffffff);
  }
}
