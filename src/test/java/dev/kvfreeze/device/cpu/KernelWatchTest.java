package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorType;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("fresh-jvm")
class KernelWatchTest {
  private static final ModelSpec SPEC =
      new ModelSpec(
          "llama",
          8192,
          576,
          1536,
          49152,
          9,
          3,
          64,
          1e-5f,
          1,
          GateActivation.SILU,
          List.of(
              new ModelSpec.LayerSpec(
                  new AttentionShape(9, 3, 64, 0.125f, 0),
                  new Rope(new float[32], Rope.Pairing.INTERLEAVED))),
          new ModelSpec.Features(false, false, false, true));
  private static final PageLayout LAYOUT = new PageLayout(64, 16, KvFormat.BF16);

  private volatile float[] blackHole;

  @Test
  void theStartIsGoodOrNamesWhatIsNotCompiledYet() {
    try (WorkerPool pool = new WorkerPool(1)) {
      KernelWatch watch = new KernelWatch(KernelProvider.vector(), pool, null);
      watch.uses(TensorType.Q4_1);
      assertThat(watch.verdict()).isEqualTo("not checked yet");
      watch.start(SPEC, LAYOUT, 1);
      assertThat(watch.verdict()).startsWith("good");
    }
  }

  @Test
  void decodeStepsThatAllocateAreReportedUntilTheyNoLongerDo() {
    try (WorkerPool pool = new WorkerPool(2)) {
      KernelWatch watch = new KernelWatch(KernelProvider.vector(), pool, null);
      watch.uses(TensorType.Q4_1);
      watch.start(SPEC, LAYOUT, 0);
      watch.judge(1_000_000);
      assertThat(watch.verdict())
          .startsWith("compiled badly: decode allocates")
          .contains("Start the JVM again");
      watch.judge(100);
      assertThat(watch.verdict()).isEqualTo("good");
    }
  }

  @Test
  void aCheckThatPassedIsKeptUntilDecodeStepsSayOtherwise(@TempDir Path cache) throws IOException {
    KeptChecks kept = new KeptChecks(cache, "this JVM", Clock.systemUTC());
    try (WorkerPool pool = new WorkerPool(2)) {
      String first;
      int starts = 0;
      do { // On a busy machine a kernel may not be compiled in time; then nothing is kept.
        first = started(pool, kept).verdict();
        assertThat(cache.toFile().list()).hasSize(first.equals("good") ? 1 : 0);
      } while (!first.equals("good") && ++starts < 30);
      assertThat(first).isEqualTo("good");

      KernelWatch second = started(pool, kept);
      assertThat(second.verdict()).startsWith("good when checked on 20");
      do { // Nor is a check that steps confirm kept before all is compiled.
        second.judge(1_000_000);
        assertThat(second.verdict()).startsWith("compiled badly");
        assertThat(cache).isEmptyDirectory();
        second.judge(100);
        assertThat(second.verdict()).isEqualTo("good");
      } while (cache.toFile().list().length == 0 && ++starts < 60);
      assertThat(started(pool, kept).verdict()).startsWith("good when checked on 20");
      second.judge(1_000_000);
      assertThat(started(pool, kept).verdict()).doesNotContain("when checked");
    }
  }

  @Test
  void aFirstWindowThatAllocatesIsForgivenOnce() {
    try (WorkerPool pool = new WorkerPool(1)) {
      KernelWatch watch = started(pool, null);
      String atFirst = watch.verdict();
      assertThat(atFirst).startsWith("good");
      allocatingProducts(watch, KernelWatch.WARM_PRODUCTS + KernelWatch.WINDOW_PRODUCTS);
      assertThat(watch.verdict()).isEqualTo(atFirst);
      allocatingProducts(watch, KernelWatch.PRODUCTS_TO_SECOND_LOOK + KernelWatch.WINDOW_PRODUCTS);
      assertThat(watch.verdict()).startsWith("compiled badly: decode allocates");
    }
  }

  @Test
  void aShortJobOfGoodStepsIsGood() {
    try (WorkerPool pool = new WorkerPool(1)) {
      KernelWatch watch = started(pool, null);
      for (int i = 0; i < KernelWatch.WARM_PRODUCTS + KernelWatch.WINDOW_PRODUCTS; i++) {
        watch.decodeProduct();
      }
      assertThat(watch.verdict()).isEqualTo("good");
    }
  }

  @Test
  void whatAllocatesWhileAPromptIsReadIsNotCounted() {
    try (WorkerPool pool = new WorkerPool(1)) {
      KernelWatch watch = started(pool, null);
      int products = KernelWatch.WARM_PRODUCTS + KernelWatch.WINDOW_PRODUCTS;
      for (int i = 0; i < products; i++) {
        if (i % 100 == 0) {
          watch.prefillProduct();
          blackHole = new float[100_000_000 / Float.BYTES];
          watch.prefillProduct();
        }
        watch.decodeProduct();
      }
      assertThat(watch.verdict()).isEqualTo("good");
    }
  }

  private void allocatingProducts(KernelWatch watch, int products) {
    for (int i = 0; i < products; i++) {
      blackHole = new float[10_000];
      watch.decodeProduct();
    }
  }

  private static KernelWatch started(WorkerPool pool, KeptChecks kept) {
    // The kernels that engines use here; what the compiler makes of the others is
    // KernelSelfCheckTest's.
    KernelWatch watch = new KernelWatch(KernelProvider.choose("auto"), pool, kept);
    watch.uses(TensorType.Q4_1);
    watch.start(SPEC, LAYOUT, 2);
    return watch;
  }

  @Test
  void scalarKernelsNeedNoCheck() {
    try (WorkerPool pool = new WorkerPool(1)) {
      KernelWatch watch = new KernelWatch(KernelProvider.scalar(), pool, null);
      watch.start(SPEC, LAYOUT, 1);
      watch.judge(1_000_000);
      assertThat(watch.verdict()).startsWith("good");
    }
  }
}
