package dev.kvfreeze.engine;

import java.util.List;

/**
 * The result of a {@link GenerationRequest}.
 *
 * @param tokens generated ids, without the end token
 * @param text their text, cut before a stop string
 * @param notes what the memory did not allow: pages that could not be frozen, a tightened cap
 */
public record Generation(
    String id,
    int[] tokens,
    String text,
    FinishReason finishReason,
    int promptTokens,
    GenerationStatistics statistics,
    List<StepRecord> steps,
    List<String> notes) {}
