package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class CapShareTest {
  private static final CacheShape SHAPE = new CacheShape(4, 2, 16, 4096, 18);
  private static final ExpectedLengths LENGTHS = new ExpectedLengths(8000, 192, 256);

  private static FreezePolicy adaptive(String cap) {
    AdaptiveOptions options = AdaptiveOptions.defaults().withCap(FreezeCap.parse(cap));
    return FreezePolicies.create("adaptive", PolicyOptions.defaults().withAdaptive(options));
  }

  @Test
  void aShareIsOfWhatTheCapAllows() {
    CapShare share = CapShare.whole();
    FreezeCap cap = new FreezeCap.Shared(FreezeCap.parse("1000"), share);
    assertThat(cap.activeTokens(5000, SHAPE)).isEqualTo(1000);
    assertThat(share.tighten()).isTrue();
    assertThat(cap.activeTokens(5000, SHAPE)).isCloseTo(800, within(1e-9));
    share.relax();
    assertThat(cap.activeTokens(5000, SHAPE)).isEqualTo(1000);
  }

  @Test
  void tighteningEnds() {
    CapShare share = CapShare.whole();
    int steps = 0;
    while (share.tighten()) {
      steps++;
    }
    assertThat(steps).isEqualTo(12);
    assertThat(share.value()).isGreaterThanOrEqualTo(CapShare.LEAST);
  }

  @Test
  void theLargestShareThatFitsIsFound() {
    FreezePolicy policy = adaptive("3000");
    assertThat(policy.peakActiveTokens(LENGTHS, SHAPE)).isEqualTo(3032);
    assertThat(peak(policy, 5000)).isEqualTo(3032);
    assertThat(peak(policy, 2500)).isEqualTo(2432);
    // One of four layers passes whole while the prompt is read: that much must fit.
    assertThat(peak(policy, 2036)).isEqualTo(2036);
    assertThat(CapShare.fitting(policy, p -> p.peakActiveTokens(LENGTHS, SHAPE) <= 2035)).isNull();
  }

  private static int peak(FreezePolicy policy, int most) {
    CapShare share = CapShare.fitting(policy, p -> p.peakActiveTokens(LENGTHS, SHAPE) <= most);
    return policy.sharing(share).peakActiveTokens(LENGTHS, SHAPE);
  }

  @Test
  void withoutACapThereIsNothingToTighten() {
    for (FreezePolicy policy : new FreezePolicy[] {adaptive("none"), new FullPolicy()}) {
      assertThat(policy.tightens()).isFalse();
      assertThat(policy.sharing(CapShare.whole())).isSameAs(policy);
      assertThat(CapShare.fitting(policy, p -> false)).isNull();
      assertThat(CapShare.fitting(policy, p -> true)).isNotNull();
    }
  }
}
