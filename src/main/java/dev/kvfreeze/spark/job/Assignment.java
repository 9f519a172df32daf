package dev.kvfreeze.spark.job;

import java.io.Serializable;
import java.util.List;

/**
 * A document that is to be done.
 *
 * @param bin the task that does it
 * @param rank its place in the task, the longest first
 * @param documentId its id in the results
 * @param attempt 1 for the first
 * @param cost predicted, in tokens of prompt
 * @param notes for its row
 */
record Assignment(int bin, int rank, String documentId, int attempt, long cost, List<String> notes)
    implements Serializable {}
