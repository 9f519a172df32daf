/**
 * Evaluation of cache policies at equal quality: RULER's tasks, needle grid, passkey, perplexity
 * and agreement with the full cache. Tasks are small classes in a registry. May import {@code
 * engine} and what it may import; no Spark.
 */
package dev.kvfreeze.eval;
