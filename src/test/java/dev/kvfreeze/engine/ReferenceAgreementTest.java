package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.device.cpu.Precision;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.LanguageModel;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The forward pass against two that were not written here: a plain float32 pass in numpy, and
 * llama.cpp, which rounds activations to eight bits.
 */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class ReferenceAgreementTest {
  private static final double MAX_LOGIT_DIFFERENCE = 0.02;
  private static final double LLAMA_CPP_GAP = 0.5;

  private static LanguageModel open(String model) {
    return model.equals(ReferenceData.SMOLLM2) ? RealModels.smolLm2() : RealModels.gemma3();
  }

  @ParameterizedTest
  @ValueSource(strings = {ReferenceData.SMOLLM2, ReferenceData.GEMMA3})
  void logitsWithFloat32KvEqualTheExactOnes(String name) {
    ReferenceData reference = ReferenceData.of(name);
    try (LanguageModel model = open(name);
        ForwardHarness harness = exact(model)) {
      assertThat(model.hash()).isEqualTo(reference.exact().get("model_sha256").textValue());
      reference
          .exact()
          .get("prompts")
          .fields()
          .forEachRemaining(
              prompt -> {
                float[] logits = harness.lastLogits(reference.tokens(prompt.getKey()));
                JsonNode ids = prompt.getValue().get("ids");
                JsonNode expected = prompt.getValue().get("logits");
                double largest = 0;
                for (int i = 0; i < ids.size(); i++) {
                  double difference =
                      Math.abs(logits[ids.get(i).intValue()] - expected.get(i).doubleValue());
                  largest = Math.max(largest, difference);
                }
                assertThat(largest)
                    .as("largest logit difference at the prompt %s", prompt.getKey())
                    .isLessThanOrEqualTo(MAX_LOGIT_DIFFERENCE);
              });
    }
  }

  /** With products in float32 on every machine. */
  private static ForwardHarness exact(LanguageModel model) {
    return new ForwardHarness(
        model,
        CpuDevice.open(2, Precision.FLOAT32),
        KvFormat.F32,
        16,
        FreezePolicies.create("full", PolicyOptions.defaults().withPageTokens(16)));
  }

  @ParameterizedTest
  @CsvSource({
    ReferenceData.SMOLLM2 + ", F32, 0.1",
    ReferenceData.SMOLLM2 + ", BF16, 0.5",
    ReferenceData.SMOLLM2 + ", INT8, 0.5",
    ReferenceData.GEMMA3 + ", F32, 0.1",
    ReferenceData.GEMMA3 + ", BF16, 0.5"
  })
  void perplexityIsTheExactOne(String name, KvFormat format, double percent) {
    ReferenceData reference = ReferenceData.of(name);
    try (LanguageModel model = open(name);
        ForwardHarness harness = new ForwardHarness(model, format, 16)) {
      double perplexity = harness.perplexity(reference.tokens("perplexity"));

      assertThat(perplexity)
          .isCloseTo(reference.exact().get("perplexity").doubleValue(), withinPercentage(percent));
      assertThat(perplexity)
          .isCloseTo(reference.llamaCpp().get("perplexity").doubleValue(), withinPercentage(1));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {ReferenceData.SMOLLM2, ReferenceData.GEMMA3})
  void perplexityOfDecodeStepsIsTheExactOne(String name) {
    // Gemma computes many logits a token.
    int count = name.equals(ReferenceData.SMOLLM2) ? 1000 : 400;
    int[] tokens = Arrays.copyOf(ReferenceData.of(name).tokens("perplexity"), count);
    try (LanguageModel model = open(name);
        ForwardHarness exact = exact(model);
        ForwardHarness rounded = new ForwardHarness(model, KvFormat.BF16, 16)) {
      assertOnlyRounded(rounded.decodeLosses(tokens), exact.losses(tokens));
    }
  }

  /** What a machine without the native kernels computes, on any machine. */
  @ParameterizedTest
  @ValueSource(strings = {"vector", "native"})
  void theVectorAndTheNativeKernelsAgreeWithTheExactOnes(String provider) {
    assumeThat(provider.equals("native") && !KernelProviders.hasNative()).isFalse();
    ReferenceData reference = ReferenceData.of(ReferenceData.SMOLLM2);
    int[] tokens = Arrays.copyOf(reference.tokens("perplexity"), 200);
    try (LanguageModel model = open(ReferenceData.SMOLLM2);
        ForwardHarness exact = exact(model);
        ForwardHarness harness =
            KernelProviders.with(provider, () -> new ForwardHarness(model, KvFormat.BF16, 16))) {
      double[] losses = exact.losses(tokens);
      assertThat(harness.perplexity(tokens))
          .isCloseTo(
              Math.exp(Arrays.stream(losses).average().orElseThrow()), withinPercentage(0.5));
      assertOnlyRounded(harness.decodeLosses(tokens), losses);
    }
  }

  /**
   * Decode steps round their activations to 8 bits, which moves the loss of a token by 0.06 to 0.09
   * nats, this way or that, on every kind of kernel. So many tokens must differ by no more than
   * that, and their mean by no more than half a percent of perplexity, as far as so many can tell.
   */
  private static void assertOnlyRounded(double[] rounded, double[] exact) {
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < exact.length; i++) {
      double difference = rounded[i] - exact[i];
      sum += difference;
      squares += difference * difference;
    }
    double mean = sum / exact.length;
    double deviation = Math.sqrt(squares / exact.length - mean * mean);
    assertThat(deviation).isLessThan(0.1);
    assertThat(Math.abs(mean)).isLessThan(0.005 + 3 * deviation / Math.sqrt(exact.length));
  }

  @ParameterizedTest
  @ValueSource(strings = {ReferenceData.SMOLLM2, ReferenceData.GEMMA3})
  void greedyTokensAreLlamaCppsUpToItsOwnDoubt(String name) {
    ReferenceData reference = ReferenceData.of(name);
    try (LanguageModel model = open(name);
        ForwardHarness harness = new ForwardHarness(model, KvFormat.BF16, 16)) {
      reference
          .llamaCpp()
          .get("prompts")
          .fields()
          .forEachRemaining(
              prompt -> {
                int[] expected = ReferenceData.integers(prompt.getValue().get("tokens"));
                int[] tokens = greedy(harness, reference.tokens(prompt.getKey()), expected.length);
                for (int i = 0; i < expected.length; i++) {
                  if (tokens[i] != expected[i]) {
                    assertThat(prompt.getValue().get("gaps").get(i).doubleValue())
                        .as(
                            "llama.cpp's top-2 gap where token %d of prompt %s differs",
                            i, prompt.getKey())
                        .isLessThan(LLAMA_CPP_GAP);
                    break;
                  }
                }
              });
    }
  }

  private static int[] greedy(ForwardHarness harness, int[] prompt, int count) {
    int[] tokens = new int[count];
    try (SequenceCache sequence = harness.open()) {
      harness.read(sequence, prompt, StepKind.PREFILL);
      for (int i = 0; i < count; i++) {
        LogitStatistics statistics = harness.transformer().statistics(0);
        tokens[i] = statistics.argmax();
        if (i + 1 < count) {
          harness.read(sequence, new int[] {tokens[i]}, StepKind.DECODE);
        }
      }
    }
    return tokens;
  }
}
