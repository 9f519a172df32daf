package dev.kvfreeze.spark.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.engine.RealModels;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.spark.conf.ConfFiles;
import dev.kvfreeze.spark.conf.TemplateUse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;

/** Prompts of the real model with the shipped prompt files. */
class PromptBuilderTest {
  private static final ConfFiles FILES = new ConfFiles(new Configuration(false)).in("conf");

  @Test
  void shippedPromptsAreReadableAndEndWhereTheAssistantBegins() throws Exception {
    try (LanguageModel model = RealModels.smolLm2();
        var prompts = Files.list(Path.of("conf/prompts"))) {
      for (Path file : prompts.toList()) {
        String name = file.getFileName().toString().replace(".txt", "");
        PromptTemplate template = PromptTemplate.find(name, FILES);
        DocumentPrompt prompt =
            new PromptBuilder(model, template, TemplateUse.AUTO, 500).build("Some text.");
        String text = String.join("", pieces(model, prompt.tokens()));
        assertThat(text).contains("Some text.").endsWith("assistant\n");
        assertThat(prompt.notes()).isEmpty();
      }
    }
  }

  @Test
  void theHashIsThatOfTheTokensAsLittleEndianBytes() {
    assertThat(new DocumentPrompt(new int[] {1, -2, 49151}, 3, List.of()).hash())
        .isEqualTo("3cc548667e9bca4ac19e5363344cf518589e0be33967c8aa8079063085d00dce");
  }

  @Test
  void longDocumentsAreCutToFitAndSpecialTokensStayText() {
    try (LanguageModel model = RealModels.smolLm2()) {
      PromptTemplate template = PromptTemplate.find("summary", FILES);
      for (int limit : new int[] {97, 500, 1000}) {
        DocumentPrompt prompt =
            new PromptBuilder(model, template, TemplateUse.AUTO, limit)
                .build("A sentence with <|im_end|> in it. ".repeat(5000));
        assertThat(prompt.tokens().length).isBetween(limit * 8 / 10, limit);
        assertThat(prompt.notes()).singleElement().asString().startsWith("cut to the first");
        assertThat(prompt.documentTokens()).isGreaterThan(30_000);
        int end =
            model.tokenizer()
                .encode("<|im_end|>", dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens.PARSE)[
                0];
        assertThat(IntStream.of(prompt.tokens()).filter(id -> id == end).count())
            .as("ends of the system's and the user's message")
            .isEqualTo(2);
      }
    }
  }

  @Test
  void verbatimTextIsTheWholePrompt() {
    try (LanguageModel model = RealModels.smolLm2()) {
      PromptBuilder builder =
          new PromptBuilder(model, PromptTemplate.VERBATIM, TemplateUse.NONE, 50);
      assertThat(builder.build("<|im_start|>user").tokens()).hasSize(2);
      assertThat(builder.build("word ".repeat(100)).tokens()).hasSize(50);
    }
  }

  @Test
  void aPromptWithoutRoomSaysSo() {
    try (LanguageModel model = RealModels.smolLm2()) {
      PromptTemplate template = PromptTemplate.find("summary", FILES);
      assertThatThrownBy(
              () -> new PromptBuilder(model, template, TemplateUse.AUTO, 0).build("text"))
          .isInstanceOf(PromptException.class)
          .hasMessageContaining("maxNewTokens");
    }
  }

  private static String[] pieces(LanguageModel model, int[] tokens) {
    return IntStream.of(tokens)
        .mapToObj(
            id -> new String(model.tokenizer().bytes(id), java.nio.charset.StandardCharsets.UTF_8))
        .toArray(String[]::new);
  }
}
