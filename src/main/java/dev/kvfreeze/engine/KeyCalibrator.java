package dev.kvfreeze.engine;

import dev.kvfreeze.cache.HostColdStore;
import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KeySmoothing;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.QkvRows;
import dev.kvfreeze.device.SketchCalibration;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PageEstimates;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

/**
 * Finds what a model's keys and queries are like, by reading a short text of its own: for sketches
 * of keys, and for keys of 8 bits. The variances are those of pairs before the rotary embedding,
 * which turns a pair but does not stretch it.
 */
public final class KeyCalibrator implements QkvObserver {
  private static final String TEXT = "key-calibration.txt";
  private static final int MOST_TOKENS = 256;

  /** First tokens, whose keys and queries are like no others (attention sinks). */
  private static final int SINKS = 4;

  private static final int PAGE_TOKENS = 16;

  private final Device device;
  private final ModelSpec spec;
  private final double[][] keySums;
  private final double[][] keySquares;
  private final double[][] querySquares;

  /** Largest length of a pair, for both of its dimensions. */
  private final float[][] largest;

  private int tokens;

  private KeyCalibrator(Device device, ModelSpec spec) {
    this.device = device;
    this.spec = spec;
    int heads = spec.layers().size() * spec.kvHeads();
    keySums = new double[heads][spec.headSize()];
    keySquares = new double[heads][spec.headSize()];
    querySquares = new double[heads][spec.headSize()];
    largest = new float[heads][spec.headSize()];
  }

  /**
   * Reads the text, some 200 tokens, where a policy's sketches on this device or the format of the
   * pages ask for it.
   *
   * @param transformer whose own page memory is not used
   * @param format of the pages that the policy will work on
   */
  public static KeyCalibration calibrate(
      LanguageModel model,
      Device device,
      Transformer transformer,
      FreezePolicy policy,
      KvFormat format) {
    return isWanted(device, policy, format)
        ? read(model, device, transformer).calibration(policy, format)
        : KeyCalibration.NONE;
  }

  /** Whether a policy's sketches on a device, or the format of the pages, ask for calibration. */
  static boolean isWanted(Device device, FreezePolicy policy, KvFormat format) {
    return wantsSketches(device, policy) || smooths(format);
  }

  private static boolean wantsSketches(Device device, FreezePolicy policy) {
    return policy.estimates() == PageEstimates.SKETCHES && device.knowsSketchChannels();
  }

  private static boolean smooths(KvFormat format) {
    return format == KvFormat.INT8;
  }

  /** What was found, as a policy on pages of a format needs it. */
  KeyCalibration calibration(FreezePolicy policy, KvFormat format) {
    KeySmoothing smoothing = smooths(format) ? smoothing() : KeySmoothing.NONE;
    SketchCalibration sketches =
        wantsSketches(device, policy) ? smoothing.smoothed(sketches()) : SketchCalibration.NONE;
    return new KeyCalibration(sketches, smoothing);
  }

  /** Reads the text. */
  static KeyCalibrator read(LanguageModel model, Device device, Transformer transformer) {
    ModelSpec spec = model.spec();
    int[] text = model.tokenizer().encode(text(), SpecialTokens.AS_TEXT);
    int[] read =
        Arrays.copyOf(text, Math.min(text.length, Math.min(MOST_TOKENS, spec.contextLength())));
    KeyCalibrator calibrator = new KeyCalibrator(device, spec);
    PageLayout layout = new PageLayout(spec.headSize(), PAGE_TOKENS, KvFormat.BF16);
    long pages = (long) (MOST_TOKENS / PAGE_TOKENS + 1) * calibrator.keySums.length;
    PageMemory memory = device.pageMemory(layout, pages * layout.pageBytes());
    FreezePolicy full = FreezePolicies.create("full", PolicyOptions.defaults());
    try (KvCache cache =
            new KvCache(
                memory,
                new HostColdStore(layout.wordsPerPage(), 0),
                full,
                spec.ropes(),
                spec.kvHeads());
        SequenceCache sequence = cache.open("calibration of keys")) {
      Transformer reader = transformer.withMemory(memory);
      for (int from = 0; from < read.length; from += reader.maxRows()) {
        int count = Math.min(reader.maxRows(), read.length - from);
        sequence.extend(count);
        sequence.beginStep(StepKind.PREFILL);
        reader.forward(
            List.of(new ForwardSlice(sequence, read, from, count)), StepKind.PREFILL, calibrator);
        sequence.endStep(StepKind.PREFILL);
      }
    }
    return calibrator;
  }

  private static String text() {
    try (InputStream in = KeyCalibrator.class.getResourceAsStream(TEXT)) {
      if (in == null) {
        throw new IllegalStateException("the program is incomplete: " + TEXT + " is missing");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Adds a layer's rows; for the {@link Transformer} that reads the text. */
  @Override
  public void observe(int layer, QkvRows rows) {
    Rope rope = spec.layers().get(layer).rope();
    float[] keys = new float[spec.kvHeads() * spec.headSize()];
    float[] queries = new float[spec.heads() * spec.headSize()];
    for (int row = 0; row < rows.rows(); row++) {
      int position = rows.positions()[row];
      if (position < SINKS) {
        continue;
      }
      tokens += layer == 0 ? 1 : 0;
      read(rows.key(), row, keys);
      read(rows.query(), row, queries);
      addKeys(layer, keys, rope, position);
      addQueries(layer, queries);
    }
  }

  private void read(Activations x, int row, float[] values) {
    device.read(x, row, values);
  }

  private void addKeys(int layer, float[] keys, Rope rope, int position) {
    int size = spec.headSize();
    for (int head = 0; head < spec.kvHeads(); head++) {
      int from = head * size;
      float[] key = Arrays.copyOfRange(keys, from, from + size);
      noteLargest(largest[layer * spec.kvHeads() + head], key, rope);
      if (rope != null) {
        rope.turn(key.clone(), -position, key, size);
      }
      double[] sums = keySums[layer * spec.kvHeads() + head];
      double[] squares = keySquares[layer * spec.kvHeads() + head];
      for (int d = 0; d < size; d++) {
        sums[d] += key[d];
        squares[d] += (double) key[d] * key[d];
      }
    }
  }

  private static void noteLargest(float[] largest, float[] key, Rope rope) {
    float[] lengths = new float[key.length];
    for (int d = 0; d < key.length; d++) {
      lengths[d] = Math.abs(key[d]);
    }
    if (rope != null) {
      for (int pair = 0; pair < rope.pairs(); pair++) {
        int one = rope.first(pair);
        int other = rope.second(pair);
        lengths[one] = lengths[other] = (float) Math.hypot(key[one], key[other]);
      }
    }
    for (int d = 0; d < key.length; d++) {
      largest[d] = Math.max(largest[d], lengths[d]);
    }
  }

  private void addQueries(int layer, float[] queries) {
    int size = spec.headSize();
    int group = spec.heads() / spec.kvHeads();
    for (int head = 0; head < spec.heads(); head++) {
      double[] squares = querySquares[layer * spec.kvHeads() + head / group];
      for (int d = 0; d < size; d++) {
        double q = queries[head * size + d];
        squares[d] += q * q / group;
      }
    }
  }

  private KeySmoothing smoothing() {
    return KeySmoothing.of(largest, spec.kvHeads(), spec.heads() / spec.kvHeads());
  }

  private SketchCalibration sketches() {
    int heads = keySums.length;
    float[][] variances = new float[heads][];
    float[][] energies = new float[heads][];
    for (int i = 0; i < heads; i++) {
      Rope rope = spec.layers().get(i / spec.kvHeads()).rope();
      double[] variance = new double[spec.headSize()];
      double[] energy = new double[spec.headSize()];
      for (int d = 0; d < variance.length; d++) {
        double mean = keySums[i][d] / tokens;
        variance[d] = Math.max(0, keySquares[i][d] / tokens - mean * mean);
        energy[d] = querySquares[i][d] / tokens;
      }
      variances[i] = pairMeans(variance, rope);
      energies[i] = pairMeans(energy, rope);
    }
    return new SketchCalibration(variances, energies);
  }

  private static float[] pairMeans(double[] x, Rope rope) {
    if (rope != null) {
      for (int pair = 0; pair < rope.pairs(); pair++) {
        int one = rope.first(pair);
        int other = rope.second(pair);
        x[one] = x[other] = (x[one] + x[other]) / 2;
      }
    }
    float[] means = new float[x.length];
    for (int d = 0; d < x.length; d++) {
      means[d] = (float) x[d];
    }
    return means;
  }
}
