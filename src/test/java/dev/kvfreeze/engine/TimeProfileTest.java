package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.PartTimes.Part;
import dev.kvfreeze.device.cpu.KernelCheck;
import dev.kvfreeze.device.cpu.Precision;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class TimeProfileTest {
  private static final int PROMPT = 700;
  private static final int NEW_TOKENS = 12;

  @Test
  void aProfiledEngineGeneratesTheSameAndAccountsForAllItsTokens() throws Exception {
    try (LanguageModel model = RealModels.smolLm2()) {
      List<int[]> plain = new ArrayList<>();
      try (Engine engine = open(model, Profiling.OFF)) {
        generate(engine, model, 1).forEach(generation -> plain.add(generation.tokens()));
        assertThat(engine.profile()).isEmpty();
      }
      try (Engine engine = open(model, Profiling.ON)) {
        assertThat(generate(engine, model, 1).get(0).tokens()).isEqualTo(plain.get(0));
        TimeProfile first = engine.profile().orElseThrow();
        assertThat(first.engines()).isEqualTo(1);
        assertThat(first.bandwidth()).isGreaterThan(1e8);
        assertThat(first.prefill().tokens()).isEqualTo(PROMPT);
        assertThat(first.decode().tokens()).isEqualTo(NEW_TOKENS - 1);
        assertThat(first.decode().steps()).isEqualTo(NEW_TOKENS - 1);
        for (Part part : Part.values()) {
          assertThat(first.prefill().part(part)).as("prefill, %s", part).isPositive();
          assertThat(first.decode().part(part)).as("decode, %s", part).isNotNegative();
        }
        assertThat(first.decode().bookkeeping()).isLessThan(first.decode().passes());
        assertThat(first.prefill().bytes()).containsOnly(0L);
        long weights =
            first.decode().bytes().stream().mapToLong(Long::longValue).sum()
                - first.decode().bytes(Part.ATTENTION)
                - first.decode().bytes(Part.SKETCHES);
        // A step reads every matrix once: 135 million weights of 4 to 8 bits and their scales.
        assertThat(weights / first.decode().steps()).isBetween(70_000_000L, 140_000_000L);
        assertThat(first.decode().bytes(Part.ATTENTION)).isPositive();

        generate(engine, model, 3);
        TimeProfile later = engine.profile().orElseThrow().since(first);
        assertThat(later.prefill().tokens()).isEqualTo(3 * PROMPT);
        assertThat(later.decode().tokens()).isEqualTo(3 * (NEW_TOKENS - 1));
        assertThat(later.decode().steps()).isLessThan(later.decode().tokens());
      }
    }
  }

  @Test
  void severalEnginesAddUp() {
    TimeProfile one = new TimeProfile(1, 20e9, phase(0, 300, 100), phase(50_000_000, 10, 5));
    TimeProfile both = one.plus(new TimeProfile(1, 40e9, phase(0, 60, 20), phase(0, 30, 15)));
    assertThat(both.engines()).isEqualTo(2);
    assertThat(both.bandwidth()).isEqualTo(30e9);
    assertThat(both.prefill().tokens()).isEqualTo(360);
    assertThat(both.decode().tokens()).isEqualTo(40);
    assertThat(both.since(one).decode()).isEqualTo(phase(0, 30, 15));

    List<String> lines = TimeTable.lines(both);
    assertThat(lines.get(0)).isEqualTo("where the time goes, ms a token, 2 executors together");
    // 7 parts of 2 ms, 1 ms of bookkeeping and 1 ms of sampling, twice, for 40 tokens.
    assertThat(lines).anySatisfy(line -> assertThat(line).matches("  all .* 0.800 +100.0 %.*"));
    assertThat(lines)
        .anySatisfy(line -> assertThat(line).matches("  sampling .* 0.050 +6.3 %"))
        // 50 MB in 4 ms are 12.5 GB/s, of 30.
        .anySatisfy(line -> assertThat(line).matches("  QKV .* 0.100 +12.5 % +12.5 +42 %"));
    assertThat(lines.get(lines.size() - 1)).contains("has 2.0 documents").contains("30.0 GB/s");
  }

  @Test
  void anEngineThatOnlyReadHasNoDecodeColumn() {
    TimeProfile profile = new TimeProfile(1, 20e9, phase(0, 300, 100), phase(0, 0, 0));
    assertThat(TimeTable.lines(profile))
        .anySatisfy(line -> assertThat(line).matches("  all +0.053 +100.0 %"))
        .noneSatisfy(line -> assertThat(line).contains("NaN"));
  }

  @Test
  void aGpuThatIsAskedForIsNotProfiled() {
    DeviceOptions options =
        new DeviceOptions(
            DeviceChoice.CUDA,
            2,
            Precision.ROUNDED,
            KernelCheck.FRESH,
            "",
            DeviceBudget.ofShare(0.5),
            Profiling.ON);
    assertThatThrownBy(() -> Devices.open(options))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("engine.profile=off");
  }

  /** Each part 2 ms, 1 ms of bookkeeping, 1 ms of sampling. */
  private static PhaseTime phase(long bytesOfQkv, long tokens, long steps) {
    List<Long> parts = new ArrayList<>();
    List<Long> bytes = new ArrayList<>();
    for (Part part : Part.values()) {
      parts.add(2_000_000L);
      bytes.add(part == Part.QKV ? bytesOfQkv : 0L);
    }
    long passes = 2_000_000L * parts.size() + 1_000_000;
    return new PhaseTime(parts, bytes, passes, 1_000_000, tokens, steps);
  }

  private static Engine open(LanguageModel model, Profiling profiling) {
    return Engines.open(
        model,
        RealModels.options(16, 4),
        PolicyOptions.defaults(),
        "adaptive",
        new DeviceOptions(
            DeviceChoice.CPU,
            2,
            Precision.ROUNDED,
            KernelCheck.FRESH,
            "",
            DeviceBudget.ofShare(0.5),
            profiling));
  }

  private static List<Generation> generate(Engine engine, LanguageModel model, int documents)
      throws Exception {
    List<CompletableFuture<Generation>> futures = new ArrayList<>();
    for (int i = 0; i < documents; i++) {
      int[] prompt = RealModels.textTokens(model, 10 * i, PROMPT);
      futures.add(engine.submit(RealModels.request("document-" + i, prompt, NEW_TOKENS)));
    }
    List<Generation> generations = new ArrayList<>();
    for (CompletableFuture<Generation> future : futures) {
      generations.add(future.get());
    }
    return generations;
  }
}
