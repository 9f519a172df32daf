package dev.kvfreeze.device.cpu;

/** Placeholder. */
final class ScalarAttentionKernels implements AttentionKernels {}
