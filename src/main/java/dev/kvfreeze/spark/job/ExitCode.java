package dev.kvfreeze.spark.job;

/** How a job ends, for its caller (cron, Airflow). */
public enum ExitCode {
  /** All documents have a good row. */
  OK(0),
  /** The job failed: model, engine, cluster, storage. What was published stays. */
  FAILED(1),
  /** Wrong options, settings, input or output: nothing was begun. */
  USAGE(2),
  /** The job is done; some documents failed and are rows with their error. */
  SOME_FAILED(3),
  /** Stopped because more documents failed than {@code job.errorBudget} allows. */
  BUDGET(4);

  private final int code;

  ExitCode(int code) {
    this.code = code;
  }

  public int code() {
    return code;
  }
}
