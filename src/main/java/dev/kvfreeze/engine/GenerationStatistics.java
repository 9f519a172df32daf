package dev.kvfreeze.engine;

/**
 * What one generation cost. Peaks are over the whole generation, prefill included; means over the
 * decode steps. Tokens are means over layers and KV heads.
 */
public record GenerationStatistics(
    double peakActiveTokens,
    double meanActiveTokens,
    long peakResidentKvBytes,
    long meanResidentKvBytes,
    long fullKvBytes,
    long frozenPages,
    long thawedPages,
    long bytesToCold,
    long bytesFromCold,
    double meanEntropy,
    double peakEntropy,
    double queueMillis,
    double prefillMillis,
    double decodeMillis,
    RecoveryCounts recoveries) {}
