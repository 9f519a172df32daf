package dev.kvfreeze.device.cpu;

import static jdk.incubator.vector.VectorOperators.XOR;

import dev.kvfreeze.model.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import jdk.incubator.vector.IntVector;

/**
 * Speed of the matrix products on the default model's shapes, against what a plain read of as much
 * memory reaches in the same JVM. Run it in several JVMs; a kernel may be compiled badly in one.
 *
 * <pre>java --add-modules jdk.incubator.vector -cp target/classes:target/test-classes \
 *   dev.kvfreeze.device.cpu.KernelBenchmark [threads] [type of the layers] [type of the table]
 * </pre>
 */
public final class KernelBenchmark {
  private static final int HIDDEN = 576;
  private static final int FEED_FORWARD = 1536;
  private static final int KEY_VALUE = 192;
  private static final int LAYERS = 30;
  private static final int VOCABULARY = 49152;
  private static final int REPEATS = 41;

  private final WorkerPool pool;
  private final MatrixProducts products;
  private final List<TiledWeight[]> steps = new ArrayList<>();
  private TiledWeight table;

  /** Whether activations are rounded to 8 bits, as decode steps do. */
  private boolean rounding;

  /** Whether prefill may use the matrix unit. */
  private boolean bfloat16;

  private KernelBenchmark(int threads) {
    pool = new WorkerPool(threads);
    KernelProvider provider = KernelProvider.choose();
    products = new MatrixProducts(pool, provider.matmul(), provider.nativeLevel());
  }

  /** Runs all measurements and prints one line each. */
  public static void main(String[] arguments) {
    int threads = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 2;
    TensorType layers = TensorType.valueOf(arguments.length > 1 ? arguments[1] : "Q4_1");
    TensorType table = TensorType.valueOf(arguments.length > 2 ? arguments[2] : "Q8_0");
    KernelBenchmark benchmark = new KernelBenchmark(threads);
    System.out.printf(
        "java %s, %s, %d threads, layers %s, table %s%n",
        Runtime.version().feature(), KernelProvider.choose().name(), threads, layers, table);
    benchmark.load(layers, table);
    benchmark.run();
    benchmark.pool.close();
  }

  private void load(TensorType layerType, TensorType tableType) {
    long begin = System.nanoTime();
    for (int layer = 0; layer < LAYERS; layer++) {
      steps.add(
          new TiledWeight[] {
            weight(layerType, HIDDEN, HIDDEN),
            weight(layerType, KEY_VALUE, HIDDEN),
            weight(layerType, KEY_VALUE, HIDDEN)
          });
      steps.add(new TiledWeight[] {weight(layerType, HIDDEN, HIDDEN)});
      steps.add(
          new TiledWeight[] {
            weight(layerType, FEED_FORWARD, HIDDEN), weight(layerType, FEED_FORWARD, HIDDEN)
          });
      steps.add(new TiledWeight[] {weight(layerType, HIDDEN, FEED_FORWARD)});
    }
    table = weight(tableType, VOCABULARY, HIDDEN);
    System.out.printf("made and packed in %.0f ms%n", (System.nanoTime() - begin) / 1e6);
  }

  private TiledWeight weight(TensorType type, int rows, int columns) {
    return new WeightPacker(pool).packMatrix(TensorFixtures.ordinary(type, rows, columns, 1));
  }

  private void run() {
    long layerBytes =
        steps.stream().flatMap(Arrays::stream).mapToLong(w -> w.residentBytes()).sum();
    long weights =
        steps.stream().flatMap(Arrays::stream).mapToLong(w -> (long) w.rows() * w.columns()).sum();
    double roof = roof(128 << 20);
    report("plain read, 128 MiB", roof, 128 << 20, 0, roof);
    for (int rows : new int[] {1, 2, 3, 4, 6, 8}) {
      report("layers, rows " + rows, layers(rows), layerBytes, 2.0 * weights * rows, roof);
    }
    rounding = true;
    for (int rows : new int[] {1, 2, 4, 8}) {
      String name = "rounded, rows " + rows;
      report(name, layers(rows), layerBytes, 2.0 * weights * rows, roof);
    }
    report(
        "rounded table, rows 1", table(1), table.residentBytes(), 2.0 * VOCABULARY * HIDDEN, roof);
    report("rounded token", layers(1) + table(1), layerBytes + table.residentBytes(), 0, roof);
    rounding = false;
    report("table, rows 1", table(1), table.residentBytes(), 2.0 * VOCABULARY * HIDDEN, roof);
    report("table, rows 8", table(8), table.residentBytes(), 16.0 * VOCABULARY * HIDDEN, roof);
    double both = layers(1) + table(1);
    report("token", both, layerBytes + table.residentBytes(), 0, roof);
    for (int rows : new int[] {32, 128, 512}) {
      report("layers, rows " + rows, layers(rows), layerBytes, 2.0 * weights * rows, roof);
    }
    bfloat16 = true;
    for (int rows : new int[] {1, 32, 128, 512}) {
      report("bfloat16, rows " + rows, layers(rows), layerBytes, 2.0 * weights * rows, roof);
    }
    System.out.printf(Locale.ROOT, "%-24s %8.2f us%n", "empty region", region() * 1e6);
  }

  private static void report(
      String name, double seconds, double bytes, double operations, double roofSeconds) {
    double rate = bytes / seconds / 1e9;
    System.out.printf(
        Locale.ROOT,
        "%-24s %8.3f ms %7.1f GB/s %5.2f of roof %7.1f GFLOP/s%n",
        name,
        seconds * 1e3,
        rate,
        rate / ((128 << 20) / roofSeconds / 1e9),
        operations / seconds / 1e9);
  }

  private double layers(int rows) {
    CpuActivations narrow =
        new CpuActivations(rows, HIDDEN, TensorFixtures.activations(rows * HIDDEN, 1));
    CpuActivations wide =
        new CpuActivations(rows, FEED_FORWARD, TensorFixtures.activations(rows * FEED_FORWARD, 2));
    // One target for each width and place, as the engine has.
    Map<Integer, CpuActivations> outs = new HashMap<>();
    return median(
        rows > 8 ? 9 : REPEATS,
        () -> {
          for (TiledWeight[] step : steps) {
            begin(step[0].columns() == HIDDEN ? narrow : wide, rows);
            for (int i = 0; i < step.length; i++) {
              int columns = step[i].rows();
              products.add(
                  step[i],
                  outs.computeIfAbsent(
                      8 * columns + i, key -> CpuActivations.allocate(rows, columns)));
            }
            products.run();
          }
        });
  }

  private void begin(CpuActivations x, int rows) {
    products.begin(x, 0, rows, 0);
    if (rounding) {
      products.roundActivations();
    }
    if (bfloat16) {
      products.roundToSixteenBits();
    }
  }

  private double table(int rows) {
    CpuActivations x =
        new CpuActivations(rows, HIDDEN, TensorFixtures.activations(rows * HIDDEN, 1));
    CpuActivations out = CpuActivations.allocate(rows, VOCABULARY);
    return median(
        REPEATS,
        () -> {
          begin(x, rows);
          products.add(table, out);
          products.run();
        });
  }

  private double roof(int bytes) {
    int[] words = new int[bytes / 4];
    int[] sums = new int[pool.threads() * 64];
    return median(
        REPEATS,
        () ->
            pool.parallelForEven(
                words.length >> 14,
                (worker, from, to) -> sums[worker * 64] ^= read(words, from << 14, to << 14)));
  }

  /** Reads with four independent vectors, nothing else. */
  private static int read(int[] words, int from, int to) {
    IntVector sum0 = IntVector.zero(Vectors.INTS);
    IntVector sum1 = IntVector.zero(Vectors.INTS);
    IntVector sum2 = IntVector.zero(Vectors.INTS);
    IntVector sum3 = IntVector.zero(Vectors.INTS);
    for (int i = from; i < to; i += 4 * Vectors.LANES) {
      sum0 = sum0.lanewise(XOR, IntVector.fromArray(Vectors.INTS, words, i));
      sum1 = sum1.lanewise(XOR, IntVector.fromArray(Vectors.INTS, words, i + Vectors.LANES));
      sum2 = sum2.lanewise(XOR, IntVector.fromArray(Vectors.INTS, words, i + 2 * Vectors.LANES));
      sum3 = sum3.lanewise(XOR, IntVector.fromArray(Vectors.INTS, words, i + 3 * Vectors.LANES));
    }
    return sum0.lanewise(XOR, sum1).lanewise(XOR, sum2).lanewise(XOR, sum3).reduceLanes(XOR);
  }

  private double region() {
    return median(
            REPEATS,
            () -> {
              for (int i = 0; i < 1000; i++) {
                pool.parallelForEven(32, (worker, from, to) -> {});
              }
            })
        / 1000;
  }

  private static double median(int repeats, Runnable body) {
    for (int i = 0; i < repeats / 2 + 5; i++) {
      body.run();
    }
    double[] seconds = new double[repeats];
    for (int i = 0; i < repeats; i++) {
      long begin = System.nanoTime();
      body.run();
      seconds[i] = (System.nanoTime() - begin) / 1e9;
    }
    Arrays.sort(seconds);
    return seconds[repeats / 2];
  }
}
