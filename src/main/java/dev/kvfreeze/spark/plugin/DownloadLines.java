package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.model.store.DownloadProgress;

/** A line on standard error every few seconds of a download. For one download. */
final class DownloadLines implements DownloadProgress {
  private static final long EVERY_NANOS = 5_000_000_000L;

  private long last = System.nanoTime();

  @Override
  public void report(String file, long doneBytes, long totalBytes) {
    long now = System.nanoTime();
    if (now - last >= EVERY_NANOS) {
      last = now;
      System.err.printf("downloading %s: %,d of %,d MB%n", file, doneBytes >> 20, totalBytes >> 20);
    }
  }
}
