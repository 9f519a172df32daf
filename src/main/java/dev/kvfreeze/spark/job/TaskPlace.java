package dev.kvfreeze.spark.job;

import java.io.Serializable;
import java.util.Comparator;

/**
 * Where a document goes in the shuffle.
 *
 * @param bin the task
 * @param rank within the task
 */
record TaskPlace(int bin, int rank) implements Comparable<TaskPlace>, Serializable {
  private static final Comparator<TaskPlace> ORDER =
      Comparator.comparingInt(TaskPlace::bin).thenComparingInt(TaskPlace::rank);

  @Override
  public int compareTo(TaskPlace other) {
    return ORDER.compare(this, other);
  }
}
