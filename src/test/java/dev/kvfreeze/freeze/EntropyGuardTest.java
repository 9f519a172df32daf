package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class EntropyGuardTest {
  private static final GuardOptions OPTIONS =
      new GuardOptions(GuardOptions.Mode.ENTROPY, 3, 2, 16, 8, 2, 0);

  @Test
  void climbsTheLadderWhileSpikesLastAndRewindsABoundedNumberOfTimes() {
    EntropyGuard guard = new EntropyGuard(OPTIONS, 0);
    calm(guard, 20);
    List<RecoveryLevel> levels = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      RecoveryLevel level = guard.observe(6);
      if (level != RecoveryLevel.NONE) {
        levels.add(level);
      }
    }
    assertThat(levels)
        .containsExactly(
            RecoveryLevel.SOFT_RESET,
            RecoveryLevel.WINDOW_RESET,
            RecoveryLevel.FULL_RESET,
            RecoveryLevel.REWALK,
            RecoveryLevel.REWALK);
  }

  @Test
  void givesEachRecoveryAStepToShowItsEffect() {
    EntropyGuard guard = new EntropyGuard(OPTIONS, 0);
    calm(guard, 20);
    assertThat(guard.observe(6)).isEqualTo(RecoveryLevel.SOFT_RESET);
    assertThat(guard.observe(6)).isEqualTo(RecoveryLevel.NONE);
    assertThat(guard.observe(6)).isEqualTo(RecoveryLevel.WINDOW_RESET);
  }

  @Test
  void fallsBackAfterCalmSteps() {
    EntropyGuard guard = new EntropyGuard(OPTIONS, 0);
    calm(guard, 20);
    assertThat(guard.observe(6)).isEqualTo(RecoveryLevel.SOFT_RESET);
    calm(guard, 8);
    assertThat(guard.observe(6)).isEqualTo(RecoveryLevel.SOFT_RESET);
    calm(guard, 3);
    assertThat(guard.observe(6)).isEqualTo(RecoveryLevel.WINDOW_RESET);
  }

  @Test
  void highEntropyThatIsUsualIsNoSpikeAndNeitherIsARiseBelowTheThreshold() {
    EntropyGuard guard =
        new EntropyGuard(new GuardOptions(GuardOptions.Mode.ENTROPY, 3, 3, 16, 8, 2, 0), 0);
    for (int i = 0; i < 200; i++) {
      assertThat(guard.observe(4 + (i % 7) * 0.1)).isEqualTo(RecoveryLevel.NONE);
    }
    EntropyGuard low = new EntropyGuard(OPTIONS, 0);
    calm(low, 20);
    assertThat(low.observe(2.9)).isEqualTo(RecoveryLevel.NONE);
  }

  @Test
  void offNeverRecoversAndRandomKeepsToItsRate() {
    EntropyGuard off = new EntropyGuard(GuardOptions.OFF, 0);
    calm(off, 20);
    assertThat(off.observe(20)).isEqualTo(RecoveryLevel.NONE);
    EntropyGuard random =
        new EntropyGuard(new GuardOptions(GuardOptions.Mode.RANDOM, 3, 2, 16, 8, 1000, 0.05), 7);
    int recoveries = 0;
    for (int i = 0; i < 4000; i++) {
      recoveries += random.observe(1) == RecoveryLevel.NONE ? 0 : 1;
    }
    assertThat(recoveries).isBetween(140, 260);
  }

  @Test
  void optionsNameWhatIsWrong() {
    assertThatThrownBy(
            () -> new GuardOptions(GuardOptions.Mode.ENTROPY, Double.NaN, 2, 16, 8, 2, 0))
        .hasMessageContaining("guard threshold");
    assertThatThrownBy(() -> new GuardOptions(GuardOptions.Mode.ENTROPY, 3, 2, 16, 0, 2, 0))
        .hasMessageContaining("guard rewind");
  }

  private static void calm(EntropyGuard guard, int steps) {
    for (int i = 0; i < steps; i++) {
      assertThat(guard.observe(1 + (i % 3) * 0.2)).isEqualTo(RecoveryLevel.NONE);
    }
  }
}
