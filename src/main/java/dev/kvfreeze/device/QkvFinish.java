package dev.kvfreeze.device;

import dev.kvfreeze.model.Rope;

/**
 * What a layer does with queries, keys and values after their products. What a model does not have
 * is null.
 *
 * @param queryNorm gain of the norm of each head, as {@code keyNorm}
 */
public record QkvFinish(
    Weight queryBias,
    Weight keyBias,
    Weight valueBias,
    Weight queryNorm,
    Weight keyNorm,
    float epsilon,
    Rope rope) {}
