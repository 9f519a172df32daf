package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.output.EarlierResults;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;

/**
 * Which documents are to be done, and by which task: longest processing time first (Graham, 1969),
 * each to the task with the least so far.
 *
 * @param assignments by document hash
 * @param bins tasks
 * @param inputDocuments different documents of the input
 * @param repeatedRows rows that are the same document as an earlier row
 * @param doneBefore documents with a good row already
 * @param retried documents that failed before and are tried again
 * @param totalCost of all assignments
 */
record WorkPlan(
    Map<String, Assignment> assignments,
    int bins,
    long inputDocuments,
    long repeatedRows,
    long doneBefore,
    long retried,
    long totalCost) {
  private static final int CHARACTERS_PER_TOKEN = 4;

  /** Decoding a token takes about as long as reading this many. */
  private static final int DECODE_FACTOR = 8;

  /** Tasks are taken in waves, so that an executor that is faster does more of them. */
  private static final int MOST_WAVES = 8;

  /**
   * What bounds the plan.
   *
   * @param slots tasks that run at once
   * @param maxBatch documents an executor generates together
   * @param contextLimit tokens
   * @param maxNewTokens tokens
   */
  record Capacity(int slots, int maxBatch, int contextLimit, int maxNewTokens) {}

  static WorkPlan of(List<DocumentSummary> input, EarlierResults earlier, Capacity capacity) {
    Map<String, DocumentSummary> documents = new LinkedHashMap<>();
    input.forEach(document -> documents.putIfAbsent(document.hash(), document));
    Map<String, List<DocumentSummary>> byId = new HashMap<>();
    documents.values().forEach(d -> byId.computeIfAbsent(d.id(), id -> new ArrayList<>(1)).add(d));

    List<DocumentSummary> missing = new ArrayList<>();
    long retried = 0;
    for (DocumentSummary document : documents.values()) {
      if (!earlier.done(document.hash())) {
        missing.add(document);
        retried += earlier.attempts(document.hash()) > 0 ? 1 : 0;
      }
    }
    missing.sort(
        Comparator.comparingLong((DocumentSummary d) -> cost(d, capacity))
            .reversed()
            .thenComparing(DocumentSummary::hash));

    int bins = bins(missing.size(), capacity);
    PriorityQueue<Bin> queue = new PriorityQueue<>();
    for (int i = 0; i < bins; i++) {
      queue.add(new Bin(i));
    }
    Map<String, Assignment> assignments = new HashMap<>();
    long total = 0;
    for (DocumentSummary document : missing) {
      Bin bin = queue.remove();
      long cost = cost(document, capacity);
      List<DocumentSummary> sameId = byId.get(document.id());
      boolean first =
          sameId.stream().noneMatch(other -> other.hash().compareTo(document.hash()) < 0);
      assignments.put(
          document.hash(),
          new Assignment(
              bin.number,
              bin.documents++,
              first ? document.id() : document.id() + "#" + document.hash().substring(0, 8),
              earlier.attempts(document.hash()) + 1,
              cost,
              sameId.size() == 1
                  ? List.of()
                  : List.of(
                      "%d documents of the input have the id %s"
                          .formatted(sameId.size(), document.id()))));
      bin.cost += cost;
      total += cost;
      queue.add(bin);
    }
    return new WorkPlan(
        assignments,
        bins,
        documents.size(),
        input.size() - documents.size(),
        documents.size() - missing.size(),
        retried,
        total);
  }

  private static int bins(int documents, Capacity capacity) {
    int waves = documents / Math.max(1, 4 * capacity.maxBatch() * capacity.slots());
    int bins = capacity.slots() * Math.max(1, Math.min(MOST_WAVES, waves));
    return Math.max(1, Math.min(documents, bins));
  }

  private static long cost(DocumentSummary document, Capacity capacity) {
    if (!document.usable()) {
      return 0;
    }
    int prompt =
        Math.min(document.characters() / CHARACTERS_PER_TOKEN + 1, capacity.contextLimit());
    return prompt + (long) DECODE_FACTOR * capacity.maxNewTokens();
  }

  private static final class Bin implements Comparable<Bin> {
    private final int number;
    private int documents;
    private long cost;

    Bin(int number) {
      this.number = number;
    }

    @Override
    public int compareTo(Bin other) {
      int byCost = Long.compare(cost, other.cost);
      // By documents next: those without a cost are spread too.
      int byDocuments = byCost != 0 ? byCost : Integer.compare(documents, other.documents);
      return byDocuments != 0 ? byDocuments : Integer.compare(number, other.number);
    }
  }
}
