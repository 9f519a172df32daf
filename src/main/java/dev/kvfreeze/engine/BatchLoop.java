package dev.kvfreeze.engine;

import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.cache.PoolExhaustedException;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.PartTimes.Phase;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.RecoveryLevel;
import dev.kvfreeze.freeze.StepKind;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * The running batch. One {@link #step} admits what fits, then reads one chunk of one prompt or,
 * when every prompt is read, decodes one token of every document. Prompts come first because a
 * fuller batch makes each later decode step cheaper a token. Engine thread only, but for {@link
 * #snapshot} and {@link #profile}.
 */
final class BatchLoop {
  private final Transformer transformer;
  private final KvCache cache;
  private final int chunkTokens;
  private final int maxBatch;
  private final int contextLimit;
  private final FreezePolicy policy;
  private final Admission admission;
  private final ProfileMeter meter;
  private final float[] logits;
  private final List<Document> running = new ArrayList<>();
  private final List<ForwardSlice> slices = new ArrayList<>();
  private final List<Document> decoding = new ArrayList<>();

  /** Documents that gave their pages back; they start over once another document has left. */
  private final Deque<Document> sentBack = new ArrayDeque<>();

  private boolean roomSinceSendingBack;

  private volatile TimeProfile profile;
  private volatile ProgressSnapshot counters = new ProgressSnapshot(0, 0, 0, 0, 0, 0, 0, 0);
  private long finished;
  private long promptTokens;
  private long generatedTokens;

  BatchLoop(
      Transformer transformer,
      KvCache cache,
      FreezePolicy policy,
      EngineOptions options,
      int contextLimit) {
    this.transformer = transformer;
    this.cache = cache;
    this.chunkTokens = options.prefillChunk();
    this.maxBatch = options.maxBatch();
    this.contextLimit = contextLimit;
    this.policy = policy;
    this.admission = new Admission(cache, policy, chunkTokens);
    this.meter = new ProfileMeter(transformer.device());
    this.logits = new float[transformer.spec().vocabulary()];
  }

  boolean idle() {
    return running.isEmpty() && sentBack.isEmpty();
  }

  /** One forward pass, documents joining before and leaving after it. */
  void step(Supplier<Document> queue, Consumer<Document> requeue) {
    removeCancelled();
    admit(queue, requeue);
    Document reading = firstUnread();
    if (reading != null) {
      prefillChunk(reading);
    } else if (!running.isEmpty()) {
      decode();
    }
    publish();
  }

  private void removeCancelled() {
    for (int i = running.size() - 1; i >= 0; i--) {
      if (running.get(i).result().isDone()) {
        leave(running.get(i));
      }
    }
  }

  private void admit(Supplier<Document> queue, Consumer<Document> requeue) {
    while (running.size() < maxBatch) {
      Document document = nextCandidate(queue);
      if (document == null) {
        return;
      }
      if (document.result().isDone()) {
        continue;
      }
      Admission.Room room = admission.roomAlone(document);
      if (room == null) {
        document
            .result()
            .completeExceptionally(
                new PoolExhaustedException(
                    "document "
                        + document.request().id()
                        + ": its "
                        + document.request().promptTokens().length
                        + " prompt tokens need "
                        + admission.predictedBytes(document)
                        + " bytes of KV pages, the pool has "
                        + cache.budgetBytes()
                        + "; raise cache.poolBytes, lower engine.contextLimit or choose a policy that "
                        + "frees pages while the prompt is read"));
        continue;
      }
      if (!admission.fits(room)) {
        requeue.accept(document);
        return;
      }
      document.admit(cache.open(document.request().id(), room.share(), document.promptLength()));
      admission.reserve(document, room);
      running.add(document);
    }
  }

  private Document nextCandidate(Supplier<Document> queue) {
    if (sentBack.isEmpty()) {
      return queue.get();
    }
    return roomSinceSendingBack || running.isEmpty() ? sentBack.pollFirst() : null;
  }

  private Document firstUnread() {
    for (Document document : running) {
      if (document.prefilling()) {
        return document;
      }
    }
    return null;
  }

  private void prefillChunk(Document document) {
    long start = System.nanoTime();
    int observed = policy.observedTokens(document.promptLength(), cache.shape());
    int count = document.nextChunk(chunkTokens, Math.min(observed, chunkTokens));
    StepKind kind = document.kindOf(count);
    if (!extend(document, count, kind)) {
      return;
    }
    try {
      document.cache().beginStep(kind);
      int rows =
          document.takePrefilled(count, transformer.device())
              ? 0
              : transformer.forward(List.of(document.promptSlice(count)), kind);
      document.promptAdvanced(count);
      promptTokens += count;
      document.meter().beforeFreeze(document.cache().usage());
      transformer.awaitMass();
      if (document.policyDecides()) {
        document.cache().endStep(kind);
      }
      if (!document.prefilling()) {
        transformer.logitsOfRow(rows - 1);
      }
    } catch (RuntimeException e) {
      fail(document, e);
      return;
    }
    long end = System.nanoTime();
    document.meter().prefilled(end - start);
    meter.passed(Phase.PREFILL, end - start, count);
    if (!document.prefilling()) {
      sample(document, 0);
      meter.sampled(Phase.PREFILL, System.nanoTime() - end);
    }
  }

  private void decode() {
    long start = System.nanoTime();
    slices.clear();
    decoding.clear();
    PoolExhaustedException shortage = null;
    for (Document document : List.copyOf(running)) {
      if (document.takeReadsExactly()) {
        readExactly(document);
        continue;
      }
      try {
        document.cache().extend(1, StepKind.DECODE);
        document.cache().beginStep(StepKind.DECODE);
        slices.add(document.decodeSlice());
        decoding.add(document);
      } catch (PoolExhaustedException e) {
        shortage = e;
      } catch (RuntimeException e) {
        fail(document, e);
      }
    }
    if (shortage != null) {
      relieve(shortage);
    }
    if (decoding.isEmpty()) {
      return;
    }
    try {
      transformer.logitsOfRows(transformer.forward(slices, StepKind.DECODE));
      transformer.awaitMass();
      for (Document document : decoding) {
        document.meter().beforeFreeze(document.cache().usage());
        document.cache().endStep(StepKind.DECODE);
      }
    } catch (RuntimeException e) {
      // Which document's data did it cannot be told: all of the pass fail, the queue goes on.
      decoding.forEach(document -> fail(document, e));
      return;
    }
    long end = System.nanoTime();
    meter.passed(Phase.DECODE, end - start, decoding.size());
    for (int row = 0; row < decoding.size(); row++) {
      Document document = decoding.get(row);
      document.meter().decoded(document.cache().usage(), end - start);
      sample(document, row);
    }
    meter.sampled(Phase.DECODE, System.nanoTime() - end);
  }

  private void sample(Document document, int logitRow) {
    try {
      LogitStatistics statistics = transformer.statistics(logitRow);
      if (document.wantsLogits()) {
        transformer.readLogits(logitRow, logits);
      }
      document.sample(statistics, logits);
      generatedTokens++;
      if (document.finished()) {
        complete(document);
      } else {
        recover(document, document.takeRecovery());
      }
    } catch (RuntimeException e) {
      fail(document, e);
    }
  }

  private void recover(Document document, RecoveryLevel level) {
    if (level == RecoveryLevel.NONE) {
      return;
    }
    if (level == RecoveryLevel.REWALK) {
      document.rewind();
    }
    document.cache().recover(level);
    if (policy.recoversByReading() && level.compareTo(RecoveryLevel.FULL_RESET) >= 0) {
      document.readNextExactly();
    }
  }

  /** A decode step of one document with all its pages passing: the full reset under a cap. */
  private void readExactly(Document document) {
    long start = System.nanoTime();
    if (!extend(document, 1, StepKind.QUESTION)) {
      return;
    }
    try {
      document.cache().beginStep(StepKind.QUESTION);
      transformer.logitsOfRows(
          transformer.forward(List.of(document.decodeSlice()), StepKind.QUESTION));
      transformer.awaitMass();
      document.meter().beforeFreeze(document.cache().usage());
      document.cache().endStep(StepKind.QUESTION);
    } catch (RuntimeException e) {
      fail(document, e);
      return;
    }
    long end = System.nanoTime();
    document.meter().decoded(document.cache().usage(), end - start);
    // Its products are those of a prompt.
    meter.passed(Phase.PREFILL, end - start, 1);
    sample(document, 0);
    meter.sampled(Phase.PREFILL, System.nanoTime() - end);
  }

  /**
   * The pool has run out in spite of admission: documents that found no page sit out this step,
   * while those that did freeze deeper after it. Where they cannot, or nobody has found a page, the
   * newest gives its pages back.
   */
  private void relieve(PoolExhaustedException shortage) {
    boolean tightened = false;
    for (Document document : running) {
      tightened |= document.cache().tightenCap();
    }
    if (!tightened || decoding.isEmpty()) {
      for (int i = running.size() - 1; i >= 0; i--) {
        if (!decoding.contains(running.get(i))) {
          sendBack(running.get(i), shortage);
          return;
        }
      }
    }
  }

  /**
   * Takes pages for the document's next tokens. When the pool is exhausted in spite of admission
   * (thawed pages can exceed the prediction), the document gives its pages back and starts over
   * once another has left; alone in the pool it fails.
   */
  private boolean extend(Document document, int tokens, StepKind kind) {
    try {
      document.cache().extend(tokens, kind);
      return true;
    } catch (PoolExhaustedException e) {
      sendBack(document, e);
      return false;
    } catch (RuntimeException e) {
      fail(document, e);
      return false;
    }
  }

  private void sendBack(Document document, PoolExhaustedException cause) {
    if (running.size() == 1) {
      fail(document, cause);
      return;
    }
    leave(document);
    sentBack.addLast(document.restarted(contextLimit));
    roomSinceSendingBack = false;
  }

  private void complete(Document document) {
    Generation generation = document.generation(fullKvBytes(document.cache().length()));
    leave(document);
    finished++;
    publish();
    document.result().complete(generation);
  }

  /** Bytes that a cache without freezing would hold for so many tokens, without page rounding. */
  private long fullKvBytes(int tokens) {
    var layout = cache.memory().layout();
    var spec = transformer.spec();
    return (long) tokens
        * spec.layers().size()
        * spec.kvHeads()
        * 2
        * layout.headSize()
        * layout.format().comparedBytesPerValue();
  }

  private void fail(Document document, Throwable cause) {
    leave(document);
    document.result().completeExceptionally(cause);
  }

  private void leave(Document document) {
    if (running.remove(document)) {
      admission.release(document);
      document.release();
      roomSinceSendingBack = true;
      running.forEach(other -> other.cache().relaxCap());
    }
  }

  /** Fails every running document; the loop is not used afterwards. */
  void abandon(Throwable reason) {
    // First told, then released: a lost device may not even take pages back.
    for (Document document : List.copyOf(running)) {
      document.result().completeExceptionally(reason);
    }
    running.clear();
    sentBack.forEach(document -> document.result().completeExceptionally(reason));
    sentBack.clear();
  }

  private void publish() {
    profile = meter.profile();
    counters =
        new ProgressSnapshot(
            0,
            running.size(),
            finished,
            promptTokens,
            generatedTokens,
            cache.residentBytes(),
            cache.poolBytes(),
            cache.coldBytes());
  }

  /** Where the time went until the last step, or null; any thread. */
  TimeProfile profile() {
    return profile;
  }

  /** The counters after the last step; any thread. */
  ProgressSnapshot snapshot(int queued) {
    ProgressSnapshot c = counters;
    return new ProgressSnapshot(
        queued,
        c.running(),
        c.finished(),
        c.promptTokens(),
        c.generatedTokens(),
        c.residentKvBytes(),
        c.poolBytes(),
        c.coldKvBytes());
  }
}
