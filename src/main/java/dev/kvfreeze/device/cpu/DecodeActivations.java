package dev.kvfreeze.device.cpu;

/** What a decode step multiplies quantised weights by; prefill is always exact. */
public enum DecodeActivations {
  /** Exact float32. */
  FLOAT32,
  /** Rounded to 8 bits with a scale for each 32 columns, as llama.cpp does everywhere. */
  INT8
}
