package dev.kvfreeze.spark.toy;

import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.engine.FinishReason;
import dev.kvfreeze.engine.Generation;
import dev.kvfreeze.engine.GenerationRequest;
import dev.kvfreeze.engine.GenerationStatistics;
import dev.kvfreeze.engine.ProgressSnapshot;
import dev.kvfreeze.engine.RecoveryCounts;
import dev.kvfreeze.engine.StepRecord;
import dev.kvfreeze.model.LanguageModel;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Answers with the beginning of the prompt in capitals. A document can ask for trouble: {@code
 * SLEEP 300} takes 300 ms, {@code FAIL} fails, {@code BREAK} ends the engine.
 */
final class ToyEngine implements Engine {
  private static final Pattern SLEEP = Pattern.compile("SLEEP (\\d+)");

  private final LanguageModel model = new ToyModel();
  private final String policy;
  private final int contextLimit;
  private final ExecutorService batch;
  private final AtomicInteger running = new AtomicInteger();
  private final AtomicLong finished = new AtomicLong();
  private final AtomicLong promptTokens = new AtomicLong();
  private volatile Throwable failure;

  ToyEngine(String policy, int contextLimit, int maxBatch) {
    this.policy = policy;
    this.contextLimit = contextLimit == 0 ? ToyModel.CONTEXT : contextLimit;
    this.batch =
        Executors.newFixedThreadPool(
            maxBatch,
            task -> {
              Thread thread = new Thread(task, "toy-engine");
              thread.setDaemon(true);
              return thread;
            });
  }

  @Override
  public LanguageModel model() {
    return model;
  }

  @Override
  public DeviceInfo device() {
    return new DeviceInfo("toy device", "toy", 1);
  }

  @Override
  public String policyName() {
    return policy;
  }

  @Override
  public int contextLimit() {
    return contextLimit;
  }

  @Override
  public CompletableFuture<Generation> submit(GenerationRequest request) {
    if (request.promptTokens().length + request.maxNewTokens() > contextLimit) {
      return CompletableFuture.failedFuture(
          new IllegalArgumentException(request.id() + " is too long"));
    }
    return CompletableFuture.supplyAsync(() -> generate(request), batch);
  }

  private Generation generate(GenerationRequest request) {
    running.incrementAndGet();
    try {
      String prompt = model.tokenizer().decode(request.promptTokens());
      Matcher sleep = SLEEP.matcher(prompt);
      if (sleep.find()) {
        Thread.sleep(Long.parseLong(sleep.group(1)));
      }
      if (prompt.contains("BREAK")) {
        failure = new IllegalStateException("the toy device fell off the bus");
      }
      if (failure != null) {
        throw new IllegalStateException("the engine is closed", failure);
      }
      if (prompt.contains("FAIL")) {
        throw new ArithmeticException("asked to fail");
      }
      int[] answer =
          Arrays.stream(request.promptTokens())
              .filter(id -> id < 256)
              .map(id -> id >= 'a' && id <= 'z' ? id - 32 : id)
              .limit(request.maxNewTokens())
              .toArray();
      promptTokens.addAndGet(request.promptTokens().length);
      return new Generation(
          request.id(),
          answer,
          model.tokenizer().decode(answer),
          FinishReason.LENGTH,
          request.promptTokens().length,
          new GenerationStatistics(
              10,
              5,
              1000,
              500,
              2000,
              7,
              3,
              4000,
              1000,
              1.5,
              2.5,
              1,
              2,
              3,
              new RecoveryCounts(0, 0, 0, 0, 0)),
          List.of(
              new StepRecord(0, request.promptTokens().length, 10, 0, 4, 0, 1000, 0, 2, "none"),
              new StepRecord(
                  1, request.promptTokens().length + 1, 5, 5, 2, 2, 500, 500, 1, "none")),
          List.of());
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    } finally {
      running.decrementAndGet();
      finished.incrementAndGet();
    }
  }

  @Override
  public Optional<Throwable> failure() {
    return Optional.ofNullable(failure);
  }

  @Override
  public ProgressSnapshot progress() {
    return new ProgressSnapshot(
        0, running.get(), finished.get(), promptTokens.get(), 0, 500L * running.get(), 10_000, 0);
  }

  @Override
  public void close() {
    batch.shutdownNow();
  }
}
