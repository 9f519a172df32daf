/**
 * Tensors as model files store them: ggml's types, their exact values, and checks of them. Imports
 * nothing of ours but {@code model}'s exception.
 */
package dev.kvfreeze.model.tensor;
