package dev.kvfreeze.engine;

import dev.kvfreeze.device.PartTimes.Part;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToLongFunction;

/**
 * A {@link TimeProfile} for people: milliseconds a token by part, and how much of the memory's
 * measured bandwidth decode uses in each.
 */
public final class TimeTable {
  private static final String BOOKKEEPING = "bookkeeping and page moves";
  private static final String ROW = "  %-28s%12s%8s%14s%8s%10s%12s";

  private final TimeProfile profile;
  private final List<String> lines = new ArrayList<>();

  private TimeTable(TimeProfile profile) {
    this.profile = profile;
  }

  /** The table's lines. */
  public static List<String> lines(TimeProfile profile) {
    return new TimeTable(profile).write();
  }

  private List<String> write() {
    PhaseTime decode = profile.decode();
    lines.add(
        profile.engines() == 1
            ? "where the time goes, ms a token"
            : "where the time goes, ms a token, " + profile.engines() + " executors together");
    lines.add(row("", "prefill", "share", "decode", "share", "GB/s", "of memory"));
    for (Part part : Part.values()) {
      add(part.label(), time -> time.part(part), decode.bytes(part));
    }
    add(BOOKKEEPING, PhaseTime::bookkeeping, 0);
    add("sampling", PhaseTime::sampling, 0);
    add("all", PhaseTime::all, decode.bytes().stream().mapToLong(Long::longValue).sum());
    if (decode.steps() > 0) {
      lines.add("  " + step(decode));
    }
    return lines;
  }

  private void add(String label, ToLongFunction<PhaseTime> nanos, long bytes) {
    long decoding = nanos.applyAsLong(profile.decode());
    boolean reads = bytes > 0 && decoding > 0;
    double rate = reads ? bytes / (decoding / 1e9) : 0;
    lines.add(
        row(
            label,
            millis(profile.prefill(), nanos),
            share(profile.prefill(), nanos),
            millis(profile.decode(), nanos),
            share(profile.decode(), nanos),
            reads ? format("%.1f", rate / 1e9) : "",
            reads ? format("%.0f %%", 100 * rate / profile.bandwidth()) : ""));
  }

  private String step(PhaseTime decode) {
    double steps = decode.steps();
    long pages = decode.bytes(Part.ATTENTION);
    long sketches = decode.bytes(Part.SKETCHES);
    long all = decode.bytes().stream().mapToLong(Long::longValue).sum();
    return format(
        "a decode step has %.1f documents, takes %.1f ms, the policy %.1f %% of it, and reads %.0f MB"
            + " of weights, %.1f MB of KV and %.1f MB of sketches; the memory gives %.1f GB/s",
        decode.tokens() / steps,
        decode.all() / steps / 1e6,
        100.0 * (decode.part(Part.SKETCHES) + decode.bookkeeping()) / decode.all(),
        (all - pages - sketches) / steps / 1e6,
        pages / steps / 1e6,
        sketches / steps / 1e6,
        profile.bandwidth() / 1e9);
  }

  private static String millis(PhaseTime phase, ToLongFunction<PhaseTime> nanos) {
    return phase.tokens() == 0
        ? ""
        : format("%.3f", nanos.applyAsLong(phase) / 1e6 / phase.tokens());
  }

  private static String share(PhaseTime phase, ToLongFunction<PhaseTime> nanos) {
    return phase.tokens() == 0
        ? ""
        : format("%.1f %%", 100.0 * nanos.applyAsLong(phase) / phase.all());
  }

  private static String row(Object... cells) {
    return format(ROW, cells).stripTrailing();
  }

  private static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
