package dev.kvfreeze.freeze;

/** What the forward step was. */
public enum StepKind {
  PREFILL,
  DECODE
}
