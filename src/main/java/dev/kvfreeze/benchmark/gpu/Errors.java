package dev.kvfreeze.benchmark.gpu;

/** How far two results are apart. */
final class Errors {
  private Errors() {}

  /** Root mean square of the differences over that of the second. */
  static double relative(float[][] found, float[][] expected) {
    double difference = 0;
    double size = 1e-30;
    for (int r = 0; r < expected.length; r++) {
      for (int c = 0; c < expected[r].length; c++) {
        difference += Math.pow((double) found[r][c] - expected[r][c], 2);
        size += Math.pow(expected[r][c], 2);
      }
    }
    return Math.sqrt(difference / size);
  }
}
