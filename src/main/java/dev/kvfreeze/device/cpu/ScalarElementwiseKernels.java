package dev.kvfreeze.device.cpu;

/** Placeholder. */
final class ScalarElementwiseKernels implements ElementwiseKernels {}
