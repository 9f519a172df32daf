package dev.kvfreeze.engine;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.PartTimes;
import dev.kvfreeze.device.PartTimes.Phase;
import dev.kvfreeze.device.ProfiledDevice;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * Adds the engine's own clock to a profiled device's times; for another device it does nothing.
 * Engine thread only.
 */
final class ProfileMeter {
  private final ProfiledDevice device;
  private final Map<Phase, Counters> counters = new EnumMap<>(Phase.class);

  private static final class Counters {
    long passes;
    long sampling;
    long tokens;
    long steps;
  }

  ProfileMeter(Device device) {
    this.device = device instanceof ProfiledDevice profiled ? profiled : null;
    for (Phase phase : Phase.values()) {
      counters.put(phase, new Counters());
    }
  }

  /** A forward pass with its bookkeeping and page moves is done. */
  void passed(Phase phase, long nanos, int tokens) {
    Counters of = counters.get(phase);
    of.passes += nanos;
    of.tokens += tokens;
    of.steps++;
  }

  /** Tokens were chosen from a pass's logits. */
  void sampled(Phase phase, long nanos) {
    counters.get(phase).sampling += nanos;
  }

  /** The times so far, or null for a device that is not profiled. */
  TimeProfile profile() {
    if (device == null) {
      return null;
    }
    PartTimes times = device.times();
    long[] bytes = times.decodeBytes();
    return new TimeProfile(
        1,
        device.bytesPerSecond(),
        time(Phase.PREFILL, times, new long[bytes.length]),
        time(Phase.DECODE, times, bytes));
  }

  private PhaseTime time(Phase phase, PartTimes times, long[] bytes) {
    Counters of = counters.get(phase);
    return new PhaseTime(
        list(times.nanos(phase)), list(bytes), of.passes, of.sampling, of.tokens, of.steps);
  }

  private static List<Long> list(long[] values) {
    return Arrays.stream(values).boxed().toList();
  }
}
