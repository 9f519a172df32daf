package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.input.InputDocument;
import java.io.Serializable;

/**
 * What the driver knows of a document.
 *
 * @param hash its identity
 * @param characters of its text
 * @param usable whether it goes to the model at all
 */
record DocumentSummary(String hash, String id, int characters, boolean usable)
    implements Serializable {

  static DocumentSummary of(InputDocument document) {
    return new DocumentSummary(
        document.hash(), document.id(), document.text().length(), document.problem() == null);
  }
}
