package dev.kvfreeze.engine;

import dev.kvfreeze.cache.PrefilledContext;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.freeze.EntropyGuard;
import dev.kvfreeze.freeze.GuardOptions;
import dev.kvfreeze.freeze.RecoveryLevel;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.tokenizer.StreamingDecoder;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/**
 * A document on its way through the engine: its request, how far it has been read, and what has
 * been generated. Owned by the engine thread once queued; its cache is released exactly once, by
 * {@link #release}.
 */
final class Document {
  private final GenerationRequest request;
  private final CompletableFuture<Generation> result;
  private final Tokenizer tokenizer;
  private final Set<Integer> endTokens;
  private final int maxNewTokens;
  private final boolean limitedByContext;
  private final CacheMeter meter;
  private final Sampler sampler;
  private StreamingDecoder decoder;
  private StopStringMatcher stops;
  private final StringBuilder text = new StringBuilder();
  private final Trial trial;
  private final EntropyGuard guard;
  private RecoveryLevel recovery = RecoveryLevel.NONE;
  private boolean readsExactly;
  private final int[] generated;
  private int generatedCount;
  private int promptRead;
  private SequenceCache cache;
  private FinishReason finishReason;
  private final GuardOptions guardOptions;

  Document(
      GenerationRequest request,
      CompletableFuture<Generation> result,
      Tokenizer tokenizer,
      Set<Integer> endTokens,
      int contextLimit,
      GuardOptions guard) {
    this(request, result, tokenizer, endTokens, contextLimit, guard, Trial.NONE);
  }

  Document(
      GenerationRequest request,
      CompletableFuture<Generation> result,
      Tokenizer tokenizer,
      Set<Integer> endTokens,
      int contextLimit,
      GuardOptions guard,
      Trial trial) {
    this.trial = trial;
    this.request = request;
    this.result = result;
    this.tokenizer = tokenizer;
    this.endTokens = endTokens;
    int room = contextLimit - promptLength();
    this.limitedByContext = room < request.maxNewTokens();
    this.maxNewTokens = Math.min(room, request.maxNewTokens());
    this.meter = new CacheMeter(request.stepInterval());
    this.sampler = new Sampler(request.id(), request.sampling());
    this.decoder = new StreamingDecoder(tokenizer);
    this.stops = new StopStringMatcher(request.stopStrings());
    this.generated = new int[maxNewTokens];
    this.guard = new EntropyGuard(guard, request.sampling().seed());
    this.guardOptions = guard;
  }

  /** The same document from the beginning: its text will be the same, since its seed is. */
  Document restarted(int contextLimit) {
    return new Document(request, result, tokenizer, endTokens, contextLimit, guardOptions, trial);
  }

  GenerationRequest request() {
    return request;
  }

  CompletableFuture<Generation> result() {
    return result;
  }

  CacheMeter meter() {
    return meter;
  }

  SequenceCache cache() {
    return cache;
  }

  int maxNewTokens() {
    return maxNewTokens;
  }

  void admit(SequenceCache newCache) {
    cache = newCache;
    meter.admitted();
  }

  boolean prefilling() {
    return promptRead < promptLength();
  }

  int promptLength() {
    return request.promptTokens().length;
  }

  /**
   * The next tokens of the prompt, at most {@code chunk}, never over the end of the context, and
   * without one never over the beginning of the last {@code observed}; the cache must then be
   * extended.
   */
  int nextChunk(int chunk, int observed) {
    int prompt = promptLength();
    int context = request.contextTokens();
    int end = promptRead < context ? context : prompt;
    if (context == 0 && observed > 0 && promptRead < prompt - observed) {
      end = prompt - observed;
    }
    int most = end - promptRead;
    return trial.prefilled() == null || promptRead >= trial.prefilled().tokens()
        ? Math.min(chunk, most)
        : trial.prefilled().nextChunk(promptRead);
  }

  /** What a chunk of so many tokens is. */
  StepKind kindOf(int count) {
    int end = promptRead + count;
    if (end == promptLength()) {
      return StepKind.QUESTION;
    }
    return end == request.contextTokens() ? StepKind.CONTEXT : StepKind.PREFILL;
  }

  /**
   * Takes the chunk's keys and values from a context that was read before; false when there is none
   * and the model must read it.
   */
  boolean takePrefilled(int count, Device device) {
    PrefilledContext prefilled = trial.prefilled();
    if (prefilled == null || promptRead >= prefilled.tokens()) {
      return false;
    }
    prefilled.writeTo(cache, promptRead, count, device);
    return true;
  }

  /** Whether the policy decides after this chunk: always, but in a query-aware trial at the end. */
  boolean policyDecides() {
    return trial.decision() == PolicyTrials.Decision.EACH_CHUNK || !prefilling();
  }

  ForwardSlice promptSlice(int count) {
    return new ForwardSlice(cache, request.promptTokens(), promptRead, count);
  }

  void promptAdvanced(int count) {
    promptRead += count;
  }

  /** The newest generated token, to be read by the next decode step. */
  ForwardSlice decodeSlice() {
    return new ForwardSlice(cache, generated, generatedCount - 1, 1);
  }

  /** Whether the sampler needs the logits themselves, beyond their statistics. */
  boolean wantsLogits() {
    return sampler.needsLogits() || trial.observer() != null;
  }

  /** Takes the next token from the distribution; {@code logits} may be overwritten. */
  void sample(LogitStatistics statistics, float[] logits) {
    if (Float.isNaN(statistics.logSumExp())) {
      throw new IllegalStateException(
          "document "
              + request.id()
              + ": the model computed NaN logits after "
              + (promptRead + generatedCount)
              + " tokens; the model file is damaged or unsuited to "
              + "this KV format, try --set kv.format=f32 or another file");
    }
    meter.entropy(statistics.entropy());
    recovery = guard.observe(statistics.entropy());
    meter.step(generatedCount, cache.length(), cache.usage(), statistics.entropy(), recovery);
    if (trial.observer() != null) {
      trial.observer().accept(statistics, logits, cache.usage());
    }
    int token = trial.forced(generatedCount, () -> sampler.next(logits, statistics));
    if (endTokens.contains(token) && trial.forced() == null) {
      finish(FinishReason.STOP);
      return;
    }
    sampler.accept(token);
    generated[generatedCount++] = token;
    text.append(stops.append(decoder.append(token)));
    if (stops.found()) {
      finish(FinishReason.STOP_STRING);
    } else if (generatedCount == maxNewTokens) {
      finish(limitedByContext ? FinishReason.CONTEXT : FinishReason.LENGTH);
    }
  }

  /** The recovery that the newest distribution calls for; asked once. */
  RecoveryLevel takeRecovery() {
    RecoveryLevel taken = recovery;
    recovery = RecoveryLevel.NONE;
    return taken;
  }

  /** The next step is read with all pages passing. */
  void readNextExactly() {
    readsExactly = true;
  }

  /** Whether the next step is to be read exactly; asked once. */
  boolean takeReadsExactly() {
    boolean taken = readsExactly;
    readsExactly = false;
    return taken;
  }

  /** Goes tokens back, as far as there are some: they are generated again. */
  void rewind() {
    int tokens = Math.min(guardOptions.rewindTokens(), generatedCount - 1);
    if (tokens <= 0 || trial.forced() != null) {
      return;
    }
    cache.truncate(cache.length() - tokens);
    generatedCount -= tokens;
    meter.rewound(tokens);
    decoder = new StreamingDecoder(tokenizer);
    stops = new StopStringMatcher(request.stopStrings());
    text.setLength(0);
    sampler.forget();
    for (int i = 0; i < generatedCount; i++) {
      sampler.accept(generated[i]);
      text.append(stops.append(decoder.append(generated[i])));
    }
  }

  private void finish(FinishReason reason) {
    finishReason = reason;
    if (reason != FinishReason.STOP_STRING) {
      text.append(stops.append(decoder.flush()));
      text.append(stops.rest());
    }
  }

  boolean finished() {
    return finishReason != null;
  }

  Generation generation(long fullKvBytes) {
    return new Generation(
        request.id(),
        Arrays.copyOf(generated, generatedCount),
        text.toString(),
        finishReason,
        promptLength(),
        meter.finish(cache.usage(), cache.traffic(), fullKvBytes),
        meter.steps(),
        notes());
  }

  private List<String> notes() {
    List<String> notes = new ArrayList<>();
    if (cache.warning() != null) {
      notes.add(cache.warning());
    }
    if (cache.leastCapShare() < 1) {
      notes.add(
          String.format(
              Locale.ROOT,
              "the pool was too small: frozen down to %.0f %% of the policy's cap; give it more with"
                  + " --set cache.poolBytes=BYTES or take fewer documents at a time with --set"
                  + " engine.maxBatch=N",
              100 * cache.leastCapShare()));
    }
    return notes;
  }

  /** Gives the pages back; safe to call twice. */
  void release() {
    if (cache != null) {
      cache.close();
      cache = null;
    }
  }
}
