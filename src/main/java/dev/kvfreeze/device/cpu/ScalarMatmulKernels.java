package dev.kvfreeze.device.cpu;

/** Placeholder. */
final class ScalarMatmulKernels implements MatmulKernels {}
