package dev.kvfreeze.freeze;

/**
 * The knobs of the policies; a policy reads those it has. The defaults of {@code paper} were found by
 * the measurement in {@code docs/benchmarks/paper-policy.md}.
 *
 * @param pageTokens tokens a page; 1 gives the paper's behaviour
 * @param sinkTokens first tokens that are never frozen (attention sinks, arXiv 2309.17453)
 * @param recentTokens K: newest tokens that are never frozen
 * @param threshold tau: attention a token must get to be relevant, as a multiple of the uniform
 *     share 1 / attended tokens
 * @param historySteps W: decode steps over which detections of low relevance are counted
 * @param softness k: freeze duration is floor(sqrt(detections) / k) steps
 */
public record PolicyOptions(
    int pageTokens,
    int sinkTokens,
    int recentTokens,
    double threshold,
    int historySteps,
    double softness) {
  public PolicyOptions {
    require(pageTokens >= 1, "page tokens", pageTokens, "at least 1");
    require(sinkTokens >= 0, "sink tokens", sinkTokens, "at least 0");
    require(recentTokens >= 1, "recent tokens", recentTokens, "at least 1");
    require(threshold >= 0 && threshold < 1e6, "threshold", threshold, "0 to 1000000");
    require(historySteps >= 1, "history steps", historySteps, "at least 1");
    require(softness > 0, "softness", softness, "more than 0");
  }

  private static void require(boolean condition, String name, double value, String allowed) {
    if (!condition) {
      throw new IllegalArgumentException(
          "the policy's " + name + " is " + value + ", it must be " + allowed);
    }
  }

  public static PolicyOptions defaults() {
    return new PolicyOptions(16, 4, 32, 0.5, 256, 1.0);
  }

  public PolicyOptions withPageTokens(int tokens) {
    return new PolicyOptions(
        tokens, sinkTokens, recentTokens, threshold, historySteps, softness);
  }
}
