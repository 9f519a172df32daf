package dev.kvfreeze.device;

import java.util.EnumMap;
import java.util.Map;

/**
 * Time by part of the forward pass, apart for prefill and decode, and the bytes of weights and
 * pages that decode reads in it. One thread.
 */
public final class PartTimes {
  /** What the time goes to. */
  public enum Part {
    EMBEDDING("embedding"),
    QKV("QKV"),
    ATTENTION("attention"),
    OUTPUT("output"),
    FEED_FORWARD("feed-forward"),
    LOGITS("logits"),
    SKETCHES("sketches");

    private final String label;

    Part(String label) {
      this.label = label;
    }

    /** For people. */
    public String label() {
      return label;
    }
  }

  /** What a pass is. */
  public enum Phase {
    PREFILL,
    DECODE
  }

  private final Map<Phase, long[]> nanos = new EnumMap<>(Phase.class);
  private final long[] decodeBytes = new long[Part.values().length];
  private final long[] untold = new long[Part.values().length];
  private Phase phase;

  public PartTimes() {
    for (Phase each : Phase.values()) {
      nanos.put(each, new long[Part.values().length]);
    }
  }

  /** Nanoseconds of each part so far, by its ordinal. */
  public long[] nanos(Phase of) {
    return nanos.get(of).clone();
  }

  /** Bytes that each part of the decode steps has read so far, by its ordinal. */
  public long[] decodeBytes() {
    return decodeBytes.clone();
  }

  /** A pass begins; its phase is told by its first product. */
  void begin() {
    phase = null;
  }

  void phase(Phase told) {
    if (phase == null) {
      for (int i = 0; i < untold.length; i++) {
        nanos.get(told)[i] += untold[i];
        untold[i] = 0;
      }
    }
    phase = told;
  }

  void add(Part part, long time) {
    (phase == null ? untold : nanos.get(phase))[part.ordinal()] += time;
  }

  /** Bytes that an operation of the present pass reads; those of prefill do not count. */
  void read(Part part, long bytes) {
    if (phase == Phase.DECODE) {
      decodeBytes[part.ordinal()] += bytes;
    }
  }
}
