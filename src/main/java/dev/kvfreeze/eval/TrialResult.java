package dev.kvfreeze.eval;

import dev.kvfreeze.engine.GenerationStatistics;

/**
 * What one policy did with one example.
 *
 * @param length tokens asked for
 * @param promptTokens tokens there were
 * @param score 0 to 100; NaN where nothing is scored
 * @param reference a second score, NaN where there is none: of a summary with its text's lead
 * @param agreement share of output tokens that are the full cache's, position by position
 * @param perplexity of the fed text, NaN for tasks that generate
 * @param divergence mean Kullback-Leibler divergence from the full cache's distributions in nats,
 *     NaN for tasks that generate
 * @param output generated text
 */
public record TrialResult(
    String task,
    String family,
    int length,
    long seed,
    String policy,
    int promptTokens,
    double score,
    double reference,
    double agreement,
    double perplexity,
    double divergence,
    GenerationStatistics statistics,
    String output) {}
