package dev.kvfreeze.cache;

/**
 * What one sequence's cache holds.
 *
 * @param activePages pages on the device, all heads of all layers
 * @param frozenPages frozen pages, all heads
 * @param activeTokens tokens a head attends to, mean over heads
 * @param frozenTokens tokens a head has frozen, mean over heads
 * @param residentBytes of the active pages
 * @param coldBytes of its pages in the cold store
 */
public record CacheUsage(
    long activePages,
    long frozenPages,
    double activeTokens,
    double frozenTokens,
    long residentBytes,
    long coldBytes) {}
