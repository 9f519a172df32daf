package dev.kvfreeze.model.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.time.Duration;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Long inputs: nothing quadratic, nothing lost. */
class TokenizerScaleTest {
  private static final int MEGABYTE = 1 << 20;

  private static void encodes(Tokenizer tokenizer, String name, String text) {
    long start = System.nanoTime();
    int[] ids =
        Assertions.assertTimeout(
            Duration.ofSeconds(60), () -> tokenizer.encode(text, SpecialTokens.AS_TEXT));
    System.out.printf(
        "%s: %d ids in %d ms%n", name, ids.length, (System.nanoTime() - start) / 1_000_000);
    assertThat(tokenizer.decode(ids)).as(name).isEqualTo(text);
  }

  @ParameterizedTest
  @ValueSource(strings = {"SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-Q4_K_M.gguf"})
  void encodesLongTextsInTime(String model) {
    for (int i = 0; i < 3; i++) {
      long start = System.nanoTime();
      TokenizerReferenceTest.open(model).close();
      System.out.printf("%s: opened in %d ms%n", model, (System.nanoTime() - start) / 1_000_000);
    }
    try (Tokenizer tokenizer = TokenizerReferenceTest.open(model)) {
      encodes(
          tokenizer,
          "prose",
          "The quick brown fox, it's 1234 jumping over the lazy dog's caf\u00e9.\n"
              .repeat(150_000));
      encodes(tokenizer, "letters", "a".repeat(MEGABYTE));
      encodes(tokenizer, "spaces", " ".repeat(MEGABYTE));
      encodes(tokenizer, "newlines", "\n".repeat(MEGABYTE));
      encodes(tokenizer, "punctuation", "=-".repeat(MEGABYTE / 2));
      encodes(tokenizer, "look-alikes", "<table><|im_end|></s><bos>".repeat(MEGABYTE / 26));
      encodes(tokenizer, "emoji", "\ud83d\ude00".repeat(MEGABYTE / 4));
    }
  }
}
