package dev.kvfreeze.spark.job;

import dev.kvfreeze.engine.SamplingOptions;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import java.io.Serializable;

/** What a task needs besides its documents. */
record TaskSettings(RunIdentity run, Settings settings, PromptTemplate prompt, String output)
    implements Serializable {

  /** How the tokens of a document are drawn: its own random numbers, the same in every run. */
  SamplingOptions sampling(String documentHash) {
    long seed =
        settings.value(Knobs.SEED) ^ Long.parseUnsignedLong(documentHash.substring(0, 16), 16);
    return new SamplingOptions(
        settings.value(Knobs.TEMPERATURE).floatValue(),
        settings.value(Knobs.TOP_K),
        settings.value(Knobs.TOP_P).floatValue(),
        settings.value(Knobs.MIN_P).floatValue(),
        settings.value(Knobs.REPETITION_PENALTY).floatValue(),
        settings.value(Knobs.REPETITION_WINDOW),
        seed);
  }
}
