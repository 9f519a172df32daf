package dev.kvfreeze.model.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Boundaries worked out by hand from the published patterns. */
class PreTokenizerTest {
  private static List<String> split(String name, String text) {
    List<String> stretches = new ArrayList<>();
    PreTokenizer.of(name)
        .split(text, 0, text.length(), (from, to) -> stretches.add(text.substring(from, to)));
    return stretches;
  }

  @ParameterizedTest
  @ValueSource(strings = {"qwen2", "llama-bpe"})
  void splitsWordsAsTiktoken(String name) {
    assertThat(split(name, "Hello world, I'M here"))
        .containsExactly("Hello", " world", ",", " I", "'M", " here");
    assertThat(split(name, "a\n\n  b")).containsExactly("a", "\n\n", " ", " b");
    assertThat(split(name, "x   y")).containsExactly("x", "  ", " y");
    assertThat(split(name, "end.\n\nNext  ")).containsExactly("end", ".\n\n", "Next", "  ");
    assertThat(split(name, "(word) $x\u4e2d\u6587"))
        .containsExactly("(word", ")", " $", "x\u4e2d\u6587");
    assertThat(split(name, "\t\tx \u00a0y")).containsExactly("\t", "\tx", " ", "\u00a0y");
    assertThat(split(name, "\ud83d\ude00\ud83d\ude00 ok"))
        .containsExactly("\ud83d\ude00\ud83d\ude00", " ok");
  }

  @Test
  void splitsDigits() {
    assertThat(split("qwen2", "a 1234 5")).containsExactly("a", " ", "1", "2", "3", "4", " ", "5");
    assertThat(split("llama-bpe", "a 1234567 5"))
        .containsExactly("a", " ", "123", "456", "7", " ", "5");
    assertThat(split("smollm", "a 12")).containsExactly("a", " ", "1", "2");
    assertThat(split("gpt-2", "a 1234")).containsExactly("a", " 1234");
    assertThat(split("default", "a 1234..")).containsExactly("a", " ", "123", "4", "..");
  }

  @Test
  void gpt2KeepsCaseOfContractions() {
    assertThat(split("gpt-2", "I'M it's")).containsExactly("I", "'", "M", " it", "'s");
    assertThat(split("gpt-2", "a\n\n b  ")).containsExactly("a", "\n\n", " b", "  ");
  }

  @ParameterizedTest
  @ValueSource(strings = {"qwen2", "llama-bpe", "smollm", "gpt-2", "default"})
  void losesNothingAndIsLinear(String name) {
    for (String unit :
        List.of("a", " ", "\n", "1", "=", " \n", "'", "\u4e2d", "a1 ", "\ud83d\ude00")) {
      String text = unit.repeat(200_000);
      assertThat(String.join("", split(name, text))).isEqualTo(text);
    }
  }
}
