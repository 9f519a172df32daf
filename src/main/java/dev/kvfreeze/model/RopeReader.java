package dev.kvfreeze.model;

import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.gguf.GgufMetadata;
import dev.kvfreeze.model.tensor.Dequantizer;
import dev.kvfreeze.model.tensor.TensorData;
import java.util.Arrays;

/**
 * Reads the rotary frequencies: {@code base^(-2i/n)}, divided by one factor for all (linear
 * scaling) or by one for each pair (Llama 3, from {@code rope_freqs.weight} or the keys).
 */
final class RopeReader {
  private static final String FACTORS = "rope_freqs.weight";
  private static final double USUAL_BASE = 10_000;
  private static final double MAX_FACTOR = 1 << 20;

  private final GgufFile file;
  private final GgufMetadata metadata;
  private final String architecture;
  private final int headSize;
  private final Rope.Pairing pairing;

  RopeReader(GgufFile file, String architecture, int headSize, Rope.Pairing pairing) {
    this.file = file;
    this.metadata = file.metadata();
    this.architecture = architecture;
    this.headSize = headSize;
    this.pairing = pairing;
  }

  /** Of layers that see everything: base and scaling as the metadata says. */
  Rope global() {
    double[] frequencies = frequencies(base("rope.freq_base", USUAL_BASE));
    divideByTensor(frequencies);
    String type = metadata.stringOrNull(key("rope.scaling.type"));
    String scaling = type == null ? "linear" : type;
    switch (scaling) {
      case "none" -> {}
      case "linear" -> {
        double factor = linearFactor();
        Arrays.setAll(frequencies, i -> frequencies[i] / factor);
      }
      case "llama3" -> scaleAsLlama3(frequencies);
      default ->
          throw failure(
              "RoPE scaling '%s' is not supported, allowed none, linear and llama3"
                  .formatted(scaling.replaceAll("\\p{C}", "?")));
    }
    return rope(frequencies);
  }

  /** Of sliding-window layers with a base of their own (Gemma 3), which are not scaled. */
  Rope local() {
    return rope(frequencies(base("rope.freq_base_swa", USUAL_BASE)));
  }

  private double base(String suffix, double usual) {
    double base = metadata.numberOr(key(suffix), usual);
    if (!(base > 1 && base < 1e12)) {
      throw failure("%s is %s, allowed 1 to 1e12".formatted(key(suffix), base));
    }
    return base;
  }

  private double[] frequencies(double base) {
    String key = key("rope.dimension_count");
    int rotated = metadata.contains(key) ? metadata.boundedInteger(key, 2, headSize) : headSize;
    if (rotated % 2 != 0) {
      throw failure("%s is %d, allowed even numbers".formatted(key, rotated));
    }
    double[] frequencies = new double[rotated / 2];
    Arrays.setAll(frequencies, i -> Math.pow(base, -2.0 * i / rotated));
    return frequencies;
  }

  private void divideByTensor(double[] frequencies) {
    if (!file.tensors().containsKey(FACTORS)) {
      return;
    }
    TensorData tensor = file.tensor(FACTORS);
    if (tensor.rows() != 1 || tensor.columns() != frequencies.length) {
      throw failure(
          "tensor %s has the shape %d x %d, expected 1 x %d"
              .formatted(FACTORS, tensor.rows(), tensor.columns(), frequencies.length));
    }
    float[] factors = new float[frequencies.length];
    Dequantizer.dequantize(tensor, 0, factors, 0);
    for (int i = 0; i < factors.length; i++) {
      requireFactor(FACTORS, factors[i]);
      frequencies[i] /= factors[i];
    }
  }

  private double linearFactor() {
    double factor =
        metadata.numberOr(
            key("rope.scaling.factor"), metadata.numberOr(key("rope.scale_linear"), 1));
    // llama.cpp reads 0 as "not scaled".
    return factor == 0 ? 1 : requireFactor(key("rope.scaling.factor"), factor);
  }

  /** Llama 3.1's scaling: long waves are stretched, short ones kept, those between blended. */
  private void scaleAsLlama3(double[] frequencies) {
    if (file.tensors().containsKey(FACTORS)) {
      return; // The converter has worked the same scaling into the tensor.
    }
    double factor = requireFactor("factor", metadata.number(key("rope.scaling.factor")));
    double low = requireFactor("low", metadata.numberOr(key("rope.scaling.low_freq_factor"), 1));
    double high = requireFactor("high", metadata.numberOr(key("rope.scaling.high_freq_factor"), 4));
    double context =
        requireFactor(
            "context", metadata.numberOr(key("rope.scaling.original_context_length"), 8192));
    if (high <= low) {
      throw failure("RoPE scaling's high factor is %s, allowed above %s".formatted(high, low));
    }
    for (int i = 0; i < frequencies.length; i++) {
      double turns = context * frequencies[i] / (2 * Math.PI);
      double kept = Math.max(0, Math.min(1, (turns - low) / (high - low)));
      frequencies[i] *= kept + (1 - kept) / factor;
    }
  }

  private double requireFactor(String what, double factor) {
    if (!(factor > 0 && factor <= MAX_FACTOR)) {
      throw failure(
          "RoPE scaling %s is %s, allowed above 0 to %s".formatted(what, factor, MAX_FACTOR));
    }
    return factor;
  }

  private Rope rope(double[] frequencies) {
    float[] rounded = new float[frequencies.length];
    for (int i = 0; i < rounded.length; i++) {
      rounded[i] = (float) frequencies[i];
    }
    return new Rope(rounded, pairing);
  }

  private String key(String suffix) {
    return architecture + "." + suffix;
  }

  private ModelFileException failure(String what) {
    return new ModelFileException(
        metadata.file() + ": " + what + "; convert the model again or take another");
  }
}
