package dev.kvfreeze.eval;

import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.chat.ChatMessage;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.util.Arrays;
import java.util.List;

/**
 * An example's tokens: the context with what the chat template puts before it, and the question
 * with what comes after. Base models get the plain text.
 *
 * @param tokens of the whole prompt
 * @param contextTokens of them before the question
 */
public record QuestionPrompt(int[] tokens, int contextTokens) {
  private static final String SEAM = "[[kvfreeze: here the question begins]]";

  /** Encodes context and question apart, as a service would that reads the context first. */
  public static QuestionPrompt of(LanguageModel model, EvaluationExample example) {
    String user = example.context() + SEAM + example.question();
    String text =
        model.chatTemplate() == null
            ? user + "\n" + example.answerPrefix()
            : model.chatTemplate().render(List.of(new ChatMessage("user", user)))
                + example.answerPrefix();
    int seam = text.indexOf(SEAM);
    Tokenizer tokenizer = model.tokenizer();
    int[] context = tokenizer.encode(text.substring(0, seam), SpecialTokens.PARSE);
    int[] question = tokenizer.encode(text.substring(seam + SEAM.length()), SpecialTokens.PARSE);
    if (tokenizer.addsBeginToken() && context[0] != tokenizer.beginToken()) {
      int[] begun = new int[context.length + 1];
      begun[0] = tokenizer.beginToken();
      System.arraycopy(context, 0, begun, 1, context.length);
      context = begun;
    }
    int[] all = Arrays.copyOf(context, context.length + question.length);
    System.arraycopy(question, 0, all, context.length, question.length);
    return new QuestionPrompt(all, context.length);
  }

  /** The context's tokens. */
  public int[] context() {
    return Arrays.copyOf(tokens, contextTokens);
  }
}
