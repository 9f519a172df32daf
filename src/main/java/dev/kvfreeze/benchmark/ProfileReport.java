package dev.kvfreeze.benchmark;

import dev.kvfreeze.device.PartTimes;
import dev.kvfreeze.device.PartTimes.Part;
import dev.kvfreeze.device.PartTimes.Phase;
import java.util.Locale;

/** Where the time of one measurement went, in words. */
final class ProfileReport {
  private ProfileReport() {}

  /**
   * @param count tokens read, or decode steps
   * @param millis of all of them on the engine's clock
   * @param samplingMillis after them: statistics of the logits, sampling, text
   */
  static String phase(
      PartTimes times,
      Phase phase,
      String title,
      long count,
      double millis,
      double samplingMillis) {
    StringBuilder line = new StringBuilder();
    line.append(
        String.format(Locale.ROOT, "%s: %.3f ms each:", title, (millis + samplingMillis) / count));
    for (Part part : Part.values()) {
      if (part != Part.SKETCHES) {
        line.append(
            String.format(
                Locale.ROOT, " %s %.3f,", part.label(), times.millis(phase, part) / count));
      }
    }
    double sketches = times.millis(phase, Part.SKETCHES);
    double bookkeeping = Math.max(0, millis - times.millis(phase));
    line.append(
        String.format(
            Locale.ROOT,
            " policy %.3f (sketches %.3f, bookkeeping and page moves %.3f; %.1f %% of all),"
                + " sampling %.3f",
            (sketches + bookkeeping) / count,
            sketches / count,
            bookkeeping / count,
            100 * (sketches + bookkeeping) / (millis + samplingMillis),
            samplingMillis / count));
    return line.toString();
  }

  /** The bytes a decode step reads, as a share of what the memory gives. */
  static String bandwidth(long weightBytes, long kvBytes, double stepMillis, double measured) {
    double rate = (weightBytes + kvBytes) / stepMillis * 1e3;
    return String.format(
        Locale.ROOT,
        "a step reads %.0f MB of weights and %.1f MB of KV, %.1f GB/s, %.0f %% of the %.1f GB/s"
            + " measured",
        weightBytes / 1e6,
        kvBytes / 1e6,
        rate / 1e9,
        100 * rate / measured,
        measured / 1e9);
  }
}
