package dev.kvfreeze.device.cpu;

/** Placeholder. */
final class VectorMatmulKernels implements MatmulKernels {}
