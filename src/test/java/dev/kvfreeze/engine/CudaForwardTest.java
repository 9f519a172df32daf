package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.cuda.HostDriver;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.LanguageModel;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Real models on the CUDA device, its kernels run in host memory, against the CPU device. */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class CudaForwardTest {
  private static final int PAGE_TOKENS = 16;

  private static LanguageModel open(String model) {
    return model.equals(ReferenceData.SMOLLM2) ? RealModels.smolLm2() : RealModels.gemma3();
  }

  private static ForwardHarness onCuda(LanguageModel model) {
    Device device = HostDriver.device(1536L << 20, HostCode.PLAIN);
    return new ForwardHarness(
        model,
        device,
        KvFormat.BF16,
        PAGE_TOKENS,
        FreezePolicies.create("full", PolicyOptions.defaults().withPageTokens(PAGE_TOKENS)));
  }

  /** bfloat16 activations and weights in the products cost about this much. */
  @ParameterizedTest
  @ValueSource(strings = {ReferenceData.SMOLLM2, ReferenceData.GEMMA3})
  void logitsAreTheCpusUpToRounding(String name) {
    try (LanguageModel model = open(name)) {
      int[] prompt = RealModels.textTokens(model, 0, 75);
      float[] expected;
      try (ForwardHarness cpu = new ForwardHarness(model, KvFormat.BF16, PAGE_TOKENS)) {
        expected = cpu.lastLogits(prompt);
      }
      try (ForwardHarness cuda = onCuda(model)) {
        float[] logits = cuda.lastLogits(prompt);
        double spread = 0;
        double error = 0;
        double mean = 0;
        for (float logit : expected) {
          mean += logit / expected.length;
        }
        for (int i = 0; i < logits.length; i++) {
          spread += Math.pow(expected[i] - mean, 2);
          error += Math.pow(expected[i] - logits[i], 2);
        }
        assertThat(Math.sqrt(error / spread)).as("relative error of the logits").isLessThan(0.03);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {ReferenceData.SMOLLM2, ReferenceData.GEMMA3})
  void greedyTokensAreTheCpusUpToItsOwnDoubt(String name) {
    try (LanguageModel model = open(name)) {
      int[] prompt = RealModels.textTokens(model, 0, 40);
      int[] expected = new int[8];
      double[] gaps = new double[8];
      try (ForwardHarness cpu = new ForwardHarness(model, KvFormat.BF16, PAGE_TOKENS)) {
        greedy(cpu, prompt, expected, gaps);
      }
      int[] tokens = new int[8];
      try (ForwardHarness cuda = onCuda(model)) {
        greedy(cuda, prompt, tokens, new double[8]);
      }
      int same = Arrays.mismatch(expected, tokens);
      if (same >= 0) {
        assertThat(gaps[same]).as("the CPU's top-2 gap at token %d", same).isLessThan(0.3);
      }
    }
  }

  private static void greedy(ForwardHarness harness, int[] prompt, int[] tokens, double[] gaps) {
    try (SequenceCache sequence = harness.open()) {
      harness.read(sequence, prompt, StepKind.PREFILL);
      for (int i = 0; i < tokens.length; i++) {
        LogitStatistics statistics = harness.transformer().statistics(0);
        tokens[i] = statistics.argmax();
        float[] logits = harness.logits();
        logits[tokens[i]] = Float.NEGATIVE_INFINITY;
        Arrays.sort(logits);
        gaps[i] = statistics.max() - logits[logits.length - 1];
        if (i + 1 < tokens.length) {
          harness.read(sequence, new int[] {tokens[i]}, StepKind.DECODE);
        }
      }
    }
  }
}
