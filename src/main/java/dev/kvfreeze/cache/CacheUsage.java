package dev.kvfreeze.cache;

/**
 * What a sequence occupies now.
 *
 * @param activePages pages on the device, all layers and heads
 * @param frozenPages pages in the cold store only, all layers and heads
 * @param activeTokens tokens a head attends to, mean over layers and heads
 * @param frozenTokens tokens a head has frozen, mean over layers and heads
 * @param residentBytes of the active pages and the sketches
 * @param coldBytes in the cold store, backups of active pages included
 * @param peakActiveTokens most that were active so far, pages that pass through included
 * @param peakResidentBytes most bytes that were resident so far
 */
public record CacheUsage(
    long activePages,
    long frozenPages,
    double activeTokens,
    double frozenTokens,
    long residentBytes,
    long coldBytes,
    double peakActiveTokens,
    long peakResidentBytes) {}
