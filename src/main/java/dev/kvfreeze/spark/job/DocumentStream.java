package dev.kvfreeze.spark.job;

import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.engine.Generation;
import dev.kvfreeze.engine.GenerationRequest;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.input.DocumentProblem;
import dev.kvfreeze.spark.input.InputDocument;
import dev.kvfreeze.spark.output.ResultWriter;
import dev.kvfreeze.spark.plugin.ExecutorEngine;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.spark.TaskContext;

/**
 * Documents of one task in, rows out as each ends. How many are in flight is bounded for the whole
 * executor; with none of its own in flight a task waits for room, so that every task gets on. Used
 * by the task's thread; {@link #close} takes what is in flight out of the engine.
 */
final class DocumentStream implements AutoCloseable {
  private static final long POLL_MILLIS = 200;

  private final TaskSettings task;
  private final ExecutorEngine executor;
  private final Engine engine;
  private final ResultWriter writer;
  private final ResultRows rows;
  private final Map<PendingDocument, CompletableFuture<Generation>> inFlight = new HashMap<>();
  private final BlockingQueue<Ended> ended = new LinkedBlockingQueue<>();
  private PromptBuilder prompts;

  private record Ended(PendingDocument document, Generation generation, Throwable failure) {}

  DocumentStream(TaskSettings task, ExecutorEngine executor, Engine engine, ResultWriter writer) {
    this.task = task;
    this.executor = executor;
    this.engine = engine;
    this.writer = writer;
    this.rows = new ResultRows(task.run(), engine.device(), executor.executorId(), executor.host());
  }

  /** Does all documents, publishing their rows; returns how many. */
  long run(
      Iterator<InputDocument> documents, Map<String, Assignment> assignments, TaskContext context)
      throws IOException, InterruptedException {
    long count = 0;
    while (true) {
      while (documents.hasNext() && room()) {
        InputDocument document = documents.next();
        start(document, assignments.get(document.hash()));
        count++;
      }
      if (inFlight.isEmpty()) {
        break;
      }
      Ended next = ended.poll(POLL_MILLIS, TimeUnit.MILLISECONDS);
      if (next != null) {
        finish(next);
      }
      writer.publishIfDue();
      context.killTaskIfInterrupted();
    }
    writer.publish();
    return count;
  }

  private boolean room() throws InterruptedException {
    if (inFlight.isEmpty()) {
      executor.acquire();
      return true;
    }
    return executor.tryAcquire();
  }

  /** Sends a document to the engine; one that cannot be sent becomes a row at once. */
  private void start(InputDocument input, Assignment assignment) throws IOException {
    List<String> notes = new ArrayList<>(assignment.notes());
    notes.addAll(input.notes());
    PendingDocument document = new PendingDocument(input.hash(), assignment, null, notes);
    DocumentProblem problem = input.problem();
    if (problem != null) {
      executor.release();
      fail(document, "read", problem.errorClass(), problem.message());
      return;
    }
    GenerationRequest request;
    try {
      DocumentPrompt prompt = prompts().build(input.text());
      notes.addAll(prompt.notes());
      document = new PendingDocument(input.hash(), assignment, prompt, notes);
      request = request(document, prompt);
    } catch (RuntimeException e) {
      executor.release();
      fail(document, "prompt", e.getClass().getSimpleName(), e.getMessage());
      return;
    }
    submit(document, request);
  }

  private GenerationRequest request(PendingDocument document, DocumentPrompt prompt) {
    Settings settings = task.settings();
    return new GenerationRequest(
        document.assignment().documentId(),
        prompt.tokens(),
        settings.value(Knobs.MAX_NEW_TOKENS),
        task.sampling(document.hash()),
        settings.value(Knobs.STOP_STRINGS),
        settings.value(Knobs.STEP_INTERVAL));
  }

  private void submit(PendingDocument document, GenerationRequest request) {
    CompletableFuture<Generation> future = engine.submit(request);
    inFlight.put(document, future);
    CompletableFuture<Generation> unused =
        future.whenComplete(
            (generation, failure) -> {
              executor.release();
              ended.add(new Ended(document, generation, failure));
            });
  }

  private PromptBuilder prompts() {
    if (prompts == null) {
      Settings settings = task.settings();
      prompts =
          new PromptBuilder(
              engine.model(),
              task.prompt(),
              settings.value(Knobs.TEMPLATE),
              engine.contextLimit() - settings.value(Knobs.MAX_NEW_TOKENS));
    }
    return prompts;
  }

  private void finish(Ended result) throws IOException {
    PendingDocument document = result.document();
    inFlight.remove(document);
    if (result.failure() == null) {
      executor.countOk(document.assignment().cost());
      writer.add(
          rows.done(document, result.generation()),
          rows.steps(document, result.generation().steps()));
      return;
    }
    Throwable failure =
        result.failure() instanceof CompletionException wrapped && wrapped.getCause() != null
            ? wrapped.getCause()
            : result.failure();
    if (engine.failure().isPresent()) {
      // Not the document's fault: what is in flight stays missing, for the next run.
      throw executor.ended(engine.failure().get());
    }
    fail(document, "generate", failure.getClass().getSimpleName(), failure.getMessage());
  }

  private void fail(PendingDocument document, String stage, String errorClass, String message)
      throws IOException {
    executor.countFailed(
        document.assignment().cost(),
        "%s: %s: %s".formatted(document.assignment().documentId(), errorClass, message));
    writer.add(rows.failed(document, stage, errorClass, message), List.of());
    writer.publishIfDue();
  }

  @Override
  public void close() {
    inFlight.values().forEach(future -> future.cancel(true));
    inFlight.clear();
  }
}
