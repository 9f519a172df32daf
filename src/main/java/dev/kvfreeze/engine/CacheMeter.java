package dev.kvfreeze.engine;

import dev.kvfreeze.cache.CacheTraffic;
import dev.kvfreeze.cache.CacheUsage;
import dev.kvfreeze.freeze.RecoveryLevel;
import java.util.ArrayList;
import java.util.List;

/**
 * Accumulates what one document's cache did: peaks over all of it, means over the decode steps, and
 * a {@link StepRecord} every so many steps. Engine thread only.
 */
final class CacheMeter {
  private final int stepInterval;
  private final long startedNanos;
  private final List<StepRecord> steps = new ArrayList<>();
  private double peakActiveTokens;
  private long peakResidentBytes;
  private double activeTokensSum;
  private double residentBytesSum;
  private double entropySum;
  private double peakEntropy;
  private int entropyCount;
  private int decodeSteps;
  private long prefillNanos;
  private long decodeNanos;
  private long admittedNanos;
  private final int[] recoveries = new int[RecoveryLevel.values().length];
  private int regenerated;

  CacheMeter(int stepInterval) {
    this.stepInterval = stepInterval;
    this.startedNanos = System.nanoTime();
    this.admittedNanos = startedNanos;
  }

  void admitted() {
    admittedNanos = System.nanoTime();
  }

  /** Called while a step's pages are all allocated and before the policy frees any. */
  void beforeFreeze(CacheUsage usage) {
    peakActiveTokens = Math.max(peakActiveTokens, usage.activeTokens());
    peakResidentBytes = Math.max(peakResidentBytes, usage.peakResidentBytes());
  }

  void prefilled(long nanos) {
    prefillNanos += nanos;
  }

  /** One decode step of this document, {@code nanos} of a pass it may have shared. */
  void decoded(CacheUsage usage, long nanos) {
    decodeNanos += nanos;
    decodeSteps++;
    activeTokensSum += usage.activeTokens();
    residentBytesSum += usage.residentBytes();
  }

  void entropy(double entropy) {
    entropySum += entropy;
    peakEntropy = Math.max(peakEntropy, entropy);
    entropyCount++;
  }

  /** Tokens that will be generated again. */
  void rewound(int tokens) {
    regenerated += tokens;
  }

  /** A step; recorded when its turn has come, and always when it calls for a recovery. */
  void step(int step, int contextTokens, CacheUsage usage, double entropy, RecoveryLevel recovery) {
    recoveries[recovery.ordinal()]++;
    if (stepInterval > 0 && (step % stepInterval == 0 || recovery != RecoveryLevel.NONE)) {
      steps.add(
          new StepRecord(
              step,
              contextTokens,
              usage.activeTokens(),
              usage.frozenTokens(),
              usage.activePages(),
              usage.frozenPages(),
              usage.residentBytes(),
              usage.coldBytes(),
              entropy,
              recovery.label()));
    }
  }

  List<StepRecord> steps() {
    return List.copyOf(steps);
  }

  GenerationStatistics finish(CacheUsage usage, CacheTraffic traffic, long fullKvBytes) {
    return new GenerationStatistics(
        peakActiveTokens,
        decodeSteps == 0 ? usage.activeTokens() : activeTokensSum / decodeSteps,
        peakResidentBytes,
        decodeSteps == 0 ? usage.residentBytes() : Math.round(residentBytesSum / decodeSteps),
        fullKvBytes,
        traffic.frozenPages(),
        traffic.thawedPages(),
        traffic.bytesToCold(),
        traffic.bytesFromCold(),
        entropyCount == 0 ? 0 : entropySum / entropyCount,
        peakEntropy,
        (admittedNanos - startedNanos) / 1e6,
        prefillNanos / 1e6,
        decodeNanos / 1e6,
        new RecoveryCounts(
            recoveries[RecoveryLevel.SOFT_RESET.ordinal()],
            recoveries[RecoveryLevel.WINDOW_RESET.ordinal()],
            recoveries[RecoveryLevel.FULL_RESET.ordinal()],
            recoveries[RecoveryLevel.REWALK.ordinal()],
            regenerated));
  }
}
