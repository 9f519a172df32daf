package dev.kvfreeze.spark.job;

import java.util.List;

/**
 * A document's prompt.
 *
 * @param documentTokens of the whole document, estimated when it was cut far
 * @param notes what was done to make it fit
 */
record DocumentPrompt(int[] tokens, int documentTokens, List<String> notes) {}
