package dev.kvfreeze.model.chat;

import dev.kvfreeze.model.gguf.GgufMetadata;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import java.nio.charset.StandardCharsets;

/** Makes the chat template that a GGUF file carries. */
public final class ChatTemplates {
  private static final String TEMPLATE = "tokenizer.chat_template";

  private ChatTemplates() {}

  /** The file's template, or null when it has none. */
  public static ChatTemplate create(GgufMetadata metadata, Tokenizer tokenizer) {
    String source = metadata.stringOrNull(TEMPLATE);
    if (source == null || source.isBlank()) {
      return null;
    }
    byte[][] tokens = metadata.byteStrings("tokenizer.ggml.tokens");
    long end = metadata.integerOr("tokenizer.ggml.eos_token_id", -1);
    return new JinjaChatTemplate(
        metadata.file(), source, text(tokens, tokenizer.beginToken()), text(tokens, end));
  }

  private static String text(byte[][] tokens, long id) {
    return id >= 0 && id < tokens.length
        ? new String(tokens[(int) id], StandardCharsets.UTF_8)
        : "";
  }
}
