package dev.kvfreeze.engine;

import java.io.Serializable;

/**
 * Where the time of one engine, or of several together, went since they were opened.
 *
 * @param engines how many
 * @param bytesPerSecond that their memories were measured to give, summed over them
 */
public record TimeProfile(int engines, double bytesPerSecond, PhaseTime prefill, PhaseTime decode)
    implements Serializable {

  /** Both together. */
  public TimeProfile plus(TimeProfile other) {
    return new TimeProfile(
        engines + other.engines,
        bytesPerSecond + other.bytesPerSecond,
        prefill.plus(other.prefill),
        decode.plus(other.decode));
  }

  /** What the same engines did since an earlier profile. */
  public TimeProfile since(TimeProfile earlier) {
    return new TimeProfile(
        engines, bytesPerSecond, prefill.minus(earlier.prefill), decode.minus(earlier.decode));
  }

  /** What the memory of one of them gives, mean, bytes a second. */
  public double bandwidth() {
    return bytesPerSecond / engines;
  }
}
