package dev.kvfreeze.model.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tiny vocabularies: the rules of each kind, and damaged metadata. */
class TokenizerFactoryTest {
  @TempDir Path folder;

  private static MetadataFile bpe() {
    return new MetadataFile()
        .with("tokenizer.ggml.model", "gpt2")
        .with("tokenizer.ggml.pre", "llama-bpe")
        .with(
            "tokenizer.ggml.tokens",
            List.of(
                "a",
                "b",
                "c",
                "ab",
                "bc",
                "abc",
                "\u0120",
                "<|eot_id|>",
                "<tag>",
                "cab",
                "x",
                "y",
                "z"))
        .with("tokenizer.ggml.token_type", List.of(1, 1, 1, 1, 1, 1, 1, 3, 4, 1, 1, 1, 1))
        .with("tokenizer.ggml.merges", List.of("b c", "a b", "a bc"))
        .with("tokenizer.ggml.bos_token_id", 0)
        .with("tokenizer.ggml.eos_token_id", 7);
  }

  private static MetadataFile sentencePiece() {
    return new MetadataFile()
        .with("tokenizer.ggml.model", "llama")
        .with(
            "tokenizer.ggml.tokens",
            List.of(
                "<unk>", "<s>", "</s>", "<0xC3>", "<0xA9>", "a", "b", "c", "ab", "bc", "\u2581",
                "\u2581a"))
        .with("tokenizer.ggml.token_type", List.of(2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 1))
        .with(
            "tokenizer.ggml.scores",
            List.of(0f, 0f, 0f, 0f, 0f, -9f, -9f, -9f, -2f, -1f, -9f, -3f));
  }

  private int[] encode(MetadataFile file, String text, SpecialTokens special) throws IOException {
    return TokenizerFactory.create(file.metadata(folder)).encode(text, special);
  }

  @Test
  void mergesByRankAndTakesWholeTokens() throws IOException {
    assertThat(encode(bpe(), "abc", SpecialTokens.PARSE)).containsExactly(5);
    assertThat(encode(bpe(), "bab", SpecialTokens.PARSE)).containsExactly(1, 3);
    // Llama 3's files take a whole token that no merge leads to; other files do not.
    assertThat(encode(bpe(), "cab", SpecialTokens.PARSE)).containsExactly(9);
    assertThat(encode(bpe().with("tokenizer.ggml.pre", "qwen2"), "cab", SpecialTokens.PARSE))
        .containsExactly(2, 3);
    assertThat(encode(bpe(), "a<|eot_id|><tag>", SpecialTokens.PARSE)).containsExactly(0, 7, 8);
    assertThat(encode(bpe(), "a<tag>b", SpecialTokens.AS_TEXT)).containsExactly(0, 8, 1);
    Tokenizer llama3 = TokenizerFactory.create(bpe().metadata(folder));
    assertThat(llama3.addsBeginToken()).isTrue();
    assertThat(llama3.endTokens()).containsExactly(7);
  }

  @Test
  void mergesByScoreAndFallsBackToBytes() throws IOException {
    assertThat(encode(sentencePiece(), "abc", SpecialTokens.AS_TEXT)).containsExactly(11, 9);
    assertThat(
            encode(
                sentencePiece().with("tokenizer.ggml.add_space_prefix", false),
                "abc",
                SpecialTokens.AS_TEXT))
        .containsExactly(5, 9);
    assertThat(encode(sentencePiece(), "\u00e9!", SpecialTokens.AS_TEXT))
        .containsExactly(10, 3, 4, 0);
    assertThat(encode(sentencePiece(), "<s>a", SpecialTokens.PARSE)).containsExactly(1, 11);
    Tokenizer tokenizer = TokenizerFactory.create(sentencePiece().metadata(folder));
    assertThat(tokenizer.addsBeginToken()).isTrue();
    assertThat(tokenizer.beginToken()).isEqualTo(1);
    assertThat(tokenizer.decode(new int[] {1, 3, 4, 2})).isEqualTo("\u00e9");
    StreamingDecoder decoder = new StreamingDecoder(tokenizer);
    assertThat(decoder.append(3)).isEmpty();
    assertThat(decoder.append(4)).isEqualTo("\u00e9");
    assertThat(decoder.append(3) + decoder.flush()).isEqualTo("\ufffd");
    assertThat(tokenizer.encode("\ud800", SpecialTokens.AS_TEXT))
        .isEqualTo(tokenizer.encode("\ufffd", SpecialTokens.AS_TEXT));
    assertThatThrownBy(() -> tokenizer.bytes(12)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void joinsPartsWithoutTrustingDocuments() throws IOException {
    Tokenizer tokenizer = TokenizerFactory.create(bpe().metadata(folder));
    assertThat(tokenizer.encode(List.of(TextPart.trusted("a"), TextPart.document("bc"))))
        .containsExactly(5);
    assertThat(tokenizer.encode(List.of(TextPart.trusted("<|eot_"), TextPart.document("id|>"))))
        .doesNotContain(7);
    assertThat(
            tokenizer.encode(
                List.of(
                    TextPart.trusted("<|eot_"), TextPart.document(""), TextPart.trusted("id|>"))))
        .containsExactly(7);
  }

  private void refused(MetadataFile file, String key) {
    assertThatThrownBy(() -> TokenizerFactory.create(file.metadata(folder)))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContaining(key);
  }

  @Test
  void refusesDamagedMetadata() {
    refused(new MetadataFile(), "tokenizer.ggml.model");
    refused(bpe().with("tokenizer.ggml.model", "rwkv"), "rwkv");
    refused(bpe().with("tokenizer.ggml.pre", "unheard-of"), "unheard-of");
    refused(bpe().without("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens");
    refused(bpe().with("tokenizer.ggml.tokens", List.of()), "tokenizer.ggml.tokens");
    refused(bpe().without("tokenizer.ggml.merges"), "tokenizer.ggml.merges");
    refused(bpe().with("tokenizer.ggml.merges", List.of("a q")), "tokenizer.ggml.merges");
    refused(bpe().with("tokenizer.ggml.merges", List.of("ab")), "tokenizer.ggml.merges");
    refused(bpe().with("tokenizer.ggml.merges", List.of("a ")), "tokenizer.ggml.merges");
    refused(bpe().with("tokenizer.ggml.token_type", List.of(1)), "tokenizer.ggml.token_type");
    refused(
        bpe().with("tokenizer.ggml.token_type", Collections.nCopies(13, 9)),
        "tokenizer.ggml.token_type");
    refused(
        bpe().with("tokenizer.ggml.tokens", Collections.nCopies(13, "a")), "tokenizer.ggml.tokens");
    refused(bpe().with("tokenizer.ggml.eos_token_id", 13), "tokenizer.ggml.eos_token_id");
    refused(bpe().with("tokenizer.ggml.bos_token_id", -1), "tokenizer.ggml.bos_token_id");
    refused(sentencePiece().with("tokenizer.ggml.scores", List.of(1f)), "tokenizer.ggml.scores");
    refused(
        sentencePiece().with("tokenizer.ggml.scores", Collections.nCopies(12, Float.NaN)),
        "tokenizer.ggml.scores");
  }
}
