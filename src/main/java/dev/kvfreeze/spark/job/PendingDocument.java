package dev.kvfreeze.spark.job;

import java.util.List;

/**
 * A document on its way through a task.
 *
 * @param prompt or null before it was made
 * @param notes for its row
 */
record PendingDocument(
    String hash, Assignment assignment, DocumentPrompt prompt, List<String> notes) {}
