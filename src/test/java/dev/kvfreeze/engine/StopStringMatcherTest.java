package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class StopStringMatcherTest {
  /** Text before the stop string complete first, found a character at a time; null for none. */
  private static String expected(String text, List<String> stops) {
    for (int end = 1; end <= text.length(); end++) {
      int longest = 0;
      for (String stop : stops) {
        if (!stop.isEmpty() && text.startsWith(stop, end - stop.length())) {
          longest = Math.max(longest, stop.length());
        }
      }
      if (longest > 0) {
        return text.substring(0, end - longest);
      }
    }
    return null;
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5})
  void cuttingTheTextIntoPiecesChangesNothing(long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    int stopped = 0;
    for (int run = 0; run < 2000; run++) {
      List<String> stops =
          random.ints(random.nextInt(4), 1, 5).mapToObj(size -> letters(random, size)).toList();
      String text = letters(random, random.nextInt(30));
      StopStringMatcher matcher = new StopStringMatcher(stops);
      StringBuilder emitted = new StringBuilder();
      int at = 0;
      while (at < text.length()) {
        int end = Math.min(text.length(), at + random.nextInt(6));
        emitted.append(matcher.append(text.substring(at, end)));
        at = end;
        if (!matcher.found()) {
          int longest = stops.stream().mapToInt(String::length).max().orElse(1);
          assertThat(at - emitted.length()).as("held back").isLessThan(longest);
        }
      }
      String before = expected(text, stops);
      assertThat(matcher.found()).isEqualTo(before != null);
      emitted.append(matcher.rest());
      assertThat(emitted.toString()).isEqualTo(before == null ? text : before);
      stopped += matcher.found() ? 1 : 0;
    }
    assertThat(stopped).isBetween(400, 1900);
  }

  private static String letters(SplittableRandom random, int size) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < size; i++) {
      text.append((char) ('a' + random.nextInt(3)));
    }
    return text.toString();
  }

  @Test
  void findsAStopAcrossPieces() {
    StopStringMatcher matcher = new StopStringMatcher(List.of("\n\nUser:", "###"));
    assertThat(matcher.append("Hello\n")).isEqualTo("Hello");
    assertThat(matcher.append("world")).isEqualTo("\nworld");
    assertThat(matcher.append("\n\nUs")).isEmpty();
    assertThat(matcher.append("er: hi")).isEmpty();
    assertThat(matcher.found()).isTrue();
    assertThat(matcher.append("more ###")).isEmpty();
    assertThat(matcher.rest()).isEmpty();
  }

  @Test
  void releasesWhatTurnsOutNotToBeAStop() {
    StopStringMatcher matcher = new StopStringMatcher(List.of("aab"));
    assertThat(matcher.append("aa")).isEmpty();
    assertThat(matcher.append("a")).isEqualTo("a");
    assertThat(matcher.rest()).isEqualTo("aa");
    assertThat(matcher.rest()).isEmpty();
  }

  @Test
  void withoutStopsNothingIsHeldBack() {
    StopStringMatcher matcher = new StopStringMatcher(List.of(""));
    assertThat(matcher.append("any")).isEqualTo("any");
    assertThat(matcher.found()).isFalse();
  }
}
