package dev.kvfreeze.cache;

/** Pages moved and bytes copied since the sequence was opened. */
public record CacheTraffic(
    long frozenPages, long thawedPages, long bytesToCold, long bytesFromCold) {}
