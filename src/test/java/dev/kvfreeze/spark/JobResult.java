package dev.kvfreeze.spark;

/** What a job left: its exit code and what it printed. */
record JobResult(int exitCode, String output, String errors) {}
