package dev.kvfreeze.freeze;

/**
 * A policy's state for one sequence; heads are numbered {@code layer * kvHeads + head}. Used by one
 * thread. After a forward step it is called in this order: {@link #observe} for every head, {@link
 * #balance} once, {@link #step} for every head.
 */
public interface SequencePolicy {
  /**
   * Whether a sequence of so many tokens is so far from freezing anything that it needs no
   * attention measured, no sketches, no backups and no decision.
   */
  default boolean sleeps(int tokens) {
    return false;
  }

  /** Whether a prompt of so many tokens no longer fits and must be read with passing pages. */
  default boolean streams(int tokens) {
    return false;
  }

  /**
   * Whether the sketches of a layer shall be scored before the attention of this step: by its one
   * query in a decode step, by some of a chunk's queries while a prompt is read.
   */
  default boolean wantsEstimates(int layer, StepKind kind) {
    return false;
  }

  /** Before the sketches of a head are scored: which pages' are wanted. */
  default void ask(int head, StepKind kind, HeadView view, PageQuestions questions) {
    questions.askAll();
  }

  /** Before the attention of a step, with {@link HeadView#estimate} of a query: may thaw. */
  default void recall(int head, HeadView view, PageMover mover) {}

  /** Sees the attention of a step that was measured. While a prompt streams, all pages had part. */
  default void observe(int head, StepKind kind, HeadView view) {}

  /** Sees that all heads were observed. */
  default void balance(StepKind kind, HeadView view) {}

  /** Freezes or thaws pages of a head. */
  void step(int head, StepKind kind, HeadView view, PageMover mover);

  /** Between two steps: thaws what a recovery of this level brings back. */
  default void recover(int head, RecoveryLevel level, HeadView view, PageMover mover) {}

  /** The sequence was rewound: what is remembered of pages from {@code pageCount} on is void. */
  default void truncate(int pageCount) {}
}
