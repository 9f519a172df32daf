package dev.kvfreeze.benchmark;

import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.KernelCheck;
import dev.kvfreeze.device.cpu.Precision;
import dev.kvfreeze.engine.DeviceChoice;
import dev.kvfreeze.engine.DeviceOptions;
import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.engine.EngineOptions;
import dev.kvfreeze.engine.Engines;
import dev.kvfreeze.engine.Generation;
import dev.kvfreeze.engine.GenerationRequest;
import dev.kvfreeze.engine.Profiling;
import dev.kvfreeze.engine.SamplingOptions;
import dev.kvfreeze.engine.TimeProfile;
import dev.kvfreeze.engine.TimeTable;
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
import java.util.Optional;
import java.util.StringJoiner;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Measures one JVM: model load, then prefill and decode at several context lengths, through the
 * whole engine (paging, sampling, statistics). Prints one line of JSON; {@code jobs/benchmark.py}
 * runs it in several JVMs beside the peers and makes the table.
 */
@Command(name = "engine-benchmark", mixinStandardHelpOptions = true)
public final class EngineBenchmark implements Callable<Integer> {
  /** A short measurement is repeated until it has run this long, as on the other side. */
  private static final double LEAST_SECONDS = 2;

  private static final int MOST_REPEATS = 10;

  @Option(names = "--model", required = true, description = "GGUF file")
  private Path modelFile;

  @Option(names = "--text", required = true, description = "text that the prompts are cut from")
  private Path textFile;

  @Option(names = "--threads", defaultValue = "2")
  private int threads;

  @Option(names = "--policy", defaultValue = "full")
  private String policy;

  @Option(names = "--page-tokens", defaultValue = "16")
  private int pageTokens;

  @Option(names = "--kv-format", defaultValue = "BF16")
  private KvFormat kvFormat;

  @Option(names = "--prefill-chunk", defaultValue = "256")
  private int prefillChunk;

  @Option(names = "--contexts", split = ",", defaultValue = "128,2048,7936")
  private List<Integer> contexts;

  @Option(
      names = "--prefill-contexts",
      split = ",",
      description = "more of them, of which prefill alone counts")
  private List<Integer> prefillContexts = List.of();

  @Option(names = "--decode-tokens", defaultValue = "64")
  private int decodeTokens;

  @Option(
      names = "--repeats",
      defaultValue = "3",
      description = "of each context; the median counts")
  private int repeats;

  @Option(
      names = "--warm-up-seconds",
      defaultValue = "10",
      description = "before the first measurement, with the same engine")
  private double warmUpSeconds;

  @Option(names = "--batch", defaultValue = "1", description = "documents at a time")
  private int batch;

  @Option(names = "--profile", description = "add where the time goes, by part")
  private boolean profiled;

  private final List<String> profiles = new ArrayList<>();

  /** Runs the benchmark and ends the JVM. */
  public static void main(String[] arguments) {
    System.exit(new CommandLine(new EngineBenchmark()).execute(arguments));
  }

  @Override
  public Integer call() throws Exception {
    long start = System.nanoTime();
    LanguageModel model = LanguageModels.open(modelFile);
    EngineOptions options =
        new EngineOptions(
            kvFormat, pageTokens, 4L << 30, 8L << 30, null, prefillChunk, Math.max(1, batch), 0);
    PolicyOptions policyOptions = PolicyOptions.defaults().withPageTokens(pageTokens);
    try (Engine engine = open(model, options, policyOptions)) {
      double loadMillis = (System.nanoTime() - start) / 1e6;
      int[] tokens = model.tokenizer().encode(Files.readString(textFile), SpecialTokens.AS_TEXT);
      warmUp(engine, tokens);
      StringJoiner prefill = new StringJoiner(",", "{", "}");
      StringJoiner decode = new StringJoiner(",", "{", "}");
      for (int context : contexts) {
        List<Rates> rates = measure(engine, tokens, context, decodeTokens);
        prefill.add(entry(context, median(rates.stream().mapToDouble(Rates::prefill).toArray())));
        decode.add(entry(context, median(rates.stream().mapToDouble(Rates::decode).toArray())));
      }
      for (int context : prefillContexts) {
        if (!contexts.contains(context)) {
          List<Rates> rates = measure(engine, tokens, context, 1);
          prefill.add(entry(context, median(rates.stream().mapToDouble(Rates::prefill).toArray())));
        }
      }
      System.out.printf(
          Locale.ROOT,
          "{\"engine\":\"kvfreeze\",\"java\":\"%s\",\"provider\":\"%s\",\"device\":\"%s\","
              + "\"kernel_check\":\"%s\",\"model\":\"%s\",\"policy\":\"%s\",\"threads\":%d,\"batch\":%d,\"load_ms\":%.1f,"
              + "\"profile\":\"%s\",\"prefill\":%s,\"decode\":%s}%n",
          System.getProperty("java.version"),
          engine.device().provider(),
          engine.device().device(),
          engine.kernelCheck().replace('"', '\''),
          model.name(),
          policy,
          threads,
          batch,
          loadMillis,
          String.join("\n", profiles).replace("\n", "\\n"),
          prefill,
          decode);
    }
    return 0;
  }

  private Engine open(LanguageModel model, EngineOptions options, PolicyOptions policyOptions) {
    DeviceOptions device =
        new DeviceOptions(
            DeviceChoice.CPU,
            threads,
            Precision.ROUNDED,
            KernelCheck.FRESH,
            "",
            DeviceBudget.ofShare(1),
            profiled ? Profiling.ON : Profiling.OFF);
    return Engines.open(model, options, policyOptions, policy, device);
  }

  /**
   * Until the kernels are compiled: the last compilations come after some thousand calls a kernel,
   * which a job of documents reaches within its first document. Long enough for {@code adaptive} to
   * freeze, and as short as the shortest context to be measured: {@code adaptive} takes other ways
   * there, which the JVM would compile anew in the middle of the measurement.
   */
  private void warmUp(Engine engine, int[] tokens) throws Exception {
    int shortest = contexts.stream().mapToInt(Integer::intValue).min().orElse(1024);
    long end = System.nanoTime() + (long) (warmUpSeconds * 1e9);
    do {
      run(engine, tokens, Math.min(1024, tokens.length), 128);
      run(engine, tokens, Math.min(shortest, tokens.length), 128);
    } while (System.nanoTime() < end);
  }

  private List<Rates> measure(Engine engine, int[] tokens, int context, int newTokens)
      throws Exception {
    List<Rates> rates = new ArrayList<>();
    TimeProfile profile = null;
    long end = System.nanoTime() + (long) (LEAST_SECONDS * 1e9);
    while (rates.size() < repeats || (rates.size() < MOST_REPEATS && System.nanoTime() - end < 0)) {
      Optional<TimeProfile> before = engine.profile();
      rates.add(run(engine, tokens, context, newTokens));
      profile =
          engine
              .profile()
              .map(now -> before.isEmpty() ? now : now.since(before.get()))
              .orElse(null);
    }
    if (profile != null) {
      profiles.add("at " + context + " tokens: " + String.join("\n", TimeTable.lines(profile)));
    }
    return rates;
  }

  private record Rates(double prefill, double decode) {}

  /**
   * Tokens a second of all documents of the batch together. Prompts are read first, one after
   * another; what is left of the time on the clock is decode, sampling and text included.
   */
  private Rates run(Engine engine, int[] tokens, int context, int newTokens) throws Exception {
    if (tokens.length < context) {
      throw new IllegalArgumentException(
          textFile + " has " + tokens.length + " tokens, " + context + " are needed");
    }
    List<CompletableFuture<Generation>> results = new ArrayList<>();
    long start = System.nanoTime();
    for (int i = 0; i < batch; i++) {
      results.add(
          engine.submit(
              new GenerationRequest(
                  "benchmark-" + i,
                  Arrays.copyOf(tokens, context),
                  newTokens,
                  SamplingOptions.GREEDY,
                  List.of(),
                  0)));
    }
    double prefillMillis = 0;
    int decoded = 0;
    for (CompletableFuture<Generation> result : results) {
      Generation generation = result.get();
      prefillMillis += generation.statistics().prefillMillis();
      decoded += generation.tokens().length - 1;
    }
    double decodeMillis = (System.nanoTime() - start) / 1e6 - prefillMillis;
    return new Rates(
        1000.0 * context * batch / prefillMillis, 1000.0 * Math.max(0, decoded) / decodeMillis);
  }

  private static String entry(int context, double rate) {
    return String.format(Locale.ROOT, "\"%d\":%.1f", context, rate);
  }

  private static double median(double[] values) {
    Arrays.sort(values);
    return (values[(values.length - 1) / 2] + values[values.length / 2]) / 2;
  }
}
