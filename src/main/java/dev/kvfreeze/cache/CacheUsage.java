package dev.kvfreeze.cache;

/**
 * What a sequence occupies now.
 *
 * @param activePages pages on the device, all layers and heads
 * @param frozenPages pages in the cold store only, all layers and heads
 * @param activeTokens tokens a head attends to, mean over layers and heads
 * @param frozenTokens tokens a head has frozen, mean over layers and heads
 * @param residentBytes of the active pages
 * @param coldBytes in the cold store, backups of active pages included
 */
public record CacheUsage(
    long activePages,
    long frozenPages,
    double activeTokens,
    double frozenTokens,
    long residentBytes,
    long coldBytes) {}
