package dev.kvfreeze.cache;

/**
 * What a sequence has moved since it was opened.
 *
 * @param frozenPages pages frozen, each time counted
 * @param thawedPages pages thawed, each time counted
 * @param bytesToCold copied to the cold store
 * @param bytesFromCold copied back
 * @param deferredThaws thaws that found no free slot and left the page frozen
 */
public record CacheTraffic(
    long frozenPages, long thawedPages, long bytesToCold, long bytesFromCold, long deferredThaws) {}
