package dev.kvfreeze.engine;

import dev.kvfreeze.cache.CacheUsage;
import dev.kvfreeze.device.LogitStatistics;

/** Sees the distribution of each next token, before the token is taken. */
@FunctionalInterface
public interface DistributionObserver {
  /**
   * @param logits of the whole vocabulary, valid only during the call
   * @param usage of the cache that the distribution was computed with
   */
  void accept(LogitStatistics statistics, float[] logits, CacheUsage usage);
}
