package dev.kvfreeze.spark.conf;

import dev.kvfreeze.device.DeviceBudget;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The types of the knobs: each checks its range and says in words what it accepts. */
final class KnobTypes {
  private static final Pattern QUANTITY = Pattern.compile("(\\d+)\\s*([a-zA-Z]*)");

  private KnobTypes() {}

  static KnobType<String> text(String allowed) {
    return new KnobType<>(allowed, text -> text);
  }

  static KnobType<Integer> integer(int least, int most) {
    String range = most == Integer.MAX_VALUE ? least + " or more" : least + " to " + most;
    return new KnobType<>(
        "a whole number, " + range,
        text -> {
          int value = Integer.parseInt(text);
          require(value >= least && value <= most);
          return value;
        });
  }

  static KnobType<Long> wholeNumber() {
    return new KnobType<>("a whole number", Long::parseLong);
  }

  static KnobType<Double> decimal(double least, double most) {
    String range = most == Double.MAX_VALUE ? least + " or more" : least + " to " + most;
    return new KnobType<>(
        "a number, " + range,
        text -> {
          double value = Double.parseDouble(text);
          require(value >= least && value <= most);
          return value;
        });
  }

  static <E extends Enum<E>> KnobType<E> choice(Class<E> type) {
    List<String> names = new ArrayList<>();
    for (E constant : type.getEnumConstants()) {
      names.add(constant.name().toLowerCase(Locale.ROOT));
    }
    return new KnobType<>(
        "one of " + String.join(", ", names),
        text -> {
          require(names.contains(text));
          return Enum.valueOf(type, text.toUpperCase(Locale.ROOT));
        });
  }

  /** Sizes with binary suffixes, as in Spark: {@code 512m}, {@code 2g}; without a suffix, bytes. */
  static KnobType<Long> bytes() {
    return new KnobType<>(
        "a size such as 512m or 2g",
        text -> {
          Matcher match = QUANTITY.matcher(text);
          require(match.matches());
          int shift =
              switch (match.group(2).toLowerCase(Locale.ROOT)) {
                case "", "b" -> 0;
                case "k", "kb", "kib" -> 10;
                case "m", "mb", "mib" -> 20;
                case "g", "gb", "gib" -> 30;
                case "t", "tb", "tib" -> 40;
                default -> throw new IllegalArgumentException();
              };
          return Math.multiplyExact(Long.parseLong(match.group(1)), 1L << shift);
        });
  }

  /** Bytes, or a share of a device's free memory. */
  static KnobType<DeviceBudget> deviceBudget() {
    return new KnobType<>(
        "a size such as 24g, or a share of what is free such as 90%",
        text -> {
          if (!text.endsWith("%")) {
            return DeviceBudget.ofBytes(bytes().parser().apply(text));
          }
          double percent = Double.parseDouble(text.substring(0, text.length() - 1));
          require(percent > 0 && percent <= 100);
          return DeviceBudget.ofShare(percent / 100);
        });
  }

  static KnobType<Duration> duration() {
    return new KnobType<>(
        "a time such as 500ms, 5s or 2min",
        text -> {
          Matcher match = QUANTITY.matcher(text);
          require(match.matches());
          long amount = Long.parseLong(match.group(1));
          return switch (match.group(2).toLowerCase(Locale.ROOT)) {
            case "ms" -> Duration.ofMillis(amount);
            case "", "s" -> Duration.ofSeconds(amount);
            case "m", "min" -> Duration.ofMinutes(amount);
            case "h" -> Duration.ofHours(amount);
            default -> throw new IllegalArgumentException();
          };
        });
  }

  /**
   * Texts separated by {@code |}; {@code \n}, {@code \t}, {@code \|} and {@code \\} are escapes.
   */
  static KnobType<List<String>> textList() {
    return new KnobType<>(
        "texts separated by |, with \\n, \\t, \\| and \\\\ as escapes",
        text -> {
          List<String> items = new ArrayList<>();
          StringBuilder item = new StringBuilder();
          for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '\\' && i + 1 < text.length()) {
              char escaped = text.charAt(++i);
              item.append(escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped);
            } else if (c == '|') {
              items.add(item.toString());
              item.setLength(0);
            } else {
              item.append(c);
            }
          }
          items.add(item.toString());
          items.removeIf(String::isEmpty);
          return List.copyOf(items);
        });
  }

  static KnobType<ErrorBudget> errorBudget() {
    return new KnobType<>("none, a number of documents, or a share such as 5%", ErrorBudget::parse);
  }

  static void require(boolean accepted) {
    if (!accepted) {
      throw new IllegalArgumentException();
    }
  }
}
