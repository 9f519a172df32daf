package dev.kvfreeze.device.cpu;

/** Placeholder. */
final class VectorAttentionKernels implements AttentionKernels {}
