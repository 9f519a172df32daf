package dev.kvfreeze.device;

/**
 * Rows of queries, keys and values as their products left them.
 *
 * @param rows how many
 * @param positions of the rows in their sequences
 */
public record QkvRows(
    Activations query, Activations key, Activations value, int rows, int[] positions) {}
