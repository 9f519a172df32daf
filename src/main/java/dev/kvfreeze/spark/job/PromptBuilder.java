package dev.kvfreeze.spark.job;

import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.chat.ChatMessage;
import dev.kvfreeze.model.tokenizer.TextPart;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import dev.kvfreeze.spark.conf.TemplateUse;
import java.util.ArrayList;
import java.util.List;

/**
 * Makes a document's prompt: the prompt template around the text, the model's chat template around
 * both, cut so that prompt and output fit the context. Special tokens count in the chat template
 * only, never in the text (but for {@link TemplateUse#NONE}). For one thread.
 */
final class PromptBuilder {
  /** Stands for the user message while the chat template is rendered. */
  private static final String MARK = "\uE000kvfreeze\uE001";

  /** Characters a token can hardly exceed on average: what lies beyond is cut before tokenizing. */
  private static final int CHARACTERS_PER_TOKEN = 48;

  private static final int WORD = 200;

  private final Tokenizer tokenizer;
  private final PromptTemplate prompt;
  private final SpecialTokens textTokens;
  private final String before;
  private final String after;
  private final boolean addsBegin;
  private final int limit;

  /**
   * @param limit most tokens of a prompt
   */
  PromptBuilder(LanguageModel model, PromptTemplate prompt, TemplateUse use, int limit) {
    this.tokenizer = model.tokenizer();
    this.prompt = prompt;
    this.limit = limit;
    if (use == TemplateUse.NONE || model.chatTemplate() == null) {
      this.textTokens = use == TemplateUse.NONE ? SpecialTokens.PARSE : SpecialTokens.AS_TEXT;
      this.before = "";
      this.after = "";
      this.addsBegin = tokenizer.addsBeginToken();
      return;
    }
    List<ChatMessage> messages = new ArrayList<>();
    if (!prompt.system().isEmpty()) {
      messages.add(new ChatMessage("system", prompt.system()));
    }
    messages.add(new ChatMessage("user", MARK));
    String rendered = model.chatTemplate().render(messages);
    int mark = rendered.indexOf(MARK);
    if (mark < 0) {
      throw new PromptException(
          "the chat template of %s leaves out the user's message; use --template none"
              .formatted(model.name()));
    }
    this.textTokens = SpecialTokens.AS_TEXT;
    this.before = rendered.substring(0, mark);
    this.after = rendered.substring(mark + MARK.length());
    // A template writes the token that begins a sequence itself.
    this.addsBegin = false;
  }

  /**
   * The prompt for a text.
   *
   * @throws PromptException when not even a part of it fits
   */
  DocumentPrompt build(String text) {
    List<String> notes = new ArrayList<>();
    int overhead = encode("").length;
    int room = limit - overhead;
    if (room < 1) {
      throw new PromptException(
          "the prompt without the document has %d tokens and at most %d fit beside the output;"
                  .formatted(overhead, limit)
              + " lower generation.maxNewTokens or take a model with a longer context");
    }
    long most = (long) room * CHARACTERS_PER_TOKEN;
    boolean far = text.length() > most;
    String head = far ? text.substring(0, boundary(text, (int) most)) : text;
    int headTokens = tokenizer.encode(head, textTokens).length;
    int documentTokens =
        far ? (int) ((double) headTokens / head.length() * text.length()) : headTokens;
    if (headTokens <= room && !far) {
      int[] tokens = encode(text);
      if (tokens.length <= limit) {
        return new DocumentPrompt(tokens, documentTokens, notes);
      }
    }
    int[] tokens = fit(head, headTokens, room);
    notes.add(
        "cut to the first %d of %s%d tokens to fit the context"
            .formatted(Math.max(0, tokens.length - overhead), far ? "about " : "", documentTokens));
    return new DocumentPrompt(tokens, documentTokens, notes);
  }

  /** The prompt with the longest beginning of the text that fits, nearly, cut between words. */
  private int[] fit(String text, int textTokens, int room) {
    int length = (int) Math.min(text.length(), (long) text.length() * room / textTokens);
    int most = text.length();
    int[] best = null;
    // A few steps of interpolation: the share of characters a token has differs along the text.
    for (int step = 0; step < 8 && length > 0; step++) {
      int cut = boundary(text, length);
      int[] tokens = encode(text.substring(0, cut));
      if (tokens.length <= limit) {
        if (best == null || tokens.length > best.length) {
          best = tokens;
        }
        if (limit - tokens.length <= 16 || cut >= most) {
          break;
        }
      } else {
        most = Math.min(most, length - 1);
      }
      long next = length + (long) (limit - tokens.length) * text.length() / textTokens * 9 / 10;
      length = (int) Math.max(1, Math.min(next, most));
    }
    for (length = Math.min(length, room); best == null; length = length / 2) {
      int[] tokens = encode(text.substring(0, boundary(text, length)));
      if (tokens.length <= limit || length == 0) {
        best = tokens;
      }
    }
    return best;
  }

  /** The end of the last word before this length, or the length in a text without spaces. */
  private static int boundary(String text, int length) {
    if (length >= text.length()) {
      return text.length();
    }
    for (int i = length; i > Math.max(0, length - WORD); i--) {
      if (Character.isWhitespace(text.charAt(i))) {
        return i;
      }
    }
    return length > 0 && Character.isHighSurrogate(text.charAt(length - 1)) ? length - 1 : length;
  }

  private int[] encode(String text) {
    String user = prompt.beforeDocument() + text + prompt.afterDocument();
    int[] tokens =
        before.isEmpty() && after.isEmpty()
            ? tokenizer.encode(user, textTokens)
            : tokenizer.encode(
                List.of(
                    new TextPart(before, SpecialTokens.PARSE),
                    new TextPart(user, textTokens),
                    new TextPart(after, SpecialTokens.PARSE)));
    if (!addsBegin || (tokens.length > 0 && tokens[0] == tokenizer.beginToken())) {
      return tokens;
    }
    int[] all = new int[tokens.length + 1];
    all[0] = tokenizer.beginToken();
    System.arraycopy(tokens, 0, all, 1, tokens.length);
    return all;
  }
}
