package dev.kvfreeze.model;

/** The non-linearity of a gated feed-forward layer. */
public enum GateActivation {
  SILU,
  /** The tanh approximation of GELU. */
  GELU_TANH
}
