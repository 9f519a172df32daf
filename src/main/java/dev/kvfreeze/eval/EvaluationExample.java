package dev.kvfreeze.eval;

import java.util.List;

/**
 * A question over a context.
 *
 * @param context what is read, and frozen, before the question is known
 * @param question what the user asks afterwards
 * @param answerPrefix the beginning of the answer, given
 * @param answers what the answer must contain
 */
public record EvaluationExample(
    String context, String question, String answerPrefix, List<String> answers) {}
