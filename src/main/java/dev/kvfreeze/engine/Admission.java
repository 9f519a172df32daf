package dev.kvfreeze.engine;

import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.freeze.CapShare;
import dev.kvfreeze.freeze.ExpectedLengths;
import dev.kvfreeze.freeze.FreezePolicy;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * Decides whether a document may join the batch: the KV bytes that the policy predicts for it at
 * its peak are reserved until it leaves, so that running documents never fight for pages. A
 * document that would not even fit alone gets less of the policy's cap, where it has one.
 */
final class Admission {
  private final KvCache cache;
  private final FreezePolicy policy;
  private final int chunkTokens;
  private final Map<Document, Long> reserved = new IdentityHashMap<>();
  private long reservedBytes;

  /**
   * What a document may have.
   *
   * @param predictedBytes KV bytes at its peak
   */
  record Room(CapShare share, long predictedBytes) {}

  Admission(KvCache cache, FreezePolicy policy, int chunkTokens) {
    this.cache = cache;
    this.policy = policy;
    this.chunkTokens = chunkTokens;
  }

  /** KV bytes that the document is predicted to hold at its peak. */
  long predictedBytes(Document document) {
    return predictedBytes(document, policy);
  }

  private long predictedBytes(Document document, FreezePolicy sharing) {
    ExpectedLengths lengths =
        new ExpectedLengths(
            document.request().promptTokens().length, document.maxNewTokens(), chunkTokens);
    return cache.bytesFor(sharing.peakActiveTokens(lengths, cache.shape()))
        + cache.summaryBytesFor(lengths.total());
  }

  /** What the document would have if it were alone; null when it does not fit then either. */
  Room roomAlone(Document document) {
    CapShare share =
        CapShare.fitting(
            policy, sharing -> predictedBytes(document, sharing) <= cache.budgetBytes());
    return share == null ? null : new Room(share, predictedBytes(document, policy.sharing(share)));
  }

  /** Whether there is so much room beside the running documents. */
  boolean fits(Room room) {
    return reservedBytes + room.predictedBytes() <= cache.budgetBytes();
  }

  void reserve(Document document, Room room) {
    reserved.put(document, room.predictedBytes());
    reservedBytes += room.predictedBytes();
  }

  void release(Document document) {
    reservedBytes -= reserved.remove(document);
  }
}
