package dev.kvfreeze.spark.conf;

import static dev.kvfreeze.spark.conf.Knob.Effect.RESULT;
import static dev.kvfreeze.spark.conf.Knob.Effect.RUNNING;

import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.KernelCheck;
import dev.kvfreeze.device.cpu.Precision;
import dev.kvfreeze.engine.DeviceChoice;
import dev.kvfreeze.engine.Profiling;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Every knob, in the order of the table in {@code conf/README.md}. */
public final class Knobs {
  private static final String NAME = "a name or a path";

  // What is run.
  public static final Knob<String> MODEL =
      Knob.of(
          "model",
          KnobTypes.text("a catalogue name, a path, a Hadoop address or hf://owner/name/file.gguf"),
          "",
          "smollm2-135m-instruct",
          // The model's hash is a key of its own.
          RUNNING,
          "The model file. One on hdfs or s3a is copied once to each executor's host.");
  public static final Knob<String> POLICY =
      Knob.of(
          "policy",
          KnobTypes.text(NAME),
          "",
          "adaptive",
          RESULT,
          "The cache policy: a file of conf/policies without its ending, or a path to such a file.");
  public static final Knob<String> PROMPT =
      Knob.of(
          "prompt",
          KnobTypes.text(NAME),
          "",
          "summary",
          // The text of the prompt is in the fingerprint, not its name.
          RUNNING,
          "What is asked of each document: a file of conf/prompts without its ending, or a path.");
  public static final Knob<TemplateUse> TEMPLATE =
      Knob.of(
          "template",
          KnobTypes.choice(TemplateUse.class),
          "",
          "auto",
          RESULT,
          "auto: the model's own chat template where it has one. none: the text is the prompt,"
              + " verbatim, special tokens read as such.");

  // What is generated.
  public static final Knob<Integer> MAX_NEW_TOKENS =
      Knob.of(
          "generation.maxNewTokens",
          KnobTypes.integer(1, 1 << 20),
          "tokens",
          "200",
          RESULT,
          "Most tokens generated for a document.");
  public static final Knob<List<String>> STOP_STRINGS =
      Knob.of(
          "generation.stopStrings",
          KnobTypes.textList(),
          "",
          "",
          RESULT,
          "Texts that end a generation; they and what follows are cut.");
  public static final Knob<Integer> STEP_INTERVAL =
      Knob.of(
          "generation.stepInterval",
          KnobTypes.integer(0, 1 << 20),
          "tokens",
          "8",
          RESULT,
          "A row in steps/ every so many generated tokens; 0 for none.");

  // Sampling.
  public static final Knob<Double> TEMPERATURE =
      Knob.of(
          "sampling.temperature",
          KnobTypes.decimal(0, 100),
          "",
          "0",
          RESULT,
          "0 takes the most probable token (greedy); 1 draws from the model's distribution.");
  public static final Knob<Integer> TOP_K =
      Knob.of(
          "sampling.topK",
          KnobTypes.integer(0, Integer.MAX_VALUE),
          "tokens",
          "0",
          RESULT,
          "Draws among the k most probable tokens; 0 for all.");
  public static final Knob<Double> TOP_P =
      Knob.of(
          "sampling.topP",
          KnobTypes.decimal(0, 1),
          "probability",
          "1",
          RESULT,
          "Draws among the fewest tokens that reach this probability together; 1 for all.");
  public static final Knob<Double> MIN_P =
      Knob.of(
          "sampling.minP",
          KnobTypes.decimal(0, 1),
          "ratio",
          "0",
          RESULT,
          "Draws among tokens at least this times as probable as the best; 0 for all.");
  public static final Knob<Double> REPETITION_PENALTY =
      Knob.of(
          "sampling.repetitionPenalty",
          KnobTypes.decimal(0.01, 100),
          "",
          "1",
          RESULT,
          "Divides positive and multiplies negative logits of tokens already generated; 1 for none.");
  public static final Knob<Integer> REPETITION_WINDOW =
      Knob.of(
          "sampling.repetitionWindow",
          KnobTypes.integer(0, Integer.MAX_VALUE),
          "tokens",
          "256",
          RESULT,
          "Newest generated tokens that the repetition penalty looks at.");
  public static final Knob<Long> SEED =
      Knob.of(
          "sampling.seed",
          KnobTypes.wholeNumber(),
          "",
          "0",
          RESULT,
          "Seed of the random numbers; each document draws its own from this and its hash.");

  // The cache.
  public static final Knob<KvFormat> CACHE_FORMAT =
      Knob.of(
          "cache.format",
          KnobTypes.choice(KvFormat.class),
          "",
          "bf16",
          RESULT,
          "How keys and values are kept; int8, on CPUs only, takes 0.53 to 0.56 of the bytes of bf16,"
              + " which is what policy.cap is a share of: so nearly twice the tokens are active.");
  public static final Knob<Integer> PAGE_TOKENS =
      Knob.of(
          "cache.pageTokens",
          KnobTypes.integer(1, 256),
          "tokens",
          "16",
          RESULT,
          "Tokens of one layer and KV head that are frozen and thawed together.");
  public static final Knob<Long> POOL_BYTES =
      Knob.of(
          "cache.poolBytes",
          KnobTypes.bytes(),
          "bytes",
          "0",
          RUNNING,
          "Most memory for active pages on the device, for all documents of an executor together;"
              + " 0 for 1g on a CPU and, on a GPU, what weights and activations leave of"
              + " engine.deviceMemory.");
  public static final Knob<ColdStoreKind> COLD_STORE =
      Knob.of(
          "cache.coldStore",
          KnobTypes.choice(ColdStoreKind.class),
          "",
          "memory",
          RUNNING,
          "Where frozen pages are: host memory, or a spill file in Spark's local directory.");
  public static final Knob<Long> COLD_BYTES =
      Knob.of(
          "cache.coldBytes",
          KnobTypes.bytes(),
          "bytes",
          "4g",
          RUNNING,
          "Most bytes of the cold store.");

  // The engine.
  public static final Knob<Integer> CONTEXT_LIMIT =
      Knob.of(
          "engine.contextLimit",
          KnobTypes.integer(0, 1 << 24),
          "tokens",
          "0",
          RESULT,
          "Most tokens of a document, prompt and output together; 0 for the model's own limit."
              + " A longer document is cut, with a note in its row.");
  public static final Knob<Integer> PREFILL_CHUNK =
      Knob.of(
          "engine.prefillChunk",
          KnobTypes.integer(1, 1 << 16),
          "tokens",
          "256",
          RESULT,
          "Tokens of a prompt that are read in one forward pass.");
  public static final Knob<Integer> MAX_BATCH =
      Knob.of(
          "engine.maxBatch",
          KnobTypes.integer(1, 4096),
          "documents",
          "8",
          RUNNING,
          "Most documents of an executor that are generated together.");
  public static final Knob<DeviceChoice> DEVICE =
      Knob.of(
          "engine.device",
          KnobTypes.choice(DeviceChoice.class),
          "",
          "cpu",
          RUNNING,
          "auto: the NVIDIA GPU that Spark gave the executor (spark.executor.resource.gpu.amount), in"
              + " local mode the first one, else the CPU. cuda: the same, or an error.");
  public static final Knob<DeviceBudget> DEVICE_MEMORY =
      Knob.of(
          "engine.deviceMemory",
          KnobTypes.deviceBudget(),
          "bytes",
          "90%",
          RUNNING,
          "Memory of a GPU that the engine takes when it starts, for weights, activations, pages and"
              + " all else; it takes no more later.");
  public static final Knob<Integer> THREADS =
      Knob.of(
          "engine.threads",
          KnobTypes.integer(0, 4096),
          "threads",
          "0",
          RUNNING,
          "Threads that compute on a CPU, for all tasks of an executor together; 0 for the executor's"
              + " cores, which Spark takes from a container's limit in local mode.");
  public static final Knob<Precision> PRECISION =
      Knob.of(
          "engine.precision",
          KnobTypes.choice(Precision.class),
          "",
          "rounded",
          RESULT,
          "What a CPU rounds: activations to 8 bits in blocks of 32 while it generates, and products to"
              + " bfloat16 while it reads a prompt, where it has a matrix unit, or activations to 16"
              + " bits, with AVX2 or AVX-512; or nothing (float32), which is slower.");
  public static final Knob<String> REQUIRED_PROVIDER =
      Knob.of(
          "engine.requiredProvider",
          KnobTypes.text("the beginning of a provider's name, such as native or vector"),
          "",
          "",
          RUNNING,
          "Refuses to run where other kernels would be used; empty takes what is there.");
  public static final Knob<KernelCheck> KERNEL_CHECK =
      Knob.of(
          "engine.kernelCheck",
          KnobTypes.choice(KernelCheck.class),
          "",
          "kept",
          RUNNING,
          "Whether an engine that starts on a CPU spends up to 0.8 s on checking its kernels every time"
              + " (fresh), or not within a week after a check that passed there.");
  public static final Knob<Profiling> PROFILE =
      Knob.of(
          "engine.profile",
          KnobTypes.choice(Profiling.class),
          "",
          "off",
          RUNNING,
          "on: summarize and generate end with a table of where the time went, milliseconds a token by"
              + " part of the model, beside the memory's measured bandwidth. CPU only.");
  public static final Knob<String> ENGINE_FACTORY =
      Knob.of(
          "engine.factory",
          KnobTypes.text("a class name"),
          "",
          "dev.kvfreeze.spark.plugin.ModelEngineFactory",
          RUNNING,
          "Class that opens the engine; for tests and for engines of your own.");

  // The job.
  public static final Knob<ErrorBudget> ERROR_BUDGET =
      Knob.of(
          "job.errorBudget",
          KnobTypes.errorBudget(),
          "documents",
          "none",
          RUNNING,
          "Failed documents after which the job stops; they are rows either way.");
  public static final Knob<Duration> PROGRESS_INTERVAL =
      Knob.of(
          "job.progressInterval",
          KnobTypes.duration(),
          "time",
          "5s",
          RUNNING,
          "A line of progress this often; 0 for none.");
  public static final Knob<Integer> COMMIT_DOCUMENTS =
      Knob.of(
          "output.commitDocuments",
          KnobTypes.integer(1, 1 << 20),
          "documents",
          "64",
          RUNNING,
          "A task writes a file after this many documents.");
  public static final Knob<Duration> COMMIT_INTERVAL =
      Knob.of(
          "output.commitInterval",
          KnobTypes.duration(),
          "time",
          "30s",
          RUNNING,
          "... or when its oldest unwritten document is this old: what a killed job does again.");
  public static final Knob<String> CONF_DIR =
      Knob.of(
          "confDir",
          KnobTypes.text("a folder"),
          "",
          "",
          RUNNING,
          "Folder of policies/ and prompts/; what it lacks is taken from the jar."
              + " The launcher sets it to this folder.");

  /** All knobs, by name. */
  private static final Map<String, Knob<?>> ALL = new LinkedHashMap<>();

  static {
    for (Knob<?> knob :
        List.of(
            MODEL,
            POLICY,
            PROMPT,
            TEMPLATE,
            MAX_NEW_TOKENS,
            STOP_STRINGS,
            STEP_INTERVAL,
            TEMPERATURE,
            TOP_K,
            TOP_P,
            MIN_P,
            REPETITION_PENALTY,
            REPETITION_WINDOW,
            SEED,
            CACHE_FORMAT,
            PAGE_TOKENS,
            POOL_BYTES,
            COLD_STORE,
            COLD_BYTES,
            PolicyKnobs.SINK_TOKENS,
            PolicyKnobs.RECENT_TOKENS,
            PolicyKnobs.TAU,
            PolicyKnobs.HISTORY,
            PolicyKnobs.SOFTNESS,
            PolicyKnobs.CAP,
            PolicyKnobs.WHOLE_TOKENS,
            PolicyKnobs.LEAST_TOKENS,
            PolicyKnobs.KEEP_MASS,
            PolicyKnobs.SKETCH_BITS,
            PolicyKnobs.RECALL_INTERVAL,
            PolicyKnobs.LOOK_SPACING,
            PolicyKnobs.CARRY,
            PolicyKnobs.MARGIN,
            PolicyKnobs.READ_AHEAD,
            PolicyKnobs.PREFILL,
            PolicyKnobs.GUARD,
            PolicyKnobs.GUARD_THRESHOLD,
            PolicyKnobs.GUARD_SPREAD,
            PolicyKnobs.GUARD_WINDOW,
            PolicyKnobs.GUARD_REWIND,
            PolicyKnobs.GUARD_MAX_REWINDS,
            PolicyKnobs.GUARD_RANDOM_RATE,
            CONTEXT_LIMIT,
            PREFILL_CHUNK,
            MAX_BATCH,
            DEVICE,
            DEVICE_MEMORY,
            THREADS,
            REQUIRED_PROVIDER,
            PRECISION,
            KERNEL_CHECK,
            PROFILE,
            ENGINE_FACTORY,
            ERROR_BUDGET,
            PROGRESS_INTERVAL,
            COMMIT_DOCUMENTS,
            COMMIT_INTERVAL,
            CONF_DIR)) {
      ALL.put(knob.name(), knob);
    }
  }

  private Knobs() {}

  /** All knobs in the order of the table. */
  public static List<Knob<?>> all() {
    return List.copyOf(ALL.values());
  }

  /**
   * @param source where the name was found, for the message
   * @throws ConfigurationException naming the nearest knob when there is none of this name
   */
  public static Knob<?> named(String name, String source) {
    Knob<?> knob = ALL.get(name);
    if (knob == null) {
      throw new ConfigurationException(
          "unknown setting %s (%s); did you mean %s? All are in conf/README.md"
              .formatted(
                  Knob.PREFIX + name, source, Knob.PREFIX + NearestName.of(name, ALL.keySet())));
    }
    return knob;
  }
}
