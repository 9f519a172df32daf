package dev.kvfreeze.engine;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;

/** What others computed for the same files and prompts; see {@code src/test/python}. */
record ReferenceData(JsonNode prompts, JsonNode exact, JsonNode llamaCpp) {
  static final String SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1";
  static final String GEMMA3 = "gemma-3-270m-Q4_K_M";

  static ReferenceData of(String model) {
    return new ReferenceData(
        read(model + ".prompts.json"),
        read(model + ".float32.json"),
        read(model + ".llama_cpp.json"));
  }

  private static JsonNode read(String file) {
    try {
      return new ObjectMapper()
          .readTree(Path.of("src/test/resources/reference").resolve(file).toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  int[] tokens(String prompt) {
    return integers(prompts.get(prompt));
  }

  static int[] integers(JsonNode array) {
    int[] values = new int[array.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = array.get(i).intValue();
    }
    return values;
  }
}
