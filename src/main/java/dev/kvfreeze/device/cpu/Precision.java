package dev.kvfreeze.device.cpu;

/** What a CPU may round of the numbers that it multiplies. Keys and values are as the pages are. */
public enum Precision {
  /** Nothing: float32 throughout. */
  FLOAT32,
  /**
   * Decode steps round activations to 8 bits with a scale for each 32 columns where weights are
   * quantised, as llama.cpp does everywhere; prompts are read in bfloat16 where the processor
   * multiplies matrices of it, with float32 sums, as GPUs do, and with activations rounded to 16
   * bits in the same blocks where it has vectors alone.
   */
  ROUNDED
}
