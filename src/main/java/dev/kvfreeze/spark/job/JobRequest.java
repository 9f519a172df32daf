package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.input.InputOptions;
import java.util.Map;

/**
 * A job as its command line asks for it.
 *
 * @param job summarize or generate
 * @param output folder of the result tables
 * @param options settings of the command line, by knob name
 * @param jobDefaults settings that this job has unless told otherwise, by knob name
 */
public record JobRequest(
    String job,
    InputOptions input,
    String output,
    Map<String, String> options,
    Map<String, String> jobDefaults) {}
