package dev.kvfreeze.model.store;

import java.io.IOException;
import java.io.InputStream;

/** Closes a stream on which nothing arrives for a while, so that a read on it ends. */
final class StallGuard implements AutoCloseable {
  private final Thread watcher;
  private volatile long lastMillis = System.currentTimeMillis();

  StallGuard(InputStream stream, long limitMillis) {
    watcher = new Thread(() -> watch(stream, limitMillis), "kvfreeze-download-guard");
    watcher.setDaemon(true);
    watcher.start();
  }

  /** Something arrived. */
  void progressed() {
    lastMillis = System.currentTimeMillis();
  }

  private void watch(InputStream stream, long limitMillis) {
    try {
      long left = limitMillis;
      while (left > 0) {
        Thread.sleep(left);
        left = lastMillis + limitMillis - System.currentTimeMillis();
      }
      stream.close();
    } catch (InterruptedException | IOException e) {
      // Closed: the download is over, or the connection is.
    }
  }

  @Override
  public void close() {
    watcher.interrupt();
  }
}
