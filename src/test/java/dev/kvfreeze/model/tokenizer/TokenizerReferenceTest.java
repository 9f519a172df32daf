package dev.kvfreeze.model.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.stream.IntStream;
import org.assertj.core.api.SoftAssertions;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** 200 awkward strings against llama.cpp's ids (src/test/python/tokenizer_reference.py). */
class TokenizerReferenceTest {
  private static final String SMOL = "SmolLM2-135M-Instruct.Q4_1.gguf";
  private static final String GEMMA = "gemma-3-270m-Q4_K_M.gguf";

  static Tokenizer open(String model) {
    Path folder = Path.of(System.getProperty("user.home"), ".cache", "kvfreeze", "models");
    try (GgufFile file = GgufFile.open(folder.resolve(model))) {
      return TokenizerFactory.create(file.metadata());
    }
  }

  private static JsonNode reference() throws IOException {
    try (InputStream in =
        TokenizerReferenceTest.class.getResourceAsStream("/tokenizer/reference.json")) {
      return new ObjectMapper().readTree(in);
    }
  }

  private static int[] ints(JsonNode array) {
    return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
  }

  @ParameterizedTest
  @ValueSource(strings = {SMOL, GEMMA})
  void encodesAndDecodesAsLlamaCpp(String model) throws IOException {
    JsonNode reference = reference();
    JsonNode cases = reference.get("models").get(model).get("cases");
    SoftAssertions softly = new SoftAssertions();
    try (Tokenizer tokenizer = open(model)) {
      assertThat(cases).hasSize(200);
      for (int i = 0; i < cases.size(); i++) {
        String text = reference.get("texts").get(i).asText();
        JsonNode expected = cases.get(i);
        String name = i + " " + new ObjectMapper().writeValueAsString(text);
        int[] parsed = tokenizer.encode(text, SpecialTokens.PARSE);
        softly
            .assertThat(tokenizer.encode(text, SpecialTokens.AS_TEXT))
            .as(name + " as text")
            .isEqualTo(ints(expected.get("plain")));
        softly.assertThat(parsed).as(name + " parsed").isEqualTo(ints(expected.get("parsed")));
        byte[] bytes = HexFormat.of().parseHex(expected.get("parsed_bytes").asText());
        softly
            .assertThat(tokenizer.decode(parsed))
            .as(name + " decoded")
            .isEqualTo(new String(bytes, StandardCharsets.UTF_8));
        StringBuilder streamed = new StringBuilder();
        StreamingDecoder decoder = new StreamingDecoder(tokenizer);
        for (int id : parsed) {
          streamed.append(decoder.append(id));
        }
        softly
            .assertThat(streamed.append(decoder.flush()).toString())
            .as(name + " streamed")
            .isEqualTo(tokenizer.decode(parsed));
      }
    }
    softly.assertAll();
  }

  @ParameterizedTest
  @ValueSource(strings = {SMOL, GEMMA})
  void knowsTheSpecialTokens(String model) throws IOException {
    JsonNode expected = reference().get("models").get(model);
    try (Tokenizer tokenizer = open(model)) {
      assertThat(tokenizer.vocabularySize()).isEqualTo(expected.get("vocabulary").asInt());
      assertThat(tokenizer.beginToken()).isEqualTo(expected.get("begin").asInt());
      assertThat(tokenizer.addsBeginToken()).isEqualTo(expected.get("adds_begin").asBoolean());
      assertThat(tokenizer.endTokens()).isEqualTo(ints(expected.get("ends")));
    }
  }
}
