/**
 * {@code jobs/gpu-check}: whether the CUDA device computes what the CPU does, keeps its memory in
 * order, and how fast it is. A program in stages, most important first; nothing imports it.
 */
package dev.kvfreeze.benchmark.gpu;
