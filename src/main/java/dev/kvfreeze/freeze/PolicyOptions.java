package dev.kvfreeze.freeze;

/**
 * The knobs of the policies; a policy reads those it has. The defaults of {@code paper} were found
 * by the measurement in {@code docs/benchmarks/paper-policy.md}.
 *
 * @param pageTokens tokens a page; 1 gives the paper's behaviour
 * @param sinkTokens first tokens that are never frozen (attention sinks, arXiv 2309.17453)
 * @param recentTokens K: newest tokens that are never frozen
 * @param threshold tau: attention a token must get to be relevant, as a multiple of the uniform
 *     share 1 / attended tokens
 * @param historySteps W: decode steps over which detections of low relevance are counted
 * @param softness k: freeze duration is floor(sqrt(detections) / k) steps
 * @param adaptive what {@code adaptive} and the capped baselines read besides
 * @param guard the entropy guard of {@code paper} and {@code adaptive}
 */
public record PolicyOptions(
    int pageTokens,
    int sinkTokens,
    int recentTokens,
    double threshold,
    int historySteps,
    double softness,
    AdaptiveOptions adaptive,
    GuardOptions guard) {
  /** Most tokens a page may hold. */
  public static final int MAX_PAGE_TOKENS = 1024;

  /** Most steps of detection history. */
  public static final int MAX_HISTORY_STEPS = 1 << 15;

  public PolicyOptions {
    require(
        pageTokens >= 1 && pageTokens <= MAX_PAGE_TOKENS,
        "page tokens",
        pageTokens,
        "1 to " + MAX_PAGE_TOKENS);
    require(sinkTokens >= 0, "sink tokens", sinkTokens, "at least 0");
    require(recentTokens >= 1, "recent tokens", recentTokens, "at least 1");
    require(threshold >= 0 && threshold < 1e6, "threshold", threshold, "0 to 1000000");
    require(
        historySteps >= 1 && historySteps <= MAX_HISTORY_STEPS,
        "history steps",
        historySteps,
        "1 to " + MAX_HISTORY_STEPS);
    require(softness > 0 && softness < 1e6, "softness", softness, "more than 0, below 1000000");
  }

  static void require(boolean condition, String name, double value, String allowed) {
    if (!condition) {
      throw new IllegalArgumentException(
          "the policy's " + name + " is " + value + ", it must be " + allowed);
    }
  }

  /** Without the knobs of {@code adaptive}, which get their defaults. */
  public PolicyOptions(
      int pageTokens,
      int sinkTokens,
      int recentTokens,
      double threshold,
      int historySteps,
      double softness) {
    this(
        pageTokens,
        sinkTokens,
        recentTokens,
        threshold,
        historySteps,
        softness,
        AdaptiveOptions.defaults(),
        GuardOptions.OFF);
  }

  /** The defaults of every knob; the only place where they stand. */
  public static PolicyOptions defaults() {
    return new PolicyOptions(16, 4, 32, 0.1, 256, 1.0);
  }

  /** The defaults of a policy: the paper's unit is a token, the others' a page. */
  public static PolicyOptions defaults(String policyName) {
    return policyName.equals(PaperPolicy.NAME) ? defaults().withPageTokens(1) : defaults();
  }

  public PolicyOptions withPageTokens(int tokens) {
    return new PolicyOptions(
        tokens, sinkTokens, recentTokens, threshold, historySteps, softness, adaptive, guard);
  }

  public PolicyOptions withAdaptive(AdaptiveOptions other) {
    return new PolicyOptions(
        pageTokens, sinkTokens, recentTokens, threshold, historySteps, softness, other, guard);
  }

  public PolicyOptions withGuard(GuardOptions other) {
    return new PolicyOptions(
        pageTokens, sinkTokens, recentTokens, threshold, historySteps, softness, adaptive, other);
  }
}
