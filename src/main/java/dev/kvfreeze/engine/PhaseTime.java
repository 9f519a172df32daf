package dev.kvfreeze.engine;

import dev.kvfreeze.device.PartTimes.Part;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongBinaryOperator;

/**
 * Where the time of all prefill or of all decode steps went. Nanoseconds and bytes.
 *
 * @param parts time of each {@link Part}, by its ordinal
 * @param bytes that each part read, weights, pages and sketches; zeros for prefill
 * @param passes time of all passes on the engine's clock: parts, bookkeeping and page moves
 * @param sampling after the passes: statistics of the logits, the choice of tokens, text
 * @param tokens read or generated
 * @param steps forward passes
 */
public record PhaseTime(
    List<Long> parts, List<Long> bytes, long passes, long sampling, long tokens, long steps)
    implements Serializable {

  public long part(Part part) {
    return parts.get(part.ordinal());
  }

  public long bytes(Part part) {
    return bytes.get(part.ordinal());
  }

  /** What passes took beside their parts. */
  public long bookkeeping() {
    return Math.max(0, passes - parts.stream().mapToLong(Long::longValue).sum());
  }

  /** Time of all of it. */
  public long all() {
    return passes + sampling;
  }

  PhaseTime plus(PhaseTime other) {
    return combined(other, Long::sum);
  }

  PhaseTime minus(PhaseTime other) {
    return combined(other, (a, b) -> a - b);
  }

  private PhaseTime combined(PhaseTime other, LongBinaryOperator operator) {
    return new PhaseTime(
        combined(parts, other.parts, operator),
        combined(bytes, other.bytes, operator),
        operator.applyAsLong(passes, other.passes),
        operator.applyAsLong(sampling, other.sampling),
        operator.applyAsLong(tokens, other.tokens),
        operator.applyAsLong(steps, other.steps));
  }

  private static List<Long> combined(List<Long> a, List<Long> b, LongBinaryOperator operator) {
    List<Long> result = new ArrayList<>(a.size());
    for (int i = 0; i < a.size(); i++) {
      result.add(operator.applyAsLong(a.get(i), b.get(i)));
    }
    return List.copyOf(result);
  }
}
