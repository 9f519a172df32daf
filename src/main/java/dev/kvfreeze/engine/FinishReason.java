package dev.kvfreeze.engine;

/** Why a generation ended. */
public enum FinishReason {
  /** An end token. */
  STOP,
  /** A stop string. */
  STOP_STRING,
  /** The most new tokens were generated. */
  LENGTH,
  /** The model's context was full. */
  CONTEXT
}
