package dev.kvfreeze.engine;

import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.cpu.DecodeActivations;

/**
 * What an engine computes on.
 *
 * @param threads that compute on a CPU
 * @param decodeActivations what a CPU multiplies quantised weights by in decode steps
 * @param gpu the GPU that may be used: an ordinal or {@code GPU-...} or {@code MIG-...} as {@code
 *     nvidia-smi -L} prints it; empty for the first one that is visible
 * @param memory of a GPU that is used
 * @param profiling of a CPU; a GPU cannot be profiled
 */
public record DeviceOptions(
    DeviceChoice choice,
    int threads,
    DecodeActivations decodeActivations,
    String gpu,
    DeviceBudget memory,
    Profiling profiling) {}
