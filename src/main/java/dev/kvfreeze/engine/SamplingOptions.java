package dev.kvfreeze.engine;

/**
 * How the next token is drawn. Filters apply in the order repetition penalty, temperature, top-k,
 * top-p, min-p.
 *
 * @param temperature 0 for greedy
 * @param topK the k most probable tokens, or 0 for all
 * @param topP the smallest set of tokens whose probability reaches this, 1 for all
 * @param minP tokens at least this times as probable as the best, 0 for all
 * @param repetitionPenalty divides positive and multiplies negative logits of tokens already in the
 *     output (Keskar et al., arXiv 1909.05858), 1 for none
 * @param repetitionWindow newest generated tokens the penalty looks at
 * @param seed of this document's random numbers
 */
public record SamplingOptions(
    float temperature,
    int topK,
    float topP,
    float minP,
    float repetitionPenalty,
    int repetitionWindow,
    long seed) {
  public static final SamplingOptions GREEDY = new SamplingOptions(0, 0, 1, 0, 1, 256, 0);
}
