package dev.kvfreeze.freeze;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The most that may be resident, by sequence length. Written as
 *
 * <ul>
 *   <li>{@code none};
 *   <li>{@code 12%}: of the full cache's bytes (16-bit numbers or wider), sketches included;
 *   <li>{@code 64m} (k, m, g): bytes, sketches included;
 *   <li>{@code 1024}: active tokens, mean over the heads;
 *   <li>{@code 128+8*sqrt}: active tokens that grow with the square root of the length.
 * </ul>
 */
public sealed interface FreezeCap {
  /** What the cap allows to be active, in tokens, mean over the heads. */
  double activeTokens(int length, CacheShape shape);

  /** How much of the cap a sequence has; less than 1 where the pool is too small for all of it. */
  default double share() {
    return 1;
  }

  /** No cap. */
  record None() implements FreezeCap {
    @Override
    public double activeTokens(int length, CacheShape shape) {
      return length;
    }
  }

  /** A share of the full cache's bytes. */
  record Share(double ratio) implements FreezeCap {
    @Override
    public double activeTokens(int length, CacheShape shape) {
      return shape.tokensFor(ratio * length) - shape.sketchTokens(length);
    }
  }

  /** Bytes. */
  record Bytes(long bytes) implements FreezeCap {
    @Override
    public double activeTokens(int length, CacheShape shape) {
      return bytes / shape.bytesPerToken() - shape.sketchTokens(length);
    }
  }

  /** {@code constant + factor * sqrt(length)} active tokens. */
  record Growing(double constant, double factor) implements FreezeCap {
    @Override
    public double activeTokens(int length, CacheShape shape) {
      return constant + factor * Math.sqrt(length);
    }
  }

  /** A share of another cap, which may change from step to step. */
  record Shared(FreezeCap cap, CapShare part) implements FreezeCap {
    @Override
    public double activeTokens(int length, CacheShape shape) {
      return part.value() * Math.max(0, cap.activeTokens(length, shape));
    }

    @Override
    public double share() {
      return part.value();
    }
  }

  /**
   * Reads a cap.
   *
   * @throws IllegalArgumentException with the forms there are
   */
  static FreezeCap parse(String text) {
    String trimmed = text.strip().toLowerCase(Locale.ROOT);
    if (trimmed.equals("none")) {
      return new None();
    }
    Matcher share = Pattern.compile("(\\d{1,3}(?:\\.\\d{1,6})?)%").matcher(trimmed);
    if (share.matches() && positive(share.group(1)) && Double.parseDouble(share.group(1)) <= 100) {
      return new Share(Double.parseDouble(share.group(1)) / 100);
    }
    Matcher bytes = Pattern.compile("(\\d{1,9})([kmg])").matcher(trimmed);
    if (bytes.matches() && positive(bytes.group(1))) {
      return new Bytes(Long.parseLong(bytes.group(1)) << 10 * (1 + "kmg".indexOf(bytes.group(2))));
    }
    Matcher growing =
        Pattern.compile("(\\d{1,9})\\+(\\d{1,6}(?:\\.\\d{1,6})?)\\*sqrt").matcher(trimmed);
    if (growing.matches()) {
      return new Growing(
          Double.parseDouble(growing.group(1)), Double.parseDouble(growing.group(2)));
    }
    if (trimmed.matches("\\d{1,9}") && positive(trimmed)) {
      return new Growing(Double.parseDouble(trimmed), 0);
    }
    throw new IllegalArgumentException(
        "the policy's cap is '"
            + text
            + "', it must be none, a share such as 12%, bytes such as 64m, tokens such as 1024, or"
            + " 128+8*sqrt");
  }

  private static boolean positive(String number) {
    return Double.parseDouble(number) > 0;
  }
}
