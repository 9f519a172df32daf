package dev.kvfreeze.cache;

/**
 * How many pages of one document are where, and how many have moved, all layers and KV heads
 * together. The owner and its parts count; this makes the sums of it.
 */
final class PageCounts {
  private final int heads;
  private final int pageTokens;
  private final int pageBytes;

  /** In the cold store only. */
  long frozen;

  /** On the device, but left out of the attention. */
  long excluded;

  /** In the cold store, backups of active pages included. */
  long cold;

  long frozenTotal;
  long thawedTotal;
  long backedUpTotal;

  /** Pages that came in from the cold store for one layer's attention only. */
  long passedTotal;

  long deferredThaws;
  private long peakActive;
  private long peakResidentBytes;

  /**
   * @param heads page tables, one for each KV head of each layer
   */
  PageCounts(int heads, int pageTokens, int pageBytes) {
    this.heads = heads;
    this.pageTokens = pageTokens;
    this.pageBytes = pageBytes;
  }

  /** Pages on the device, of so many in each head. */
  long active(int pages) {
    return (long) pages * heads - frozen;
  }

  private long residentBytes(int pages, long summaryBytes) {
    return active(pages) * pageBytes + summaryBytes;
  }

  /** Remembers the most that was on the device. */
  void notePeak(int pages, long summaryBytes) {
    peakActive = Math.max(peakActive, active(pages));
    peakResidentBytes = Math.max(peakResidentBytes, residentBytes(pages, summaryBytes));
  }

  /**
   * What is occupied now.
   *
   * @param pages of each head
   * @param length tokens of the sequence
   * @param summaryBytes of what stays of frozen pages
   */
  CacheUsage usage(int pages, int length, long summaryBytes) {
    double frozenTokens = (double) frozen * pageTokens / heads;
    double excludedTokens = (double) excluded * pageTokens / heads;
    long resident = residentBytes(pages, summaryBytes);
    return new CacheUsage(
        active(pages),
        frozen,
        length - frozenTokens - excludedTokens,
        frozenTokens,
        resident,
        cold * pageBytes,
        Math.max(peakActive, active(pages)) * (double) pageTokens / heads,
        Math.max(peakResidentBytes, resident));
  }

  /** What has moved since the document was opened. */
  CacheTraffic traffic() {
    return new CacheTraffic(
        frozenTotal,
        thawedTotal,
        backedUpTotal * pageBytes,
        (thawedTotal + passedTotal) * pageBytes,
        deferredThaws);
  }
}
