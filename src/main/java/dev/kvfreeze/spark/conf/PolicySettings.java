package dev.kvfreeze.spark.conf;

import dev.kvfreeze.freeze.AdaptiveOptions;
import dev.kvfreeze.freeze.GuardOptions;
import dev.kvfreeze.freeze.PolicyOptions;

/** The policies' options as the settings have them. */
public final class PolicySettings {
  private PolicySettings() {}

  public static PolicyOptions options(Settings settings) {
    return new PolicyOptions(
        settings.value(Knobs.PAGE_TOKENS),
        settings.value(PolicyKnobs.SINK_TOKENS),
        settings.value(PolicyKnobs.RECENT_TOKENS),
        settings.value(PolicyKnobs.TAU),
        settings.value(PolicyKnobs.HISTORY),
        settings.value(PolicyKnobs.SOFTNESS),
        new AdaptiveOptions(
            settings.value(PolicyKnobs.CAP),
            settings.value(PolicyKnobs.WHOLE_TOKENS),
            settings.value(PolicyKnobs.LEAST_TOKENS),
            settings.value(PolicyKnobs.KEEP_MASS),
            settings.value(PolicyKnobs.SKETCH_BITS),
            settings.value(PolicyKnobs.RECALL_INTERVAL),
            settings.value(PolicyKnobs.LOOK_SPACING),
            settings.value(PolicyKnobs.CARRY),
            settings.value(PolicyKnobs.MARGIN),
            settings.value(PolicyKnobs.READ_AHEAD),
            settings.value(PolicyKnobs.PREFILL)),
        new GuardOptions(
            settings.value(PolicyKnobs.GUARD),
            settings.value(PolicyKnobs.GUARD_THRESHOLD),
            settings.value(PolicyKnobs.GUARD_SPREAD),
            settings.value(PolicyKnobs.GUARD_WINDOW),
            settings.value(PolicyKnobs.GUARD_REWIND),
            settings.value(PolicyKnobs.GUARD_MAX_REWINDS),
            settings.value(PolicyKnobs.GUARD_RANDOM_RATE)));
  }
}
