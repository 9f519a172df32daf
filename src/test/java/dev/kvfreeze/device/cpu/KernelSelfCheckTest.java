package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.model.tensor.TensorType;
import java.util.List;
import org.junit.jupiter.api.Test;

class KernelSelfCheckTest {
  @Test
  void noMatrixKernelBoxesItsVectors() {
    List<KernelSelfCheck.Finding> findings =
        KernelSelfCheck.run(KernelProvider.vector(), List.of(TensorType.values()), 20_000);
    assertThat(findings).hasSizeGreaterThan(30);
    for (KernelSelfCheck.Finding finding : findings) {
      assertThat(finding.boxed()).as("%s", finding).isFalse();
    }
  }

  @Test
  void aKernelThatAllocatesIsReported() {
    float[][] kept = new float[1][];
    KernelSelfCheck.Finding finding =
        KernelSelfCheck.measure(
            new KernelSelfCheck.Candidate("boxing", call -> kept[0] = new float[1000], null), 1);
    assertThat(finding.boxed()).isTrue();
    assertThat(finding.bytesPerCall()).isGreaterThanOrEqualTo(4000);
  }

  @Test
  void scalarKernelsNeedNoCheck() {
    assertThat(KernelSelfCheck.run(KernelProvider.scalar(), List.of(TensorType.Q4_1), 1)).isEmpty();
  }
}
