package dev.kvfreeze.device.cpu;

/** Placeholder of helper attn's. */
interface AttentionKernels {}
