package dev.kvfreeze.spark.job;

import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.chat.ChatMessage;
import dev.kvfreeze.model.chat.FittedPrompt;
import dev.kvfreeze.model.chat.PromptEncoder;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import dev.kvfreeze.spark.conf.TemplateUse;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Makes a document's prompt, cut so that prompt and output fit the context: a conversation where
 * the model has a chat template, else plain text. Special tokens in a document stay text, but for
 * {@link TemplateUse#NONE}, where the document is the prompt, verbatim.
 */
final class PromptBuilder {
  /** Characters a token can hardly exceed on average: what lies beyond is cut before tokenizing. */
  private static final int CHARACTERS_PER_TOKEN = 48;

  private final Tokenizer tokenizer;
  private final PromptEncoder encoder;
  private final PromptTemplate prompt;
  private final boolean conversation;
  private final SpecialTokens specialTokens;
  private final int limit;

  /**
   * @param limit most tokens of a prompt
   */
  PromptBuilder(LanguageModel model, PromptTemplate prompt, TemplateUse use, int limit) {
    this.tokenizer = model.tokenizer();
    this.encoder = new PromptEncoder(tokenizer, model.chatTemplate());
    this.prompt = prompt;
    this.conversation = use == TemplateUse.AUTO && model.chatTemplate() != null;
    this.specialTokens = use == TemplateUse.NONE ? SpecialTokens.PARSE : SpecialTokens.AS_TEXT;
    this.limit = limit;
  }

  /**
   * The prompt for a text.
   *
   * @throws PromptException when not even a part of it fits
   */
  DocumentPrompt build(String text) {
    if (limit < 1) {
      throw new PromptException(
          "generation.maxNewTokens leaves no room for a prompt in the context; lower it, or take a"
              + " model with a longer context");
    }
    return conversation ? conversation(text) : plain(text);
  }

  private DocumentPrompt conversation(String text) {
    FittedPrompt fitted = encoder.encodeFitting(this::messages, text, limit);
    long documentTokens = fitted.keptTokens() + fitted.droppedTokens();
    return new DocumentPrompt(
        fitted.ids(),
        Math.toIntExact(documentTokens),
        fitted.droppedTokens() == 0
            ? List.of()
            : List.of(cut(fitted.keptTokens(), documentTokens, fitted.droppedEstimated())));
  }

  private List<ChatMessage> messages(String text) {
    List<ChatMessage> messages = new ArrayList<>();
    if (!prompt.system().isEmpty()) {
      messages.add(new ChatMessage("system", prompt.system()));
    }
    messages.add(new ChatMessage("user", prompt.beforeDocument() + text + prompt.afterDocument()));
    return messages;
  }

  /** Without a template: the tokens of the text, as many as fit between those of the prompt. */
  private DocumentPrompt plain(String text) {
    int[] before = withBegin(tokenizer.encode(prompt.beforeDocument(), SpecialTokens.AS_TEXT));
    int[] after = tokenizer.encode(prompt.afterDocument(), SpecialTokens.AS_TEXT);
    int room = limit - before.length - after.length;
    if (room < 1) {
      throw new PromptException(
          "the prompt without the document has %d tokens and at most %d fit beside the output;"
                  .formatted(before.length + after.length, limit)
              + " lower generation.maxNewTokens or take a model with a longer context");
    }
    long most = (long) room * CHARACTERS_PER_TOKEN;
    boolean far = text.length() > most;
    int[] tokens = tokenizer.encode(far ? text.substring(0, (int) most) : text, specialTokens);
    long documentTokens =
        far ? Math.round((double) tokens.length / most * text.length()) : tokens.length;
    int kept = Math.min(room, tokens.length);
    int[] all = Arrays.copyOf(before, before.length + kept + after.length);
    // A text that begins with the begin token, read as such, does not get another.
    boolean doubled =
        before.length == 1
            && kept > 0
            && before[0] == tokenizer.beginToken()
            && tokens[0] == tokenizer.beginToken();
    System.arraycopy(tokens, 0, all, before.length, kept);
    System.arraycopy(after, 0, all, before.length + kept, after.length);
    return new DocumentPrompt(
        doubled ? Arrays.copyOfRange(all, 1, all.length) : all,
        Math.toIntExact(documentTokens),
        kept == tokens.length && !far ? List.of() : List.of(cut(kept, documentTokens, far)));
  }

  private int[] withBegin(int[] tokens) {
    if (!tokenizer.addsBeginToken()) {
      return tokens;
    }
    int[] all = new int[tokens.length + 1];
    all[0] = tokenizer.beginToken();
    System.arraycopy(tokens, 0, all, 1, tokens.length);
    return all;
  }

  private static String cut(int kept, long documentTokens, boolean estimated) {
    return "cut to the first %d of %s%d tokens to fit the context"
        .formatted(kept, estimated ? "about " : "", documentTokens);
  }
}
