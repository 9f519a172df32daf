package dev.kvfreeze.device;

/**
 * What the engine wants of one row of logits at every step.
 *
 * @param argmax the first index of the largest logit
 * @param max the largest logit
 * @param logSumExp natural logarithm of the sum of exponentials
 * @param entropy Shannon entropy of the softmax in nats
 */
public record LogitStatistics(int argmax, float max, float logSumExp, float entropy) {}
