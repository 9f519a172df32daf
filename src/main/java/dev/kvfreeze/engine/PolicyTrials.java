package dev.kvfreeze.engine;

import dev.kvfreeze.cache.HostColdStore;
import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.cache.PrefilledContext;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.ExpectedLengths;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.SequencePolicy;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.Collectors;

/**
 * Runs the same prompt under many policies: the weights are loaded once, the context is read once
 * with the full cache ({@link #read}), and each policy goes on from those keys and values as if it
 * had read them itself with exact prefill. What follows is the engine's own loop, so what is
 * measured is what users get. For one thread at a time.
 */
public final class PolicyTrials implements AutoCloseable {
  /** Page size of the cache that reads contexts; the mass that policies get is this fine. */
  private static final int READ_PAGE_TOKENS = 8;

  /**
   * Tokens at the end of a context that are a chunk of their own, so that policies which look at
   * the last queries only (SnapKV, arXiv 2404.14469) have the same ones at every length.
   */
  private static final int OBSERVED_TOKENS = 64;

  private static final long COLD_BYTES = 64L << 30;

  private final LanguageModel model;
  private final Device device;
  private final int chunkTokens;
  private final Transformer transformer;
  private final Set<Integer> endTokens;

  /** Made when a policy or a format first asks for it. */
  private KeyCalibrator calibrator;

  /** When a policy decides while the prompt is read. */
  public enum Decision {
    /** After every chunk, and so before the question is known (query-agnostic). */
    EACH_CHUNK,
    /** Once, when the whole prompt has been read (query-aware); its peak is the full cache. */
    AT_THE_END
  }

  /**
   * @param device closed with this
   * @param chunkTokens tokens of a prompt that are read in one forward pass
   */
  public PolicyTrials(LanguageModel model, Device device, int chunkTokens) {
    this.model = model;
    this.device = device;
    this.chunkTokens = chunkTokens;
    // Without page memory: each trial brings its own.
    this.transformer = new Transformer(model, device, null, chunkTokens, 1);
    this.endTokens =
        Arrays.stream(model.tokenizer().endTokens())
            .boxed()
            .collect(Collectors.toUnmodifiableSet());
  }

  public LanguageModel model() {
    return model;
  }

  public DeviceInfo device() {
    return device.info();
  }

  /** Reads a context with the full cache, recording the attention mass of each chunk. */
  public PrefilledContext read(int[] tokens, KvFormat format) {
    ModelSpec spec = model.spec();
    PageLayout layout = new PageLayout(spec.headSize(), READ_PAGE_TOKENS, format);
    int layers = spec.layers().size();
    PrefilledContext context =
        new PrefilledContext(layers, spec.kvHeads(), layout, READ_PAGE_TOKENS, tokens.length);
    FreezePolicy policy = new ReadingPolicy();
    try (KvCache cache = cache(policy, layout, tokens.length)) {
      Transformer reader = onMemoryOf(cache, policy, format);
      SequenceCache sequence = cache.open("context");
      int body = tokens.length - Math.min(OBSERVED_TOKENS, chunkTokens);
      int from = 0;
      while (from < tokens.length) {
        int end = from < body ? body : tokens.length;
        int count = Math.min(chunkTokens, end - from);
        sequence.extend(count);
        sequence.beginStep(StepKind.PREFILL);
        reader.forward(List.of(new ForwardSlice(sequence, tokens, from, count)));
        reader.awaitMass();
        context.record(sequence, cache.memory(), count);
        sequence.endStep(StepKind.PREFILL);
        from += count;
      }
    }
    return context;
  }

  /**
   * Generates under a policy.
   *
   * @param context the beginning of the prompt, read before; it leaves at least one token to read
   */
  public Generation generate(
      PolicySetup setup, GenerationRequest request, PrefilledContext context, Decision decision) {
    return run(setup, request, new Trial(context, decision, null, null));
  }

  /** Feeds tokens instead of those that the model would choose, and shows each distribution. */
  public Generation force(
      PolicySetup setup,
      GenerationRequest request,
      PrefilledContext context,
      int[] forced,
      DistributionObserver observer) {
    if (request.maxNewTokens() != forced.length) {
      throw new IllegalArgumentException(
          request.id()
              + ": "
              + forced.length
              + " tokens are to be fed, but "
              + request.maxNewTokens()
              + " generated");
    }
    return run(setup, request, new Trial(context, Decision.EACH_CHUNK, forced, observer));
  }

  private Generation run(PolicySetup setup, GenerationRequest request, Trial trial) {
    ModelSpec spec = model.spec();
    int prompt = request.promptTokens().length;
    int length = prompt + request.maxNewTokens();
    if (length > spec.contextLength()) {
      throw new IllegalArgumentException(
          "%s: %d tokens with the output, the model was trained for %d; choose shorter lengths"
              .formatted(request.id(), length, spec.contextLength()));
    }
    if (trial.prefilled() != null && trial.prefilled().tokens() >= prompt) {
      throw new IllegalArgumentException(
          request.id() + ": all of the prompt was read before; leave a token for the question");
    }
    PageLayout layout = new PageLayout(spec.headSize(), setup.pageTokens(), setup.format());
    CompletableFuture<Generation> result = new CompletableFuture<>();
    try (KvCache cache = cache(setup.policy(), layout, length)) {
      EngineOptions options =
          new EngineOptions(
              setup.format(),
              setup.pageTokens(),
              cache.poolBytes(),
              COLD_BYTES,
              null,
              chunkTokens,
              1,
              spec.contextLength());
      BatchLoop loop =
          new BatchLoop(
              onMemoryOf(cache, setup.policy(), setup.format()),
              cache,
              setup.policy(),
              options,
              spec.contextLength());
      Deque<Document> queue = new ArrayDeque<>();
      queue.add(
          new Document(
              request,
              result,
              model.tokenizer(),
              endTokens,
              spec.contextLength(),
              setup.policy().guard(),
              trial));
      while (!result.isDone()) {
        loop.step(queue::pollFirst, queue::addFirst);
      }
    }
    try {
      return result.join();
    } catch (CompletionException e) {
      throw e.getCause() instanceof RuntimeException cause ? cause : e;
    }
  }

  /** A cache with room for a whole sequence and a partly filled page more. */
  private KvCache cache(FreezePolicy policy, PageLayout layout, int tokens) {
    ModelSpec spec = model.spec();
    long pages = (long) tokens / layout.pageTokens() + 3;
    CacheShape shape = KvCache.shape(policy, layout, spec.layers().size(), spec.kvHeads());
    long summaryBytes = (long) layout.pageTokens() * shape.summaryBytesPerToken();
    long bytes = pages * shape.heads() * (layout.pageBytes() + summaryBytes);
    return new KvCache(
        device.pageMemory(layout, bytes),
        new HostColdStore(layout.wordsPerPage(), COLD_BYTES),
        policy,
        spec.ropes(),
        spec.kvHeads(),
        calibration(policy, layout.format()).sketches());
  }

  private Transformer onMemoryOf(KvCache cache, FreezePolicy policy, KvFormat format) {
    return transformer.withMemory(cache.memory(), calibration(policy, format).smoothing());
  }

  private KeyCalibration calibration(FreezePolicy policy, KvFormat format) {
    if (!KeyCalibrator.isWanted(device, policy, format)) {
      return KeyCalibration.NONE;
    }
    if (calibrator == null) {
      calibrator = KeyCalibrator.read(model, device, transformer);
    }
    return calibrator.calibration(policy, format);
  }

  /** Closes the device; the model stays the caller's. */
  @Override
  public void close() {
    device.close();
  }

  /** The full cache, with mass. */
  private static final class ReadingPolicy implements FreezePolicy {
    @Override
    public String name() {
      return "reading";
    }

    @Override
    public boolean mayFreeze() {
      return false;
    }

    @Override
    public boolean wantsMass(StepKind kind) {
      return true;
    }

    @Override
    public SequencePolicy sequence(CacheShape shape) {
      return (head, kind, view, mover) -> {};
    }

    @Override
    public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
      return lengths.total();
    }
  }
}
