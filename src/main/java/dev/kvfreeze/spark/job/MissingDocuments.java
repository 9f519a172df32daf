package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.input.InputDocument;
import java.util.HashSet;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Set;
import scala.Tuple2;

/** The documents of a task that are still to be done, each once. */
final class MissingDocuments implements Iterator<InputDocument> {
  private final Iterator<Tuple2<TaskPlace, InputDocument>> documents;
  private final Set<String> seen;
  private final Set<String> planned;
  private InputDocument next;

  MissingDocuments(
      Iterator<Tuple2<TaskPlace, InputDocument>> documents, Set<String> done, Set<String> planned) {
    this.documents = documents;
    this.seen = new HashSet<>(done);
    this.planned = planned;
  }

  @Override
  public boolean hasNext() {
    while (next == null && documents.hasNext()) {
      InputDocument document = documents.next()._2();
      if (planned.contains(document.hash()) && seen.add(document.hash())) {
        next = document;
      }
    }
    return next != null;
  }

  @Override
  public InputDocument next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    InputDocument document = next;
    next = null;
    return document;
  }
}
