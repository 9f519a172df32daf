package dev.kvfreeze.freeze;

/**
 * The freeze of this project, after ASR-KF-EGR (arXiv 2512.11221), with recall.
 *
 * <ul>
 *   <li>A short context is left alone, at the price of the full cache.
 *   <li>A prompt is read exactly: once it exceeds the cap, cold pages pass through the device one
 *       layer at a time. Or, in {@link PrefillMode#FROZEN}, pages are frozen and recalled from
 *       chunk to chunk as they are from step to step.
 *   <li>The attention of the prompt's last tokens chooses the pages of all heads together: one
 *       level of importance for the whole sequence, so that each head gets what it needs (the joint
 *       choice of AdaKV, arXiv 2407.11550, over layers too).
 *   <li>While it generates, the importance of an active page is a carried average of its attention;
 *       that of a frozen page of what its sketch promises. A frozen page that beats the level is
 *       thawed before the attention of that very step.
 *   <li>What is copied is copied forwards: a page lends a share of its importance to the next one,
 *       so that it is there before it is asked for.
 *   <li>Of the recovery ladder, the resets of what was frozen lately end holds or thaw within the
 *       cap; the full reset reads one step exactly, all pages passing, and chooses anew.
 *   <li>The schedule of the paper, {@code floor(sqrt(c) / k)} steps for a page detected c times, is
 *       the minimum hold of a frozen page; one many times above the level breaks it.
 * </ul>
 */
public final class AdaptivePolicy implements FreezePolicy {
  static final String NAME = "adaptive";

  /** Tokens at the end of a prompt whose attention chooses; as SnapKV observes (2404.14469). */
  static final int OBSERVED_TOKENS = 64;

  private final PolicyOptions options;

  public AdaptivePolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return NAME;
  }

  private boolean readsExactly() {
    return options.adaptive().prefill() == PrefillMode.EXACT;
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return !readsExactly() || kind == StepKind.QUESTION || kind == StepKind.DECODE;
  }

  @Override
  public GuardOptions guard() {
    return options.guard();
  }

  /** Under a cap not everything can be active at once, but everything can pass once. */
  @Override
  public boolean recoversByReading() {
    return readsExactly();
  }

  @Override
  public int sketchPlanes() {
    return options.adaptive().sketchBits();
  }

  @Override
  public int observedTokens(int promptTokens, CacheShape shape) {
    return AdaptiveSequence.sleeps(options, shape, promptTokens) ? 0 : OBSERVED_TOKENS;
  }

  @Override
  public boolean tightens() {
    return !(options.adaptive().cap() instanceof FreezeCap.None);
  }

  @Override
  public FreezePolicy sharing(CapShare share) {
    if (!tightens()) {
      return this;
    }
    FreezeCap shared = new FreezeCap.Shared(options.adaptive().cap(), share);
    return new AdaptivePolicy(options.withAdaptive(options.adaptive().withCap(shared)));
  }

  @Override
  public SequencePolicy sequence(CacheShape shape) {
    return new AdaptiveSequence(options, shape);
  }

  /** While reading, one layer has all pages and the others a part of one; afterwards the cap. */
  @Override
  public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
    int total = lengths.total();
    if (options.adaptive().cap() instanceof FreezeCap.None) {
      return total;
    }
    int page = shape.pageTokens();
    double capped = AdaptiveSequence.allowedTokens(options, shape, total);
    if (!readsExactly()) {
      double kept = Math.max(capped, Math.min(total, options.adaptive().wholeTokens()));
      return (int)
          Math.min((long) total + page, (long) Math.ceil(kept + lengths.chunkTokens() + 2 * page));
    }
    // A prompt that is left whole outgrows that as it is answered.
    double kept =
        Math.max(capped, AdaptiveSequence.allowedTokens(options, shape, lengths.promptTokens()));
    double reading = (double) (lengths.promptTokens() + page) / shape.layers();
    return (int)
        Math.min((long) total + page, (long) Math.ceil(Math.max(reading, kept) + 2 * page));
  }
}
