package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorType;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("fresh-jvm")
class KernelSelfCheckTest {
  private static final AttentionShape SHAPE = new AttentionShape(9, 3, 64, 0.125f, 0);
  private static final Rope ROPE = new Rope(new float[32], Rope.Pairing.INTERLEAVED);

  private volatile float[] blackHole;

  @Test
  void noKernelBoxesItsVectors() {
    try (KernelCandidates candidates = new KernelCandidates(KernelProvider.vector())) {
      candidates.products(List.of(TensorType.values())).elementwise(GateActivation.SILU, ROPE);
      for (KvFormat format : KvFormat.values()) {
        PageLayout layout = new PageLayout(64, 16, format);
        candidates.attention(SHAPE, layout).sketches(SHAPE, layout, 1).sketches(SHAPE, layout, 2);
      }
      assertThat(candidates.all()).hasSizeGreaterThan(40);
      for (KernelSelfCheck.Candidate candidate : candidates.all()) {
        KernelSelfCheck.Finding finding = KernelSelfCheck.compare(candidate, 20_000_000_000L);
        assertThat(finding.boxed()).as("%s", finding).isFalse();
        assertThat(finding.speedup()).as("%s", finding).isPositive();
      }
    }
  }

  @Test
  void anOperationThatAllocatesIsReported() {
    KernelSelfCheck.Finding finding =
        KernelSelfCheck.measure(
            new KernelSelfCheck.Candidate("boxing", call -> blackHole = new float[1000], null), 1);
    assertThat(finding.boxed()).isTrue();
    assertThat(finding.bytesPerCall()).isGreaterThanOrEqualTo(4000);
    assertThat(finding.toString()).startsWith("boxing (").endsWith("bytes allocated a call)");
  }

  @Test
  void theTimeForAllIsKept() {
    KernelSelfCheck.Candidate endless =
        new KernelSelfCheck.Candidate("boxing", call -> blackHole = new float[1000], null);
    long begin = System.nanoTime();
    List<KernelSelfCheck.Finding> findings =
        KernelSelfCheck.run(List.of(endless, endless, endless), 60);
    assertThat(findings).hasSize(3).allMatch(KernelSelfCheck.Finding::boxed);
    assertThat(System.nanoTime() - begin).isLessThan(5_000_000_000L);
  }
}
