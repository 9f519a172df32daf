package dev.kvfreeze.spark.evaluation;

import java.util.List;
import java.util.Map;

/**
 * What the command line asks for.
 *
 * @param tasks null for the suite's
 * @param lengths null for the suite's
 * @param samples 0 for the suite's
 * @param firstSeed of the first example of each task and length
 * @param policies the control first
 * @param settings by knob name, for all policies
 */
public record EvaluationOptions(
    String output,
    String suite,
    List<String> tasks,
    List<Integer> lengths,
    int samples,
    long firstSeed,
    String policies,
    String question,
    Map<String, String> settings) {}
