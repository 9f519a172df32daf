package dev.kvfreeze.benchmark;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.AdaptiveOptions;
import dev.kvfreeze.freeze.FreezeCap;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Measures a policy at the paper's setting, about 500 tokens after a short prompt, for every
 * combination of knobs: active share, perplexity and top-1 agreement against the full cache, on
 * real text fed in or on what the full cache itself generates. This is how the defaults of {@code
 * paper} were found.
 */
@Command(name = "policy-measurement", mixinStandardHelpOptions = true)
public final class PolicyMeasurement implements Callable<Integer> {
  @Option(names = "--model", required = true, description = "GGUF file")
  private Path modelFile;

  @Option(names = "--text", required = true, split = ",", description = "text files to feed")
  private List<Path> textFiles;

  @Option(names = "--policy", defaultValue = "paper")
  private String policy;

  @Option(names = "--tokens", defaultValue = "514")
  private int tokenCount;

  @Option(names = "--prompt-tokens", defaultValue = "16")
  private int promptTokens;

  @Option(names = "--page-tokens", defaultValue = "1")
  private int pageTokens;

  @Option(names = "--sink-tokens", split = ",", defaultValue = "4")
  private List<Integer> sinkTokens;

  @Option(names = "--recent-tokens", split = ",", defaultValue = "32")
  private List<Integer> recentTokens;

  @Option(names = "--threshold", split = ",", defaultValue = "0.1,0.2,0.5,1")
  private List<Double> thresholds;

  @Option(names = "--history-steps", split = ",", defaultValue = "64,256")
  private List<Integer> historySteps;

  @Option(names = "--softness", split = ",", defaultValue = "0.5,1,2")
  private List<Double> softnesses;

  @Option(names = "--cap", split = ",", defaultValue = "170", description = "of adaptive")
  private List<String> caps;

  @Option(names = "--sketch-bits", defaultValue = "2", description = "of adaptive")
  private int sketchBits;

  @Option(names = "--recall-interval", defaultValue = "1", description = "of adaptive")
  private int recallInterval;

  @Option(
      names = "--own-text",
      description = "feed what the full cache generates greedily after the texts' beginnings")
  private boolean ownText;

  @Option(names = "--threads", defaultValue = "2")
  private int threads;

  /** Runs the measurement and ends the JVM. */
  public static void main(String[] arguments) {
    System.exit(new CommandLine(new PolicyMeasurement()).execute(arguments));
  }

  @Override
  public Integer call() throws Exception {
    try (LanguageModel model = LanguageModels.open(modelFile);
        Device device = CpuDevice.open(threads)) {
      List<int[]> texts = new ArrayList<>();
      for (Path file : textFiles) {
        int[] tokens = model.tokenizer().encode(Files.readString(file), SpecialTokens.AS_TEXT);
        int[] text = Arrays.copyOf(tokens, Math.min(tokens.length, tokenCount));
        texts.add(ownText ? TeacherForcing.generate(model, device, text, promptTokens) : text);
      }
      PolicyOptions base = PolicyOptions.defaults();
      List<TeacherForcing.Trace> full = run(model, device, texts, "full", base);
      System.out.printf(
          Locale.ROOT,
          "%d texts of %d tokens, prompt %d, pages of %d; full cache: perplexity %.3f%n%n",
          texts.size(),
          tokenCount,
          promptTokens,
          pageTokens,
          perplexity(full));
      System.out.println(
          "| settings | active at the end | mean active | perplexity | top-1 same |");
      System.out.println("|---|---|---|---|---|");
      for (PolicyOptions options : grid()) {
        report(options, run(model, device, texts, policy, options), full);
      }
    }
    return 0;
  }

  private List<PolicyOptions> grid() {
    List<PolicyOptions> grid = new ArrayList<>();
    if (!policy.equals("paper")) {
      for (String cap : caps) {
        grid.add(
            new PolicyOptions(pageTokens, sinkTokens.get(0), recentTokens.get(0), 0.1, 256, 1)
                .withAdaptive(adaptive(FreezeCap.parse(cap))));
      }
      return grid;
    }
    for (int sinks : sinkTokens) {
      for (int recent : recentTokens) {
        for (double threshold : thresholds) {
          for (int history : historySteps) {
            for (double softness : softnesses) {
              grid.add(new PolicyOptions(pageTokens, sinks, recent, threshold, history, softness));
            }
          }
        }
      }
    }
    return grid;
  }

  private AdaptiveOptions adaptive(FreezeCap cap) {
    return AdaptiveOptions.defaults()
        .withCap(cap)
        .withWholeTokens(0)
        .withLeastTokens(0)
        .withSketchBits(sketchBits)
        .withRecallInterval(recallInterval);
  }

  private String label(PolicyOptions options) {
    return policy.equals("paper")
        ? String.format(
            Locale.ROOT,
            "sinks %d, K %d, tau %.2f, W %d, k %.2f",
            options.sinkTokens(),
            options.recentTokens(),
            options.threshold(),
            options.historySteps(),
            options.softness())
        : "%s, cap %s, pages of %d, %d bits, every %d"
            .formatted(policy, options.adaptive().cap(), pageTokens, sketchBits, recallInterval);
  }

  private List<TeacherForcing.Trace> run(
      LanguageModel model,
      Device device,
      List<int[]> texts,
      String policyName,
      PolicyOptions options) {
    FreezePolicy freezePolicy =
        FreezePolicies.create(policyName, options.withPageTokens(pageTokens));
    List<TeacherForcing.Trace> traces = new ArrayList<>();
    for (int[] text : texts) {
      traces.add(
          TeacherForcing.run(
              model, device, freezePolicy, KvFormat.BF16, pageTokens, text, promptTokens));
    }
    return traces;
  }

  private void report(
      PolicyOptions options, List<TeacherForcing.Trace> traces, List<TeacherForcing.Trace> full) {
    double last = 0;
    double mean = 0;
    double agreement = 0;
    for (int i = 0; i < traces.size(); i++) {
      last += traces.get(i).lastActiveShare() / traces.size();
      mean += traces.get(i).meanActiveShare() / traces.size();
      agreement += traces.get(i).agreement(full.get(i)) / traces.size();
    }
    System.out.printf(
        Locale.ROOT,
        "| %s | %.1f %% | %.1f %% | %+.2f %% | %.3f |%n",
        label(options),
        100 * last,
        100 * mean,
        100 * (perplexity(traces) / perplexity(full) - 1),
        agreement);
  }

  private static double perplexity(List<TeacherForcing.Trace> traces) {
    double sum = 0;
    for (TeacherForcing.Trace trace : traces) {
      sum += Math.log(trace.perplexity());
    }
    return Math.exp(sum / traces.size());
  }
}
