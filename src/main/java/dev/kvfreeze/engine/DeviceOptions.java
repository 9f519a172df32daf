package dev.kvfreeze.engine;

import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.cpu.KernelCheck;
import dev.kvfreeze.device.cpu.Precision;

/**
 * What an engine computes on.
 *
 * @param threads that compute on a CPU
 * @param precision what a CPU may round
 * @param kernelCheck when a CPU's kernels are checked at the start
 * @param gpu the GPU that may be used: an ordinal or {@code GPU-...} or {@code MIG-...} as {@code
 *     nvidia-smi -L} prints it; empty for the first one that is visible
 * @param memory of a GPU that is used
 * @param profiling of a CPU; a GPU cannot be profiled
 */
public record DeviceOptions(
    DeviceChoice choice,
    int threads,
    Precision precision,
    KernelCheck kernelCheck,
    String gpu,
    DeviceBudget memory,
    Profiling profiling) {}
