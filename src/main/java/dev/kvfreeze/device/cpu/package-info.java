/**
 * The CPU device: kernels over primitive arrays, each in a vector implementation (Vector API) and a
 * scalar twin, chosen once by {@link dev.kvfreeze.device.cpu.KernelProvider}; the worker pool they
 * run in; the layouts weights and pages have in memory.
 *
 * <p>Imports {@code device} and {@code model}. The only package that may use {@code
 * jdk.incubator.vector}, and there only in classes named {@code Vector*}.
 */
package dev.kvfreeze.device.cpu;
