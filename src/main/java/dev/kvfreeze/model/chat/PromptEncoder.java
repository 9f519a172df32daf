package dev.kvfreeze.model.chat;

import dev.kvfreeze.model.tokenizer.TextPart;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Messages to token ids. The text of a message can never become a special token; otherwise the ids
 * are those of the whole rendered conversation encoded at once.
 *
 * <p>The template sees unguessable markers in place of the contents, so what it writes and what the
 * messages say can be told apart, and no content can steer it. Whether it strips white space around
 * a content is found by rendering once more with spaces around the markers.
 */
public final class PromptEncoder {
  private static final SecureRandom RANDOM = new SecureRandom();

  /** White space that no template writes next to a content. */
  private static final String PAD = "\n \t \n\t\t \n";

  private final Tokenizer tokenizer;
  private final ChatTemplate template;

  /** {@code template} may be null where only {@link #encodeVerbatim} is used. */
  public PromptEncoder(Tokenizer tokenizer, ChatTemplate template) {
    this.tokenizer = tokenizer;
    this.template = template;
  }

  /**
   * A conversation's prompt, ending where the assistant begins.
   *
   * @throws ChatTemplateException when there is no template or it fails
   */
  public int[] encode(List<ChatMessage> messages) {
    return withBegin(tokenizer.encode(parts(messages)));
  }

  /**
   * A text that is the whole prompt: special tokens are read as such, BOS as the model file says.
   */
  public int[] encodeVerbatim(String text) {
    return withBegin(tokenizer.encode(text, SpecialTokens.PARSE));
  }

  /**
   * A conversation around a document, the document cut at its end to fit into a number of tokens.
   *
   * @param messages the conversation for a given document text
   * @param maxTokens of the whole prompt
   * @throws IllegalArgumentException when the conversation without the document is longer already
   */
  public FittedPrompt encodeFitting(
      Function<String, List<ChatMessage>> messages, String document, int maxTokens) {
    return DocumentFitter.fit(tokenizer, text -> encode(messages.apply(text)), document, maxTokens);
  }

  private int[] withBegin(int[] ids) {
    int begin = tokenizer.beginToken();
    if (!tokenizer.addsBeginToken() || ids.length > 0 && ids[0] == begin) {
      return ids;
    }
    int[] with = new int[ids.length + 1];
    with[0] = begin;
    System.arraycopy(ids, 0, with, 1, ids.length);
    return with;
  }

  private List<TextPart> parts(List<ChatMessage> messages) {
    if (template == null) {
      throw new ChatTemplateException(
          "the model file has no chat template (a base model); use template none, or an instruct model",
          null);
    }
    byte[] random = new byte[16];
    RANDOM.nextBytes(random);
    Pattern marker = Pattern.compile("k" + HexFormat.of().formatHex(random) + "n(\\d+)x");
    String prefix = marker.pattern().substring(0, marker.pattern().indexOf('('));
    String plain = template.render(marked(messages, prefix, ""));
    String padded = template.render(marked(messages, prefix, PAD));
    String[] literals = marker.split(plain, -1);
    String[] paddedLiterals = marker.split(padded, -1);
    boolean aligned = literals.length == paddedLiterals.length;
    List<TextPart> parts = new ArrayList<>();
    parts.add(TextPart.trusted(literals[0]));
    Matcher match = marker.matcher(plain);
    for (int i = 1; match.find(); i++) {
      String content = messages.get(Integer.parseInt(match.group(1))).content();
      if (aligned && !paddedLiterals[i - 1].endsWith(PAD)) {
        content = TemplateValues.stripStart(content, null);
      }
      if (aligned && !paddedLiterals[i].startsWith(PAD)) {
        content = TemplateValues.stripEnd(content, null);
      }
      parts.add(TextPart.document(content));
      parts.add(TextPart.trusted(literals[i]));
    }
    return parts;
  }

  /** Empty contents stay empty: templates may leave such messages out. */
  private static List<ChatMessage> marked(List<ChatMessage> messages, String prefix, String pad) {
    List<ChatMessage> marked = new ArrayList<>();
    for (int i = 0; i < messages.size(); i++) {
      ChatMessage message = messages.get(i);
      marked.add(
          message.content().isEmpty()
              ? message
              : new ChatMessage(message.role(), pad + prefix + i + "x" + pad));
    }
    return marked;
  }
}
