package dev.kvfreeze.engine;

import java.util.List;

/**
 * One document's work for the engine.
 *
 * @param id names the document in messages
 * @param promptTokens the whole prompt, begin token included where the model wants one
 * @param maxNewTokens most tokens to generate
 * @param sampling how to draw them
 * @param stopStrings texts that end the generation; what follows the first is cut with it
 * @param stepInterval a step record every so many generated tokens; 0 for none
 * @param contextTokens leading tokens of the prompt that are read, and frozen, before the rest (the
 *     question) is known: chunks stop exactly there; 0 when the prompt is one piece
 */
public record GenerationRequest(
    String id,
    int[] promptTokens,
    int maxNewTokens,
    SamplingOptions sampling,
    List<String> stopStrings,
    int stepInterval,
    int contextTokens) {
  /** A prompt in one piece. */
  public GenerationRequest(
      String id,
      int[] promptTokens,
      int maxNewTokens,
      SamplingOptions sampling,
      List<String> stopStrings,
      int stepInterval) {
    this(id, promptTokens, maxNewTokens, sampling, stopStrings, stepInterval, 0);
  }
}
