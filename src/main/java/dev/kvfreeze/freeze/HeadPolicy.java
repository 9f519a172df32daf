package dev.kvfreeze.freeze;

/** The policy's state for one KV head of one layer of one sequence; used by one thread. */
public interface HeadPolicy {
  /** Looks at a head after a forward step and freezes or thaws pages. */
  void step(StepKind kind, HeadView view, PageMover mover);

  /** Between two steps: thaws what a recovery of this level brings back. */
  default void recover(RecoveryLevel level, HeadView view, PageMover mover) {}

  /** The sequence was rewound: what is remembered of pages from {@code pageCount} on is void. */
  default void truncate(int pageCount) {}
}
