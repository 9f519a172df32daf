/**
 * The freezing of KV pages: relevance, detection counts, the freeze schedule, and the cache
 * policies made of them, each with its source. After "Adaptive Soft Rolling KV Freeze with
 * Entropy-Guided Recovery" (arXiv 2512.11221), section on the soft freeze schedule. Small state and
 * arithmetic only: no I/O, no device, and nothing of the other packages.
 */
package dev.kvfreeze.freeze;
