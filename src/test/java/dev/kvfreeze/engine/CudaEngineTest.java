package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cuda.CudaDevice;
import dev.kvfreeze.device.cuda.HostDriver;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import dev.kvfreeze.device.cuda.HostDriver.RecordedDevice;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Batches of documents with freezing on the CUDA device in host memory: page moves and computing
 * are ordered whatever the order they run in, and nothing is left behind.
 */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class CudaEngineTest {
  private static final long DEVICE_BYTES = 700L << 20;
  private static final int[] PROMPTS = {300, 130, 77};
  private static final int NEW_TOKENS = 10;

  private static LanguageModel model;

  @BeforeAll
  static void open() {
    model = RealModels.smolLm2();
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static Engine engine(CudaDevice device, String policy, long poolBytes) {
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 8, poolBytes, 256L << 20, null, 96, 3, 2048);
    PolicyOptions defaults = PolicyOptions.defaults().withPageTokens(8);
    return Engines.open(model, device, options, FreezePolicies.create(policy, capped(defaults)));
  }

  private static PolicyOptions capped(PolicyOptions options) {
    return options.withAdaptive(options.adaptive().withLeastTokens(96).withWholeTokens(0));
  }

  private static List<Generation> run(Engine engine) throws Exception {
    List<CompletableFuture<Generation>> results = new ArrayList<>();
    for (int i = 0; i < PROMPTS.length; i++) {
      results.add(
          engine.submit(
              RealModels.request(
                  "document-" + i, RealModels.textTokens(model, 50 * i, PROMPTS[i]), NEW_TOKENS)));
    }
    List<Generation> generations = new ArrayList<>();
    for (CompletableFuture<Generation> result : results) {
      generations.add(result.get());
    }
    return generations;
  }

  private static List<Generation> onHost(String policy) throws Exception {
    try (Engine engine =
        engine(HostDriver.device(DEVICE_BYTES, HostCode.PLAIN), policy, 64L << 20)) {
      return run(engine);
    }
  }

  @Test
  void movesOfPagesRaceNothingAndChangeNothing() throws Exception {
    List<Generation> expected = onHost("adaptive");
    assertThat(expected.get(0).statistics().frozenPages()).isPositive();
    assertThat(expected.get(0).statistics().bytesFromCold()).isPositive();
    for (long seed = 1; seed <= 2; seed++) {
      RecordedDevice recorded =
          HostDriver.recorded(DEVICE_BYTES, HostCode.PLAIN, seed, seed == 1 ? 0 : 0.4);
      try (Engine engine = engine(recorded.device(), "adaptive", 64L << 20)) {
        List<Generation> generations = run(engine);
        for (int i = 0; i < PROMPTS.length; i++) {
          assertThat(generations.get(i).tokens())
              .as("seed %d, document %d", seed, i)
              .isEqualTo(expected.get(i).tokens());
        }
      }
      assertThat(recorded.problems().get()).isEmpty();
    }
  }

  @Test
  void decodeStepsAreReplayedAsGraphs() throws Exception {
    CudaDevice device = HostDriver.device(DEVICE_BYTES, HostCode.PLAIN);
    try (Engine engine = engine(device, "full", 64L << 20)) {
      run(engine);
      assertThat(HostDriver.graphReplays(device)).isPositive();
    }
  }
}
