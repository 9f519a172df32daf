/**
 * What a model is: an architecture as data (layers, heads, RoPE, norms), its weights where they lie
 * in the file, its tokenizer and its chat template. Model files are untrusted, every length in them
 * is bounded before use.
 *
 * <p>Imports nothing of ours: no device, no cache, no Spark.
 */
package dev.kvfreeze.model;
