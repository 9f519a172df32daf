package dev.kvfreeze.engine;

import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.freeze.ExpectedLengths;
import dev.kvfreeze.freeze.FreezePolicy;

/**
 * Decides whether a document may join the batch: the KV bytes that the policy predicts for it at
 * its peak are reserved until it leaves, so that running documents never fight for pages.
 */
final class Admission {
  private final KvCache cache;
  private final FreezePolicy policy;
  private final int chunkTokens;
  private long reservedBytes;

  Admission(KvCache cache, FreezePolicy policy, int chunkTokens) {
    this.cache = cache;
    this.policy = policy;
    this.chunkTokens = chunkTokens;
  }

  /** KV bytes that the document is predicted to hold at its peak. */
  long predictedBytes(Document document) {
    ExpectedLengths lengths =
        new ExpectedLengths(
            document.request().promptTokens().length, document.maxNewTokens(), chunkTokens);
    return cache.bytesFor(policy.peakActiveTokens(lengths, cache.shape()))
        + cache.summaryBytesFor(lengths.total());
  }

  boolean fits(Document document) {
    return reservedBytes + predictedBytes(document) <= cache.poolBytes();
  }

  /** Whether it would fit if it were alone. */
  boolean everFits(Document document) {
    return predictedBytes(document) <= cache.poolBytes();
  }

  void reserve(Document document) {
    reservedBytes += predictedBytes(document);
  }

  void release(Document document) {
    reservedBytes -= predictedBytes(document);
  }
}
