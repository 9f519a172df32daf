package dev.kvfreeze.spark.job;

import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.input.InputDocument;
import dev.kvfreeze.spark.output.ResultWriter;
import dev.kvfreeze.spark.plugin.ExecutorEngine;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * A Spark task: its documents through the executor's engine and into files. What it returns is only
 * how many it did.
 */
final class DocumentTask
    implements FlatMapFunction<Iterator<Tuple2<TaskPlace, InputDocument>>, Long> {
  private static final long serialVersionUID = 1;

  private final TaskSettings task;
  private final Broadcast<Map<String, Assignment>> assignments;
  private final Broadcast<SerializableConfiguration> hadoop;

  DocumentTask(
      TaskSettings task,
      Broadcast<Map<String, Assignment>> assignments,
      Broadcast<SerializableConfiguration> hadoop) {
    this.task = task;
    this.assignments = assignments;
    this.hadoop = hadoop;
  }

  @Override
  public Iterator<Long> call(Iterator<Tuple2<TaskPlace, InputDocument>> documents)
      throws Exception {
    TaskContext context = TaskContext.get();
    ExecutorEngine executor = ExecutorEngine.current();
    Engine engine = executor.await();
    Configuration configuration = hadoop.value().value();
    ResultWriter writer =
        new ResultWriter(
            new ResultWriter.Target(
                task.output(),
                task.run().runId(),
                context.partitionId(),
                task.settings().value(Knobs.COMMIT_DOCUMENTS),
                task.settings().value(Knobs.COMMIT_INTERVAL)),
            context.attemptNumber(),
            configuration);
    Set<String> published = context.attemptNumber() == 0 ? Set.of() : writer.publishedBefore();
    Iterator<InputDocument> missing =
        new MissingDocuments(documents, published, assignments.value().keySet());
    try (DocumentStream stream = new DocumentStream(task, executor, engine, writer)) {
      return List.of(stream.run(missing, assignments.value(), context)).iterator();
    } finally {
      executor.tellProgress();
    }
  }
}
