package dev.kvfreeze.spark.conf;

/**
 * How many documents may fail before the job stops.
 *
 * @param documents most failed documents; {@code Long.MAX_VALUE} for no limit by number
 * @param share most failed documents as a share of those to do, 0 to 1
 */
public record ErrorBudget(long documents, double share) {
  static ErrorBudget parse(String text) {
    if (text.equals("none")) {
      return new ErrorBudget(Long.MAX_VALUE, 1);
    }
    if (text.endsWith("%")) {
      double share = Double.parseDouble(text.substring(0, text.length() - 1)) / 100;
      KnobTypes.require(share >= 0 && share <= 1);
      return new ErrorBudget(Long.MAX_VALUE, share);
    }
    long documents = Long.parseLong(text);
    KnobTypes.require(documents >= 0);
    return new ErrorBudget(documents, 1);
  }

  /** Whether this many failures among this many documents are too many. */
  public boolean exceeded(long failed, long total) {
    return failed > documents || failed > share * total;
  }
}
