package dev.kvfreeze.spark.job;

import java.util.List;

/**
 * A document on its way through a task.
 *
 * @param documentTokens of the whole document, or null before it was tokenized
 * @param notes for its row
 */
record PendingDocument(
    String hash, Assignment assignment, Integer documentTokens, List<String> notes) {}
