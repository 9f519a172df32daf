package dev.kvfreeze.freeze;

/** The full cache: every page stays active. The control of every comparison. */
public final class FullPolicy implements HeadwisePolicy {
  static final String NAME = "full";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean mayFreeze() {
    return false;
  }

  @Override
  public HeadPolicy head(CacheShape shape) {
    return (kind, view, mover) -> {};
  }
}
