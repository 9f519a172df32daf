package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.spark.conf.Settings;
import java.io.Serializable;
import java.util.LinkedHashMap;

/**
 * What all examples of a run share.
 *
 * @param decision agnostic or aware: whether the question is known when a policy freezes
 * @param settings by policy label, the control first
 * @param configurations the same as JSON, for the rows
 * @param output qualified path of the output folder
 */
record EvaluationRun(
    String runId,
    String model,
    String modelHash,
    String decision,
    LinkedHashMap<String, Settings> settings,
    LinkedHashMap<String, String> configurations,
    String output)
    implements Serializable {}
