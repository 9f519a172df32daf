package dev.kvfreeze.device;

import java.util.EnumMap;
import java.util.Map;

/** Time by part of the forward pass, apart for prefill and decode. One thread. */
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
  private final long[] untold = new long[Part.values().length];
  private Phase phase;

  public PartTimes() {
    clear();
  }

  /** Forgets all times. */
  public void clear() {
    for (Phase each : Phase.values()) {
      nanos.put(each, new long[Part.values().length]);
    }
  }

  /** Milliseconds of a part. */
  public double millis(Phase of, Part part) {
    return nanos.get(of)[part.ordinal()] / 1e6;
  }

  /** Milliseconds of all parts. */
  public double millis(Phase of) {
    double sum = 0;
    for (Part part : Part.values()) {
      sum += millis(of, part);
    }
    return sum;
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
}
