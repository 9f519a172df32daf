package dev.kvfreeze.engine;

import dev.kvfreeze.device.LogitStatistics;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Draws one document's tokens. The random numbers depend on the seed and the document's name alone,
 * so that a document's text is the same in any batch.
 */
final class Sampler {
  /** Only so many candidates are ever sorted; the rest of the distribution is negligible. */
  private static final int MAX_CANDIDATES = 1024;

  private final SamplingOptions options;
  private final SplittableRandom random;
  private final int[] recent;
  private int recentCount;
  private final int[] candidates = new int[MAX_CANDIDATES];
  private final double[] weights = new double[MAX_CANDIDATES];

  Sampler(String id, SamplingOptions options) {
    this.options = options;
    long seed = options.seed();
    for (int i = 0; i < id.length(); i++) {
      seed = seed * 0x100000001b3L + id.charAt(i);
    }
    this.random = new SplittableRandom(seed);
    this.recent = new int[Math.max(0, options.repetitionWindow())];
  }

  /** Whether {@link #next} reads the logits; plain greedy sampling needs their statistics only. */
  boolean needsLogits() {
    return options.temperature() > 0 || penalises();
  }

  private boolean penalises() {
    return options.repetitionPenalty() != 1 && recentCount > 0;
  }

  /** The next token; {@code logits} are overwritten where a penalty applies. */
  int next(float[] logits, LogitStatistics statistics) {
    if (!needsLogits()) {
      return statistics.argmax();
    }
    if (penalises()) {
      penalise(logits);
    }
    if (options.temperature() <= 0) {
      return argmax(logits);
    }
    return draw(logits);
  }

  /** Remembers a token for the repetition penalty. */
  void accept(int token) {
    if (recent.length > 0) {
      recent[recentCount++ % recent.length] = token;
      if (recentCount == Integer.MAX_VALUE) {
        recentCount = recent.length;
      }
    }
  }

  private void penalise(float[] logits) {
    int[] tokens = Arrays.copyOf(recent, Math.min(recentCount, recent.length));
    Arrays.sort(tokens);
    for (int i = 0; i < tokens.length; i++) {
      int token = tokens[i];
      if (i == 0 || tokens[i - 1] != token) {
        float logit = logits[token];
        logits[token] =
            logit > 0
                ? logit / options.repetitionPenalty()
                : logit * options.repetitionPenalty();
      }
    }
  }

  private static int argmax(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      if (logits[i] > logits[best]) {
        best = i;
      }
    }
    return best;
  }

  private int draw(float[] logits) {
    int limit = options.topK() > 0 ? Math.min(options.topK(), MAX_CANDIDATES) : MAX_CANDIDATES;
    int count = largest(logits, Math.min(limit, logits.length));
    double max = logits[candidates[0]];
    double sum = 0;
    for (int i = 0; i < count; i++) {
      weights[i] = Math.exp((logits[candidates[i]] - max) / options.temperature());
      sum += weights[i];
    }
    int kept = filter(count, sum);
    double keptSum = 0;
    for (int i = 0; i < kept; i++) {
      keptSum += weights[i];
    }
    double at = random.nextDouble() * keptSum;
    for (int i = 0; i < kept - 1; i++) {
      at -= weights[i];
      if (at < 0) {
        return candidates[i];
      }
    }
    return candidates[kept - 1];
  }

  /** Top-p (arXiv 1904.09751), then min-p (arXiv 2407.01082); candidates are in falling order. */
  private int filter(int count, double sum) {
    int kept = count;
    if (options.topP() < 1) {
      double mass = 0;
      kept = 0;
      while (kept < count && mass < options.topP() * sum) {
        mass += weights[kept++];
      }
      kept = Math.max(1, kept);
    }
    while (kept > 1 && weights[kept - 1] < options.minP() * weights[0]) {
      kept--;
    }
    return kept;
  }

  /** Fills {@link #candidates} with the {@code limit} largest logits in falling order. */
  private int largest(float[] logits, int limit) {
    int size = 0;
    for (int i = 0; i < logits.length; i++) {
      if (size < limit) {
        candidates[size] = i;
        siftUp(logits, size++);
      } else if (logits[i] > logits[candidates[0]]) {
        candidates[0] = i;
        siftDown(logits, size);
      }
    }
    for (int end = size - 1; end > 0; end--) {
      int least = candidates[0];
      candidates[0] = candidates[end];
      siftDown(logits, end);
      candidates[end] = least;
    }
    return size;
  }

  /** The heap's root is the smallest logit; of equal ones the larger index is the smaller. */
  private boolean less(float[] logits, int a, int b) {
    return logits[a] < logits[b] || (logits[a] == logits[b] && a > b);
  }

  private void siftUp(float[] logits, int at) {
    int child = at;
    while (child > 0) {
      int parent = (child - 1) / 2;
      if (!less(logits, candidates[child], candidates[parent])) {
        return;
      }
      swap(child, parent);
      child = parent;
    }
  }

  private void siftDown(float[] logits, int size) {
    int parent = 0;
    while (true) {
      int child = 2 * parent + 1;
      if (child >= size) {
        return;
      }
      if (child + 1 < size && less(logits, candidates[child + 1], candidates[child])) {
        child++;
      }
      if (!less(logits, candidates[child], candidates[parent])) {
        return;
      }
      swap(child, parent);
      parent = child;
    }
  }

  private void swap(int a, int b) {
    int token = candidates[a];
    candidates[a] = candidates[b];
    candidates[b] = token;
  }
}
