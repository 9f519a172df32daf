package dev.kvfreeze.spark;

import dev.kvfreeze.spark.toy.ToyEngineFactory;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A job in a JVM of its own, started through Spark's own SparkSubmit, so that it can be killed, or
 * can start executors in yet other JVMs. Spark comes from the class path of the tests: a folder
 * with links to those jars is all that Spark's launcher needs as its home.
 */
final class ForkedJob {
  private final Process process;
  private final Path log;

  private ForkedJob(Process process, Path log) {
    this.process = process;
    this.log = log;
  }

  /**
   * @param folder for the Spark home and the log
   */
  static ForkedJob start(Path folder, String master, List<String> arguments) throws IOException {
    Path home = sparkHome(folder);
    String classPath = System.getProperty("java.class.path");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    for (String argument : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
      if (argument.startsWith("--add-") || argument.startsWith("-Djdk.")) {
        command.add(argument);
      }
    }
    command.addAll(List.of("-Xmx1g", "-cp", classPath, "org.apache.spark.deploy.SparkSubmit"));
    command.addAll(List.of("--master", master, "--class", Main.class.getName()));
    command.addAll(List.of("--conf", "spark.ui.enabled=false"));
    command.addAll(List.of("--conf", "spark.executor.extraClassPath=" + classPath));
    command.addAll(
        List.of("--conf", "spark.kvfreeze.engine.factory=" + ToyEngineFactory.class.getName()));
    command.add("spark-internal");
    command.addAll(arguments);
    Path log = Files.createTempFile(folder, "job", ".log");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.directory(folder.toFile());
    builder.environment().put("SPARK_HOME", home.toString());
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    builder.environment().put("SPARK_SCALA_VERSION", "2.13");
    return new ForkedJob(builder.start(), log);
  }

  private static Path sparkHome(Path folder) throws IOException {
    Path home = folder.resolve("spark-home");
    Path jars = home.resolve("jars");
    if (Files.isDirectory(jars)) {
      return home;
    }
    Files.createDirectories(jars);
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
      Path jar = Path.of(entry);
      if (entry.endsWith(".jar") && Files.isRegularFile(jar)) {
        Path link = jars.resolve(jar.getFileName().toString());
        if (!Files.exists(link)) {
          Files.createSymbolicLink(link, jar);
        }
      }
    }
    return home;
  }

  /** The exit code; a job that hangs is killed and has none. */
  int waitFor() throws InterruptedException {
    if (!process.waitFor(4, TimeUnit.MINUTES)) {
      kill();
      return -1;
    }
    return process.exitValue();
  }

  boolean running() {
    return process.isAlive();
  }

  /** As the kernel's out-of-memory killer would: no shutdown hook runs. */
  void kill() throws InterruptedException {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
    process.waitFor();
  }

  String log() throws IOException {
    return Files.readString(log);
  }
}
