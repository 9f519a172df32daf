package dev.kvfreeze.spark.conf;

import static dev.kvfreeze.spark.conf.Knob.Effect.RESULT;

import dev.kvfreeze.freeze.AdaptiveOptions;
import dev.kvfreeze.freeze.FreezeCap;
import dev.kvfreeze.freeze.GuardOptions;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.PrefillMode;

/** The knobs of the cache policies; see {@link Knobs} for all. */
public final class PolicyKnobs {
  private static final PolicyOptions POLICY_DEFAULTS = PolicyOptions.defaults();

  public static final Knob<Integer> SINK_TOKENS =
      Knob.of(
              "policy.sinkTokens",
              KnobTypes.integer(0, 1 << 20),
              "tokens",
              Integer.toString(POLICY_DEFAULTS.sinkTokens()),
              RESULT,
              "First tokens of a document that are never frozen (attention sinks).")
          .readBy(
              "adaptive",
              "arkvale",
              "h2o",
              "oracle",
              "paper",
              "quest",
              "random",
              "snapkv",
              "window");
  public static final Knob<Integer> RECENT_TOKENS =
      Knob.of(
              "policy.recentTokens",
              KnobTypes.integer(1, 1 << 20),
              "tokens",
              Integer.toString(POLICY_DEFAULTS.recentTokens()),
              RESULT,
              "Newest tokens that are never frozen: the sliding window K.")
          .readBy(
              "adaptive",
              "arkvale",
              "h2o",
              "oracle",
              "paper",
              "quest",
              "random",
              "snapkv",
              "window");
  public static final Knob<Double> TAU =
      Knob.of(
              "policy.tau",
              KnobTypes.decimal(0, 1e6),
              "times the uniform share",
              Double.toString(POLICY_DEFAULTS.threshold()),
              RESULT,
              "A page whose tokens get less attention than this is detected as unimportant;"
                  + " 1 is what each would get if attention were spread evenly.")
          .readBy("paper");
  public static final Knob<Integer> HISTORY =
      Knob.of(
              "policy.history",
              KnobTypes.integer(1, 1 << 20),
              "steps",
              Integer.toString(POLICY_DEFAULTS.historySteps()),
              RESULT,
              "Window W of decode steps in which detections c are counted.")
          .readBy("paper");
  public static final Knob<Double> SOFTNESS =
      Knob.of(
              "policy.softness",
              KnobTypes.decimal(1e-6, 1e6),
              "",
              Double.toString(POLICY_DEFAULTS.softness()),
              RESULT,
              "Softness k of the freeze duration floor(sqrt(c) / k).")
          .readBy("adaptive", "paper");
  private static final AdaptiveOptions ADAPTIVE_DEFAULTS = AdaptiveOptions.defaults();
  public static final Knob<FreezeCap> CAP =
      Knob.of(
              "policy.cap",
              new KnobType<>(
                  "none, a share such as 12%, bytes such as 64m, tokens such as 1024, or"
                      + " 128+8*sqrt",
                  FreezeCap::parse),
              "",
              AdaptiveOptions.DEFAULT_CAP,
              RESULT,
              "Most that stays on the device of a document: a share of the full cache's bytes or"
                  + " bytes (sketches included), or active tokens, constant or growing with the"
                  + " square root of the length.")
          .readBy("adaptive", "arkvale", "h2o", "oracle", "quest", "random", "snapkv");
  public static final Knob<Integer> WHOLE_TOKENS =
      Knob.of(
              "policy.wholeTokens",
              KnobTypes.integer(0, 1 << 20),
              "tokens",
              Integer.toString(ADAPTIVE_DEFAULTS.wholeTokens()),
              RESULT,
              "Contexts of up to so many tokens are left whole: freezing would save few bytes and"
                  + " cost time.")
          .readBy("adaptive");
  public static final Knob<Integer> LEAST_TOKENS =
      Knob.of(
              "policy.leastTokens",
              KnobTypes.integer(0, 1 << 20),
              "tokens",
              Integer.toString(ADAPTIVE_DEFAULTS.leastTokens()),
              RESULT,
              "Active tokens that the cap never goes below: a share of a short context would leave"
                  + " nothing to choose from.")
          .readBy("adaptive", "arkvale", "h2o", "oracle", "quest", "random", "snapkv");
  public static final Knob<Double> KEEP_MASS =
      Knob.of(
              "policy.keepMass",
              KnobTypes.decimal(0.01, 1),
              "share",
              Double.toString(ADAPTIVE_DEFAULTS.keepMass()),
              RESULT,
              "Attention that each head keeps at least while the cap has room: pages that together"
                  + " get less than the rest are frozen even below the cap; 1 freezes for the cap"
                  + " only.")
          .readBy("adaptive");
  public static final Knob<Integer> SKETCH_BITS =
      Knob.of(
              "policy.sketchBits",
              KnobTypes.integer(1, 2),
              "bits",
              Integer.toString(ADAPTIVE_DEFAULTS.sketchBits()),
              RESULT,
              "Bits a dimension of the keys' sketches, by which frozen pages are found again; the mean:"
                  + " they go to the dimensions that scores depend on.")
          .readBy("adaptive", "oracle");
  public static final Knob<Integer> RECALL_INTERVAL =
      Knob.of(
              "policy.recallInterval",
              KnobTypes.integer(1, 1 << 20),
              "steps",
              Integer.toString(ADAPTIVE_DEFAULTS.recallInterval()),
              RESULT,
              "Decode steps between two looks at a layer's sketches.")
          .readBy("adaptive");
  public static final Knob<Double> LOOK_SPACING =
      Knob.of(
              "policy.lookSpacing",
              KnobTypes.decimal(0, 1000),
              "looks",
              Double.toString(ADAPTIVE_DEFAULTS.lookSpacing()),
              RESULT,
              "A frozen page with 1/n of the importance it needs to come back is scored at every"
                  + " (this times sqrt n)th look, the 16th at the latest; 0 scores all at every look.")
          .readBy("adaptive");
  public static final Knob<Double> CARRY =
      Knob.of(
              "policy.carry",
              KnobTypes.decimal(0, 0.999),
              "share",
              Double.toString(ADAPTIVE_DEFAULTS.carry()),
              RESULT,
              "Share of a page's importance that is carried from one decode step to the next.")
          .readBy("adaptive");
  public static final Knob<Double> MARGIN =
      Knob.of(
              "policy.margin",
              KnobTypes.decimal(0, 1e6),
              "share",
              Double.toString(ADAPTIVE_DEFAULTS.margin()),
              RESULT,
              "How much more important than the least important active page a frozen page must be"
                  + " to be thawed.")
          .readBy("adaptive");
  public static final Knob<Double> READ_AHEAD =
      Knob.of(
              "policy.readAhead",
              KnobTypes.decimal(0, 1),
              "share",
              Double.toString(ADAPTIVE_DEFAULTS.readAhead()),
              RESULT,
              "A page makes the one after it at least this times as important as itself, so that"
                  + " what is copied token by token is there before it is asked for; 0 for not.")
          .readBy("adaptive");
  public static final Knob<PrefillMode> PREFILL =
      Knob.of(
              "policy.prefill",
              KnobTypes.choice(PrefillMode.class),
              "",
              "exact",
              RESULT,
              "How a prompt above the cap is read: exact lets all pages pass through, layer by layer;"
                  + " frozen freezes and recalls pages while it reads, which is faster for very long"
                  + " prompts and costs quality.")
          .readBy("adaptive");
  public static final Knob<GuardOptions.Mode> GUARD =
      Knob.of(
              "guard.mode",
              KnobTypes.choice(GuardOptions.Mode.class),
              "",
              "off",
              RESULT,
              "Whether a rise of the next token's entropy triggers recoveries; random is for"
                  + " comparisons.")
          .readBy("adaptive", "paper");
  public static final Knob<Double> GUARD_THRESHOLD =
      Knob.of(
              "guard.threshold",
              KnobTypes.decimal(0, 99),
              "nats",
              Double.toString(GuardOptions.OFF.threshold()),
              RESULT,
              "Entropy below which nothing is a spike; jobs/kvfreeze calibrate finds it for a"
                  + " model.")
          .readBy("adaptive", "paper");
  public static final Knob<Double> GUARD_SPREAD =
      Knob.of(
              "guard.spread",
              KnobTypes.decimal(0, 1e5),
              "mean deviations",
              Double.toString(GuardOptions.OFF.spread()),
              RESULT,
              "How far above its running level an entropy must be to be a spike.")
          .readBy("adaptive", "paper");
  public static final Knob<Integer> GUARD_WINDOW =
      Knob.of(
              "guard.window",
              KnobTypes.integer(1, 1 << 20),
              "steps",
              Integer.toString(GuardOptions.OFF.windowSteps()),
              RESULT,
              "How far back the window reset thaws.")
          .readBy("adaptive", "paper");
  public static final Knob<Integer> GUARD_REWIND =
      Knob.of(
              "guard.rewind",
              KnobTypes.integer(1, 1 << 20),
              "tokens",
              Integer.toString(GuardOptions.OFF.rewindTokens()),
              RESULT,
              "Tokens that a rewalk generates again.")
          .readBy("adaptive", "paper");
  public static final Knob<Integer> GUARD_MAX_REWINDS =
      Knob.of(
              "guard.maxRewinds",
              KnobTypes.integer(0, 1 << 20),
              "",
              Integer.toString(GuardOptions.OFF.maxRewinds()),
              RESULT,
              "Most rewalks of a document.")
          .readBy("adaptive", "paper");
  public static final Knob<Double> GUARD_RANDOM_RATE =
      Knob.of(
              "guard.randomRate",
              KnobTypes.decimal(0, 1),
              "a step",
              Double.toString(GuardOptions.OFF.randomRate()),
              RESULT,
              "Recoveries in mode random.")
          .readBy("adaptive", "paper");

  private PolicyKnobs() {}
}
