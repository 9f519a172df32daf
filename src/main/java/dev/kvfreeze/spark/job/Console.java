package dev.kvfreeze.spark.job;

import java.io.PrintStream;
import java.util.Locale;

/** What a job says to the person who started it: lines on standard error, the result on output. */
public final class Console {
  private final PrintStream progress;
  private final PrintStream result;

  public Console(PrintStream progress, PrintStream result) {
    this.progress = progress;
    this.result = result;
  }

  /** A line about what is going on. */
  public void say(String line) {
    progress.println(line);
    progress.flush();
  }

  /** A line of the result. */
  public void result(String line) {
    result.println(line);
    result.flush();
  }

  /** Bytes with a binary unit, as {@code 1.5 GB}. */
  static String bytes(double bytes) {
    String[] units = {"B", "KB", "MB", "GB", "TB"};
    int unit = 0;
    double value = bytes;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return String.format(
        Locale.ROOT, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  }

  /** A time as {@code 4:05} or {@code 1:04:05}. */
  public static String time(long seconds) {
    return seconds < 3600
        ? String.format(Locale.ROOT, "%d:%02d", seconds / 60, seconds % 60)
        : String.format(
            Locale.ROOT, "%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }

  /** A rate or count: whole above 100, else with one decimal. */
  static String number(double value) {
    return String.format(Locale.ROOT, value >= 100 ? "%,.0f" : "%.1f", value);
  }
}
