package dev.kvfreeze.spark.job;

import java.io.Serializable;

/** What every row of a run says about it. */
record RunIdentity(
    String runId,
    String model,
    String modelHash,
    String policy,
    String promptName,
    String fingerprint)
    implements Serializable {}
