package dev.kvfreeze.device;

/**
 * What a block of a transformer begins with: the residual stream, to which the output of the block
 * before is still to be added, and its norm.
 *
 * @param residual changed by the addition
 * @param addend output of the block before, or null; unspecified afterwards
 * @param addendNorm gain by which the addend is normed first, or null
 * @param norm gain of the norm
 * @param normed out: the normed sum
 */
public record BlockInput(
    Activations residual,
    Activations addend,
    Weight addendNorm,
    Weight norm,
    float epsilon,
    Activations normed) {}
