package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.engine.GenerationRequest;
import dev.kvfreeze.engine.PolicySetup;
import dev.kvfreeze.engine.PolicyTrials;
import dev.kvfreeze.engine.SamplingOptions;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The CPU's greedy tokens, forced on both devices: at each the GPU must prefer the same one, but
 * where the CPU's two best are nearly equal.
 */
final class GreedyStage implements Stage {
  private static final double DOUBT = 0.3;
  private static final int PAGE_TOKENS = 16;

  @Override
  public String name() {
    return "greedy text against the CPU's";
  }

  @Override
  public List<String> run(CheckSetup setup) {
    List<String> lines = new ArrayList<>();
    for (Path file : setup.models()) {
      try (LanguageModel model = LanguageModels.open(file)) {
        lines.add(compare(setup, model));
      }
    }
    return lines;
  }

  /** A token that was chosen, by how much, and the distribution's entropy. */
  private record Choice(int token, double gap, double entropy) {}

  private static String compare(CheckSetup setup, LanguageModel model) {
    int[] tokens = model.tokenizer().encode(setup.text(), SpecialTokens.AS_TEXT);
    int[] prompt = Arrays.copyOf(tokens, Math.min(tokens.length, 20 + setup.scaled(480)));
    int count = 2 + setup.scaled(62);
    List<Choice> expected = choices(CpuDevice.open(2), model, prompt, count, null);
    int[] forced = expected.stream().mapToInt(Choice::token).toArray();
    List<Choice> found = choices(setup.devices().get(), model, prompt, count, forced);
    int other = 0;
    double entropy = 0;
    for (int i = 0; i < count; i++) {
      entropy = Math.max(entropy, Math.abs(found.get(i).entropy() - expected.get(i).entropy()));
      if (found.get(i).token() != expected.get(i).token()) {
        other++;
        require(model, expected.get(i).gap() < DOUBT, i, expected.get(i).gap());
      }
    }
    return "%s: %d of %d greedy tokens the same after %d of prompt, entropies within %.3f nats"
        .formatted(model.name(), count - other, count, prompt.length, entropy);
  }

  private static void require(LanguageModel model, boolean holds, int index, double gap) {
    Stage.require(
        holds, model.name() + ": token " + index + " differs where the CPU prefers it by " + gap);
  }

  /** With {@code forced} null the device's own greedy tokens, one trial for each further token. */
  private static List<Choice> choices(
      Device device, LanguageModel model, int[] prompt, int count, int[] forced) {
    try (PolicyTrials trials = new PolicyTrials(model, device, 256)) {
      PolicySetup policy =
          new PolicySetup(
              FreezePolicies.create("full", PolicyOptions.defaults().withPageTokens(PAGE_TOKENS)),
              KvFormat.BF16,
              PAGE_TOKENS);
      int[] tokens = forced == null ? greedy(trials, policy, prompt, count) : forced;
      List<Choice> choices = new ArrayList<>();
      trials.force(
          policy,
          request(prompt, count),
          null,
          tokens,
          (statistics, logits, usage) -> {
            float second = Float.NEGATIVE_INFINITY;
            for (int i = 0; i < logits.length; i++) {
              if (i != statistics.argmax()) {
                second = Math.max(second, logits[i]);
              }
            }
            double gap = statistics.max() - second;
            choices.add(new Choice(statistics.argmax(), gap, statistics.entropy()));
          });
      return choices;
    }
  }

  private static int[] greedy(PolicyTrials trials, PolicySetup policy, int[] prompt, int count) {
    int[] generated =
        trials
            .generate(policy, request(prompt, count), null, PolicyTrials.Decision.EACH_CHUNK)
            .tokens();
    // A text that ends early is filled up with a token like any other.
    int[] tokens = new int[count];
    Arrays.fill(tokens, prompt[0]);
    System.arraycopy(generated, 0, tokens, 0, Math.min(count, generated.length));
    return tokens;
  }

  private static GenerationRequest request(int[] prompt, int count) {
    return new GenerationRequest("greedy", prompt, count, SamplingOptions.GREEDY, List.of(), 0);
  }
}
