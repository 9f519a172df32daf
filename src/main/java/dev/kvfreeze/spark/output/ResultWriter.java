package dev.kvfreeze.spark.output;

import java.io.IOException;
import java.io.Serializable;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;

/**
 * Writes a task's rows. Rows are published together as files that appear whole: written below
 * {@code _temporary}, then renamed, {@code steps} before {@code generations}, under one name. So a
 * document in {@code generations} is complete, and a file of {@code steps} without its twin is a
 * leftover.
 */
public final class ResultWriter {
  private final Target target;
  private final Configuration hadoop;
  private final FileSystem fileSystem;
  private final Path output;
  private final int taskAttempt;
  private final List<TableRow> generations = new ArrayList<>();
  private final List<TableRow> steps = new ArrayList<>();
  private long oldest;
  private int sequence;

  /**
   * Where and how often a task writes.
   *
   * @param output qualified path of the output folder
   * @param documents a file after this many documents
   * @param interval or when the oldest unwritten one is this old
   */
  public record Target(String output, String runId, int partition, int documents, Duration interval)
      implements Serializable {}

  public ResultWriter(Target target, int taskAttempt, Configuration hadoop) throws IOException {
    this.target = target;
    this.hadoop = hadoop;
    this.output = new Path(target.output());
    this.fileSystem = output.getFileSystem(hadoop);
    this.taskAttempt = taskAttempt;
  }

  /**
   * Document hashes that earlier attempts of this task published, so that they are not done again;
   * removes what those attempts left half published.
   */
  public Set<String> publishedBefore() throws IOException {
    Path folder = OutputFolder.table(output, OutputSchemas.GENERATIONS);
    Set<String> published = OutputFolder.files(fileSystem, folder, prefix());
    Path stepsFolder = OutputFolder.table(output, OutputSchemas.STEPS);
    for (String name : OutputFolder.files(fileSystem, stepsFolder, prefix())) {
      if (!published.contains(name)) {
        fileSystem.delete(new Path(stepsFolder, name), false);
      }
    }
    Set<String> hashes = new HashSet<>();
    for (String name : published) {
      try (ParquetReader<Group> reader =
          ParquetReader.builder(new GroupReadSupport(), new Path(folder, name))
              .withConf(hadoop)
              .build()) {
        for (Group row = reader.read(); row != null; row = reader.read()) {
          hashes.add(row.getString("document_hash", 0));
        }
      }
    }
    return hashes;
  }

  /** Adds a document's row and the rows of its steps. */
  public void add(TableRow generation, List<TableRow> generationSteps) {
    if (generations.isEmpty()) {
      oldest = System.nanoTime();
    }
    generations.add(generation);
    steps.addAll(generationSteps);
  }

  /** Publishes when enough rows are waiting, or have waited long enough. */
  public void publishIfDue() throws IOException {
    boolean many = generations.size() >= target.documents();
    if (many
        || (!generations.isEmpty() && System.nanoTime() - oldest >= target.interval().toNanos())) {
      publish();
    }
  }

  /** Publishes all rows that wait. */
  public void publish() throws IOException {
    if (generations.isEmpty()) {
      return;
    }
    String name = "%s%d-%05d.parquet".formatted(prefix(), taskAttempt, sequence++);
    if (!steps.isEmpty()) {
      publish(OutputSchemas.STEPS, steps, name);
    }
    publish(OutputSchemas.GENERATIONS, generations, name);
    generations.clear();
    steps.clear();
  }

  private void publish(TableSchema table, List<TableRow> rows, String name) throws IOException {
    Path temporary =
        new Path(OutputFolder.temporary(output, target.runId()), table.name() + "-" + name);
    ParquetTableFile.write(temporary, table, rows, hadoop);
    Path folder = OutputFolder.table(output, table);
    fileSystem.mkdirs(folder);
    Path published = new Path(folder, name);
    if (!fileSystem.rename(temporary, published)) {
      throw new IOException("cannot rename " + temporary + " to " + published);
    }
  }

  private String prefix() {
    return "part-%s-%05d-".formatted(target.runId(), target.partition());
  }
}
