package dev.kvfreeze.engine;

import dev.kvfreeze.device.LogitStatistics;
import java.util.BitSet;
import java.util.SplittableRandom;

/**
 * Draws one document's tokens. The random numbers depend on the seed and the document's name alone,
 * so that a document's text is the same in any batch.
 *
 * <p>The filters apply in the order of {@link SamplingOptions}, each to what the one before left,
 * as if probabilities were normalised in between.
 */
final class Sampler {
  /** A token whose logit is this many temperatures below the largest (e^-40) is never drawn. */
  private static final double NEGLIGIBLE = 40;

  /** Tokens whose probabilities are summed before one of them is looked for. */
  private static final int RUN = 512;

  private final String id;
  private final SamplingOptions options;
  private final SplittableRandom random;
  private final CandidateList candidates = new CandidateList();
  private final BitSet penalised = new BitSet();
  private final int[] recent;
  private double[] runMasses = {};
  private int recentCount;
  private int recentNext;

  Sampler(String id, SamplingOptions options) {
    this.id = id;
    this.options = options;
    this.random = new SplittableRandom(seed(id, options.seed()));
    this.recent = new int[Math.max(0, options.repetitionWindow())];
  }

  /** FNV-1a over the name's characters, begun with the seed. */
  private static long seed(String id, long seed) {
    long hash = seed ^ 0xcbf29ce484222325L;
    for (int i = 0; i < id.length(); i++) {
      hash = (hash ^ id.charAt(i)) * 0x100000001b3L;
    }
    return hash;
  }

  /** Whether {@link #next} reads the logits; plain greedy sampling needs their statistics only. */
  boolean needsLogits() {
    return options.temperature() > 0 || penalises();
  }

  private boolean penalises() {
    return options.repetitionPenalty() != 1 && recentCount > 0;
  }

  /**
   * The next token; {@code logits} are overwritten where a penalty applies, and may be null where
   * {@link #needsLogits} says so.
   *
   * @throws IllegalStateException naming the document, when the logits are no distribution
   */
  int next(float[] logits, LogitStatistics statistics) {
    if (!Float.isFinite(statistics.max()) || !Float.isFinite(statistics.logSumExp())) {
      throw notADistribution(statistics.max());
    }
    if (!needsLogits()) {
      return statistics.argmax();
    }
    int best = penalises() ? penalisedArgmax(logits, statistics.argmax()) : statistics.argmax();
    if (!Float.isFinite(logits[best])) {
      throw notADistribution(logits[best]);
    }
    return options.temperature() <= 0 ? best : draw(logits, logits[best]);
  }

  private IllegalStateException notADistribution(float found) {
    return new IllegalStateException(
        "document "
            + id
            + ": no token can be drawn, the largest logit is "
            + found
            + " or a logit is NaN; the model file is damaged or unsuited to this KV format");
  }

  /** Forgets the tokens of the repetition penalty, which are then accepted again. */
  void forget() {
    recentCount = 0;
    recentNext = 0;
  }

  /** Remembers a token for the repetition penalty. */
  void accept(int token) {
    if (recent.length > 0) {
      recent[recentNext] = token;
      recentNext = (recentNext + 1) % recent.length;
      recentCount = Math.min(recentCount + 1, recent.length);
    }
  }

  /** Penalises the recent tokens; the largest logit afterwards, the first of equal ones. */
  private int penalisedArgmax(float[] logits, int argmaxBefore) {
    float penalty = options.repetitionPenalty();
    for (int i = 0; i < recentCount; i++) {
      int token = recent[i];
      if (!penalised.get(token)) {
        penalised.set(token);
        logits[token] = logits[token] > 0 ? logits[token] / penalty : logits[token] * penalty;
      }
    }
    int best = penalised.get(argmaxBefore) ? argmax(logits) : argmaxBefore;
    for (int i = 0; i < recentCount; i++) {
      int token = recent[i];
      penalised.clear(token);
      // Of all others the best is known; a penalty below 1 is a reward.
      if (logits[token] > logits[best] || (logits[token] == logits[best] && token < best)) {
        best = token;
      }
    }
    return best;
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

  private int draw(float[] logits, float max) {
    boolean everyToken = options.topK() <= 0 && options.topP() >= 1;
    if (everyToken) {
      return drawFrom(logits, max);
    }
    int kept = options.topK() > 0 ? topK(logits, max) : topP(logits, max);
    double mass = 0;
    for (int i = 0; i < kept; i++) {
      mass += weight(candidates.logit(i), max);
    }
    double at = random.nextDouble() * mass;
    for (int i = 0; i < kept - 1; i++) {
      at -= weight(candidates.logit(i), max);
      if (at < 0) {
        return candidates.token(i);
      }
    }
    return candidates.token(kept - 1);
  }

  /**
   * Draws from all tokens at least {@code minP} times as probable as the best. The vocabulary is
   * gone through once by runs of tokens, whose sums are kept, and then only the run that holds the
   * token drawn.
   */
  private int drawFrom(float[] logits, float max) {
    double least = Math.min(max, Math.max(leastLogit(max), minPLogit(max)));
    int runs = (logits.length + RUN - 1) / RUN;
    if (runMasses.length < runs) {
      runMasses = new double[runs];
    }
    double mass = 0;
    int lastRun = 0;
    for (int run = 0; run < runs; run++) {
      runMasses[run] =
          mass(logits, run * RUN, Math.min(logits.length, (run + 1) * RUN), max, least);
      mass += runMasses[run];
      lastRun = runMasses[run] > 0 ? run : lastRun;
    }
    double at = random.nextDouble() * mass;
    int run = 0;
    while (run < lastRun && at >= runMasses[run]) {
      at -= runMasses[run++];
    }
    int last = -1;
    for (int token = run * RUN; token < Math.min(logits.length, (run + 1) * RUN); token++) {
      if (logits[token] >= least) {
        last = token;
        at -= weight(logits[token], max);
        if (at < 0) {
          break;
        }
      }
    }
    return last;
  }

  /** Probability relative to the best token's. */
  private double weight(float logit, float max) {
    return Math.exp(((double) logit - max) / options.temperature());
  }

  private double leastLogit(float max) {
    return max - NEGLIGIBLE * options.temperature();
  }

  private double minPLogit(float max) {
    return options.minP() > 0
        ? max + Math.log(options.minP()) * options.temperature()
        : Double.NEGATIVE_INFINITY;
  }

  private double mass(float[] logits, int from, int to, float max, double least) {
    double mass = 0;
    for (int token = from; token < to; token++) {
      if (logits[token] >= least) {
        mass += weight(logits[token], max);
      }
    }
    return mass;
  }

  private int topK(float[] logits, float max) {
    candidates.takeLargest(logits, options.topK());
    candidates.sort();
    double mass = 0;
    for (int i = 0; i < candidates.count(); i++) {
      mass += weight(candidates.logit(i), max);
    }
    return minP(Math.min(nucleus(mass, max), candidates.count()), max);
  }

  /**
   * Nucleus of the whole vocabulary. Few tokens make it up as a rule, so the likeliest are taken
   * and sorted first, and more only when their probability falls short.
   */
  private int topP(float[] logits, float max) {
    double least = leastLogit(max);
    double mass = mass(logits, 0, logits.length, max, least);
    double reach = 5 * (double) options.temperature();
    while (max - reach > least) {
      candidates.takeAtLeast(logits, max - reach);
      candidates.sort();
      int kept = nucleus(mass, max);
      if (kept <= candidates.count()) {
        return minP(kept, max);
      }
      reach *= 2;
    }
    candidates.takeAtLeast(logits, least);
    candidates.sort();
    return minP(Math.min(nucleus(mass, max), candidates.count()), max);
  }

  /**
   * The smallest number of candidates with {@code topP} of the mass (Holtzman et al., arXiv
   * 1904.09751); one more than there are when all of them have less.
   */
  private int nucleus(double mass, float max) {
    if (options.topP() >= 1) {
      return candidates.count();
    }
    double sum = 0;
    for (int i = 0; i < candidates.count(); i++) {
      sum += weight(candidates.logit(i), max);
      if (sum >= options.topP() * mass) {
        return i + 1;
      }
    }
    return candidates.count() + 1;
  }

  /** Keeps the candidates at least minP times as probable as the best (arXiv 2407.01082). */
  private int minP(int count, float max) {
    int kept = count;
    while (kept > 1 && weight(candidates.logit(kept - 1), max) < options.minP()) {
      kept--;
    }
    return kept;
  }
}
