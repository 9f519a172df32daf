package dev.kvfreeze.spark.input;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class TextDecoderTest {
  private static InputDocument decode(int... bytes) {
    byte[] array = new byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      array[i] = (byte) bytes[i];
    }
    return TextDecoder.decode("x", array);
  }

  @Test
  void validTextComesBackWithoutNotes() {
    String text = "naïve 東京 👩‍🚀 e\u0301\r\n";
    InputDocument document = TextDecoder.decode("x", text.getBytes(StandardCharsets.UTF_8));
    assertThat(document.text()).isEqualTo(text);
    assertThat(document.notes()).isEmpty();
    assertThat(document.problem()).isNull();
  }

  @Test
  void whatIsNotUtf8IsReplacedAndNoted() {
    assertThat(decode('a', 0xFF, 'b').text()).isEqualTo("a\uFFFDb");
    assertThat(decode('a', 0xE2, 0x82).text()).as("cut within a character").startsWith("a\uFFFD");
    assertThat(decode('a', 0xFF, 0xFE, 'b').notes().get(0)).contains("2 byte sequences");
    assertThat(decode(0xC3).notes()).hasSize(1);
  }

  @Test
  void byteOrderMarksAreReadAndLeftOut() {
    assertThat(decode(0xEF, 0xBB, 0xBF, 'a').text()).isEqualTo("a");
    assertThat(decode(0xFF, 0xFE, 'a', 0).text()).isEqualTo("a");
    assertThat(decode(0xFE, 0xFF, 0, 'a').text()).isEqualTo("a");
  }

  @Test
  void filesWithoutTextAreProblems() {
    assertThat(decode().problem().errorClass()).isEqualTo("EmptyDocument");
    assertThat(decode('P', 'K', 3, 4, 0).problem().errorClass()).isEqualTo("NotText");
  }
}
