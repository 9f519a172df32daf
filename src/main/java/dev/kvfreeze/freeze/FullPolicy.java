package dev.kvfreeze.freeze;

/** The control: everything stays active. */
final class FullPolicy implements FreezePolicy {
  @Override
  public String name() {
    return "full";
  }

  @Override
  public boolean mayFreeze() {
    return false;
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return false;
  }

  @Override
  public HeadPolicy head() {
    return (kind, view, mover) -> {};
  }

  @Override
  public int peakActiveTokens(int promptTokens, int outputTokens, int chunkTokens) {
    return promptTokens + outputTokens;
  }
}
