package dev.kvfreeze.freeze;

import java.util.function.Consumer;

/**
 * The knobs of {@code adaptive} and of the baselines that keep to a cap.
 *
 * @param cap most that may be resident
 * @param wholeTokens contexts of up to so many tokens are left whole by {@code adaptive}: freezing
 *     would save few bytes and cost time
 * @param leastTokens active tokens, mean over the heads, that the cap never goes below: a share of
 *     a short context would leave nothing to choose from
 * @param keepMass attention each head keeps at least while the cap allows, 0 to 1: what is left out
 *     together gets less than {@code 1 - keepMass}
 * @param sketchBits bits a dimension of the keys' sketches, mean: 1 or 2
 * @param recallInterval decode steps from one look at a layer's sketches to the next
 * @param lookSpacing how rarely a look scores a frozen page that is far from being wanted: one with
 *     1/n of the importance it needs is scored at every {@code lookSpacing * sqrt(n)}th look; 0
 *     scores all pages at every look
 * @param carry share of a page's importance that is carried from step to step
 * @param margin how much more important than the least important active page a frozen one must be
 *     to be thawed: 0.25 is a quarter
 * @param readAhead importance that a page lends to the one after it, as a share of its own: what is
 *     copied goes on there
 * @param prefill how a prompt is read
 */
public record AdaptiveOptions(
    FreezeCap cap,
    int wholeTokens,
    int leastTokens,
    double keepMass,
    int sketchBits,
    int recallInterval,
    double lookSpacing,
    double carry,
    double margin,
    double readAhead,
    PrefillMode prefill) {
  /** Where they stand by default. */
  public static final String DEFAULT_CAP = "12%";

  public AdaptiveOptions {
    PolicyOptions.require(wholeTokens >= 0, "whole tokens", wholeTokens, "at least 0");
    PolicyOptions.require(leastTokens >= 0, "least tokens", leastTokens, "at least 0");
    PolicyOptions.require(keepMass > 0 && keepMass <= 1, "kept mass", keepMass, "above 0, to 1");
    PolicyOptions.require(sketchBits == 1 || sketchBits == 2, "sketch bits", sketchBits, "1 or 2");
    PolicyOptions.require(
        recallInterval >= 1 && recallInterval <= 1 << 20,
        "recall interval",
        recallInterval,
        "1 to " + (1 << 20));
    PolicyOptions.require(
        lookSpacing >= 0 && lookSpacing <= 1000, "look spacing", lookSpacing, "0 to 1000");
    PolicyOptions.require(carry >= 0 && carry < 1, "carry", carry, "0 to below 1");
    PolicyOptions.require(margin >= 0 && margin < 1e6, "margin", margin, "0 to 1000000");
    PolicyOptions.require(readAhead >= 0 && readAhead <= 1, "read ahead", readAhead, "0 to 1");
  }

  public static AdaptiveOptions defaults() {
    return new AdaptiveOptions(
        FreezeCap.parse(DEFAULT_CAP), 640, 256, 1, 1, 1, 1, 0.9, 0.25, 0.5, PrefillMode.EXACT);
  }

  public AdaptiveOptions withCap(FreezeCap other) {
    return changed(draft -> draft.cap = other);
  }

  public AdaptiveOptions withWholeTokens(int tokens) {
    return changed(draft -> draft.wholeTokens = tokens);
  }

  public AdaptiveOptions withLeastTokens(int tokens) {
    return changed(draft -> draft.leastTokens = tokens);
  }

  public AdaptiveOptions withSketchBits(int bits) {
    return changed(draft -> draft.sketchBits = bits);
  }

  public AdaptiveOptions withRecallInterval(int steps) {
    return changed(draft -> draft.recallInterval = steps);
  }

  public AdaptiveOptions withPrefill(PrefillMode mode) {
    return changed(draft -> draft.prefill = mode);
  }

  private AdaptiveOptions changed(Consumer<Draft> change) {
    Draft draft = new Draft(this);
    change.accept(draft);
    return draft.options();
  }

  /** A copy to be changed by name. */
  private static final class Draft {
    private final AdaptiveOptions from;
    private FreezeCap cap;
    private int wholeTokens;
    private int leastTokens;
    private int sketchBits;
    private int recallInterval;
    private PrefillMode prefill;

    Draft(AdaptiveOptions from) {
      this.from = from;
      cap = from.cap;
      wholeTokens = from.wholeTokens;
      leastTokens = from.leastTokens;
      sketchBits = from.sketchBits;
      recallInterval = from.recallInterval;
      prefill = from.prefill;
    }

    AdaptiveOptions options() {
      return new AdaptiveOptions(
          cap,
          wholeTokens,
          leastTokens,
          from.keepMass,
          sketchBits,
          recallInterval,
          from.lookSpacing,
          from.carry,
          from.margin,
          from.readAhead,
          prefill);
    }
  }
}
