/**
 * The GGUF container (ggml's {@code docs/gguf.md}, versions 2 and 3, little-endian): metadata and
 * mapped tensors. Every length is checked against the file before it is used. Knows nothing of
 * architectures. May import {@code model.tensor} and {@code model}'s exception only.
 */
package dev.kvfreeze.model.gguf;
