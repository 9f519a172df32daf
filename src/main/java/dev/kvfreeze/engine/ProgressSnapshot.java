package dev.kvfreeze.engine;

/** The engine's counters at one moment, for progress lines and metrics. */
public record ProgressSnapshot(
    int queued,
    int running,
    long finished,
    long promptTokens,
    long generatedTokens,
    long residentKvBytes,
    long poolBytes,
    long coldKvBytes) {}
