package dev.kvfreeze.model.store;

/** Told how far a download is, after each chunk, by the thread that downloads. */
@FunctionalInterface
public interface DownloadProgress {
  /** Tells no one. */
  DownloadProgress NONE = (file, doneBytes, totalBytes) -> {};

  /**
   * @param file name of the file
   * @param doneBytes what is on disk, earlier attempts included
   * @param totalBytes size of the whole file
   */
  void report(String file, long doneBytes, long totalBytes);
}
