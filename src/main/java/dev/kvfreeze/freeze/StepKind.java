package dev.kvfreeze.freeze;

/** What the forward step was. */
public enum StepKind {
  /** A chunk of a prompt that goes on. */
  PREFILL,
  /** The last chunk of a context whose question is not known yet. */
  CONTEXT,
  /** The last chunk of a prompt: its queries know what is asked. */
  QUESTION,
  /** One token of the output. */
  DECODE
}
