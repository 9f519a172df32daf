package dev.kvfreeze.freeze;

/** A policy that decides for each head by itself. */
public interface HeadwisePolicy extends FreezePolicy {
  /** Fresh state for one KV head of one layer of one sequence. */
  HeadPolicy head(CacheShape shape);

  @Override
  default SequencePolicy sequence(CacheShape shape) {
    HeadPolicy[] heads = new HeadPolicy[shape.heads()];
    for (int i = 0; i < heads.length; i++) {
      heads[i] = head(shape);
    }
    return new SequencePolicy() {
      @Override
      public void step(int head, StepKind kind, HeadView view, PageMover mover) {
        heads[head].step(kind, view, mover);
      }

      @Override
      public void recover(int head, RecoveryLevel level, HeadView view, PageMover mover) {
        heads[head].recover(level, view, mover);
      }

      @Override
      public void truncate(int pageCount) {
        for (HeadPolicy head : heads) {
          head.truncate(pageCount);
        }
      }
    };
  }
}
