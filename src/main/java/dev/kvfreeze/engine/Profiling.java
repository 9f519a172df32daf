package dev.kvfreeze.engine;

/** Whether an engine keeps the time of each part of its forward passes. */
public enum Profiling {
  OFF,
  /** The memory's bandwidth is measured as well, when the engine is opened. */
  ON
}
