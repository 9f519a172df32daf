package dev.kvfreeze.model.store;

import java.util.List;
import java.util.Optional;

/**
 * A model that {@code jobs/fetch-model} fetches.
 *
 * @param name as in {@code --model}
 * @param file its name in the cache folder's {@code models}
 * @param bytes its size
 * @param sha256 its hash in lower-case hexadecimal
 */
public record CatalogueModel(String name, String file, long bytes, String sha256) {
  /** What jobs use when they name no model. */
  public static final CatalogueModel DEFAULT =
      new CatalogueModel(
          "smollm2-135m-instruct",
          "SmolLM2-135M-Instruct.Q4_1.gguf",
          98_362_432,
          "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");

  /** Every model of the catalogue, the default first. */
  public static final List<CatalogueModel> ALL =
      List.of(
          DEFAULT,
          new CatalogueModel(
              "gemma3-270m",
              "gemma-3-270m-Q4_K_M.gguf",
              253_113_024,
              "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"));

  static Optional<CatalogueModel> named(String name) {
    return ALL.stream().filter(model -> model.name.equals(name)).findFirst();
  }
}
