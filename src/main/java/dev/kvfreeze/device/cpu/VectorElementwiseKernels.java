package dev.kvfreeze.device.cpu;

/** Placeholder. */
final class VectorElementwiseKernels implements ElementwiseKernels {}
