package dev.kvfreeze.engine;

/**
 * The state of a document's cache at one step; tokens and pages are means over the layers and KV
 * heads.
 *
 * @param step generated tokens so far; 0 is the end of prefill
 * @param contextTokens tokens in the sequence
 * @param activeTokens tokens a head attends to, mean
 * @param frozenTokens tokens a head has frozen, mean
 * @param activePages pages on the device, all heads
 * @param frozenPages pages frozen, all heads
 * @param residentKvBytes bytes of the active pages
 * @param coldKvBytes bytes of this document in the cold store
 * @param entropy of the next-token distribution in nats
 * @param recoveryLevel of the entropy guard: none, SR, WR, FR or RR
 */
public record StepRecord(
    int step,
    int contextTokens,
    double activeTokens,
    double frozenTokens,
    long activePages,
    long frozenPages,
    long residentKvBytes,
    long coldKvBytes,
    double entropy,
    String recoveryLevel) {}
