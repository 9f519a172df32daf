package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class FreezeCapTest {
  /** 30 layers of 3 heads; 256 bytes a token and head, sketches of 10. */
  private static final CacheShape SHAPE = new CacheShape(30, 3, 16, 4096, 10);

  @ParameterizedTest
  @CsvSource({
    "none, 8000, 8000",
    "1024, 8000, 1024",
    "128+8*sqrt, 6400, 768",
    "0+2.5*sqrt, 10000, 250",
    // Sketches take 10/256 of the full cache.
    "12%, 8192, 663.04",
    "100%, 1000, 960.94",
    // 23 MiB over 23040 bytes a token, less the sketches.
    "23m, 8192, 726.78"
  })
  void saysHowManyTokensMayBeActive(String text, int length, double tokens) {
    assertThat(FreezeCap.parse(text).activeTokens(length, SHAPE))
        .isCloseTo(tokens, within(tokens / 1000));
  }

  @Test
  void equalTextsAreEqualCaps() {
    assertThat(FreezeCap.parse(" 12% ")).isEqualTo(FreezeCap.parse("12.0%"));
    assertThat(FreezeCap.parse("1024k")).isEqualTo(FreezeCap.parse("1m"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "0", "0%", "101%", "12 %x", "-5", "5t", "1+2", "sqrt", "9999999999"})
  void refusesOthersWithTheForms(String text) {
    assertThatThrownBy(() -> FreezeCap.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("12%")
        .hasMessageContaining("128+8*sqrt");
  }

  @Test
  void aShareIsOfTheCacheThatSizesAreComparedWith() {
    // Pages of a little over half the bytes: an eighth of the full cache holds more tokens.
    CacheShape bytes = new CacheShape(30, 3, 16, 2304, 10, 4096);
    double tokens = FreezeCap.parse("12.5%").activeTokens(8192, bytes);
    assertThat(tokens).isCloseTo(8192 / 8.0 * 4096 / 2304 - 8192 * 10 * 16 / 2304.0, within(1e-9));
    assertThat(FreezeCap.parse("1024").activeTokens(8192, bytes)).isEqualTo(1024);
  }
}
