package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assumptions.assumeThat;

import org.junit.jupiter.api.Test;

class KernelProviderTest {
  /** Slow kernels are never used in silence: not by these tests either. */
  @Test
  void scalarKernelsAreUsedOnlyWhereTheyAreAskedFor() {
    String wanted = System.getProperty(KernelProvider.PROPERTY, "auto");
    assumeThat(wanted).isNotEqualTo("scalar");
    assertThat(KernelProvider.choose().name()).matches("(native|vector)-.*");
  }

  @Test
  void theBestOfThisMachineIsChosen() {
    KernelProvider auto = KernelProvider.choose("auto");
    assertThat(auto.nativeLevel()).isEqualTo(NativeLibrary.level());
    if (NativeLibrary.level() == NativeLevel.NONE) {
      assertThat(NativeLibrary.obstacle()).isNotEmpty();
      assertThat(auto.name()).startsWith("vector-");
    } else {
      assertThat(NativeLibrary.obstacle()).isEmpty();
      assertThat(auto.name()).isEqualTo(KernelProvider.choose("native").name());
    }
  }

  @Test
  void aRequiredProviderThatIsNotThereIsRefusedWithTheReason() {
    assertThat(KernelProvider.choose("vector").nativeLevel()).isEqualTo(NativeLevel.NONE);
    assertThat(KernelProvider.choose("scalar").name()).isEqualTo("scalar");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> KernelProvider.choose("fast"))
        .withMessageContaining("auto, native, vector or scalar");
    if (NativeLibrary.level() == NativeLevel.NONE) {
      assertThatIllegalStateException()
          .isThrownBy(() -> KernelProvider.choose("native"))
          .withMessageContaining(NativeLibrary.obstacle());
    }
    if (NativeLibrary.level() != NativeLevel.AMX) {
      assertThatIllegalStateException()
          .isThrownBy(() -> KernelProvider.natively(NativeLevel.AMX))
          .withMessageContaining("required");
    }
  }

  @Test
  void anUnknownLevelIsRefusedWithTheKnownOnes() {
    String before = System.getProperty(NativeLevel.PROPERTY);
    System.setProperty(NativeLevel.PROPERTY, "sse");
    try {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> KernelProvider.choose("auto"))
          .withMessage("kvfreeze.nativeLevel is avx2, avx512, bf16 or amx, found \"sse\"");
    } finally {
      if (before == null) {
        System.clearProperty(NativeLevel.PROPERTY);
      } else {
        System.setProperty(NativeLevel.PROPERTY, before);
      }
    }
  }

  @Test
  void aDeviceNamesItsProvider() {
    try (CpuDevice device = CpuDevice.open(KernelProvider.choose("auto"), 1)) {
      assertThat(device.info().provider()).isEqualTo(KernelProvider.choose("auto").name());
    }
  }
}
