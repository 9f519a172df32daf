package dev.kvfreeze.spark.plugin;

import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Ends an executor whose device is lost: a process cannot use the same GPU again after a fault.
 * Leaves the tasks a moment to fail with the cause, which Spark then shows beside the exit code.
 */
final class LostDeviceExit {
  /** What the executor ends with: the value of EX_OSERR in sysexits.h. */
  static final int CODE = 71;

  private static final long MOMENT_MILLIS = 3000;
  private static final long SHUTDOWN_MILLIS = 30_000;
  private static final AtomicBoolean BEGUN = new AtomicBoolean();

  private LostDeviceExit() {}

  /** Begins it in the background; once a process. */
  static void begin(String cause) {
    if (!BEGUN.compareAndSet(false, true)) {
      return;
    }
    System.err.println("kvfreeze: the executor ends with code " + CODE + ": " + cause);
    daemon("kvfreeze-exit", MOMENT_MILLIS, () -> System.exit(CODE));
    // A shutdown hook may wait for the lost device for ever.
    daemon("kvfreeze-halt", SHUTDOWN_MILLIS, () -> Runtime.getRuntime().halt(CODE));
  }

  private static void daemon(String name, long afterMillis, Runnable then) {
    Thread thread =
        new Thread(
            () -> {
              try {
                Thread.sleep(afterMillis);
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
              then.run();
            },
            name);
    thread.setDaemon(true);
    thread.start();
  }
}
