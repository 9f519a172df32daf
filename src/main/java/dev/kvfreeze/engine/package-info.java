/**
 * Requests in, tokens out: the transformer's forward pass, sampling, admission and continuous
 * batching. Knows no Spark and runs in a plain JVM. May import {@code model}, {@code cache}, {@code
 * device} and {@code freeze}.
 */
package dev.kvfreeze.engine;
