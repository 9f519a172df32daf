package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;

/** Finds the model of the settings as a local file. */
final class ModelFiles {
  private ModelFiles() {}

  static Path find(Settings settings, Configuration hadoop) {
    String model = settings.value(Knobs.MODEL);
    Path path =
        model.equals("smollm2-135m-instruct")
            ? Path.of(
                System.getProperty("user.home"),
                ".cache/kvfreeze/models/SmolLM2-135M-Instruct.Q4_1.gguf")
            : Path.of(model);
    if (!Files.isRegularFile(path)) {
      throw new ModelFileException(path + ": there is no such file; check --model");
    }
    return path;
  }
}
