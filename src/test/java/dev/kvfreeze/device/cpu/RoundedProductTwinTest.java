package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.util.Arrays;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products of activations rounded to 8 bits: both providers alike, and near the exact product. */
class RoundedProductTwinTest {
  private static final int[] ROWS = {2, 7, 31, 32, 33, 97};
  private static final int[] COLUMNS = {32, 64, 96, 256, 576, 2304};
  private static final WorkerPool ALONE = new WorkerPool(1);
  private static final MatmulKernels SCALAR = KernelProvider.scalar().matmul();
  private static final MatmulKernels VECTOR = KernelProvider.vector().matmul();

  @AfterAll
  static void close() {
    ALONE.close();
  }

  @Test
  void bothProvidersRoundAlikeAndWithinHalfAStep() {
    for (int columns : COLUMNS) {
      float[] x = TensorFixtures.activations(columns + 3, columns);
      x[3] = 0.5f * x[4];
      RoundedRows scalar = rounded(SCALAR, x, 3, columns);
      RoundedRows vector = rounded(VECTOR, x, 3, columns);
      assertThat(vector.pairs).isEqualTo(scalar.pairs);
      assertThat(vector.bytePairs).isEqualTo(scalar.bytePairs);
      assertThat(vector.scales).isEqualTo(scalar.scales);
      assertThat(vector.sums).isEqualTo(scalar.sums);
      int blocks = columns / 32;
      for (int stored = 0; stored < blocks; stored++) {
        int first = 3 + TiledWeight.blockOf(stored, blocks) * 32;
        for (int i = 0; i < 32; i++) {
          float step = scalar.scales[stored];
          assertThat(step * scalar.quant(0, stored, i))
              .isCloseTo(x[first + i], within(0.5001f * step));
        }
      }
    }
  }

  @Test
  void zerosTinyAndNotFiniteBlocks() {
    for (MatmulKernels kernels : new MatmulKernels[] {SCALAR, VECTOR}) {
      assertThat(rounded(kernels, new float[32], 0, 32).scales[0]).isZero();
      float[] tiny = new float[32];
      tiny[7] = Float.MIN_VALUE;
      assertThat(rounded(kernels, tiny, 0, 32).pairs).containsOnly(0);
      float[] broken = new float[32];
      broken[31] = Float.NaN;
      // NaN must reach the logits, where it is refused, and not become a number.
      assertThat(rounded(kernels, broken, 0, 32).scales[0]).isNaN();
    }
  }

  private static RoundedRows rounded(MatmulKernels kernels, float[] x, int at, int columns) {
    RoundedRows rows = new RoundedRows();
    rows.reset(1, columns);
    kernels.round(x, at, rows, 0, new int[32]);
    return rows;
  }

  @ParameterizedTest
  @EnumSource(
      value = TensorType.class,
      names = {"Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q8_0"})
  void bothProvidersMultiplyAlikeAndNearTheExactProduct(TensorType type) {
    for (int rows : ROWS) {
      for (int columns : COLUMNS) {
        if (columns % type.blockValues() == 0) {
          check(type, rows, columns);
        }
      }
    }
  }

  private static void check(TensorType type, int rows, int columns) {
    TensorData tensor = TensorFixtures.random(type, rows, columns, 31L * rows + columns);
    TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
    float[] x = TensorFixtures.activations(5 * columns, columns);
    float[] exact = multiply(VECTOR, weight, x, 5, Precision.FLOAT32);
    float[] scalar = multiply(SCALAR, weight, x, 5, Precision.ROUNDED);
    float[] vector = multiply(VECTOR, weight, x, 5, Precision.ROUNDED);
    assertThat(vector).as("%s %d x %d", type, rows, columns).isEqualTo(scalar);
    float[] values = TensorFixtures.dequantize(tensor);
    for (int b = 0; b < 5; b++) {
      float[] row = Arrays.copyOfRange(x, b * columns, (b + 1) * columns);
      for (int r = 0; r < rows; r++) {
        double bound = 1e-6;
        for (int c = 0; c < columns; c++) {
          bound += Math.abs(values[r * columns + c]) * largest(row, c / 32) / 127 / 2 * 1.001;
        }
        assertThat((double) vector[b * rows + r]).isCloseTo(exact[b * rows + r], within(bound));
      }
    }
  }

  private static float largest(float[] x, int block) {
    float largest = 0;
    for (int i = block * 32; i < block * 32 + 32; i++) {
      largest = Math.max(largest, Math.abs(x[i]));
    }
    return largest;
  }

  private static float[] multiply(
      MatmulKernels kernels, TiledWeight weight, float[] x, int batch, Precision kind) {
    CpuActivations in = new CpuActivations(batch, weight.columns(), x);
    CpuActivations out = CpuActivations.allocate(batch, weight.rows());
    MatrixProducts products = new MatrixProducts(ALONE, kernels, NativeLevel.NONE);
    products.begin(in, 0, batch, 0);
    if (kind == Precision.ROUNDED) {
      products.roundActivations();
    }
    products.add(weight, out);
    products.run();
    return out.values();
  }

  @Test
  void aRowDoesNotDependOnItsBatchNorOnTheThreads() {
    int columns = 576;
    TiledWeight four =
        new WeightPacker(ALONE).packMatrix(TensorFixtures.random(TensorType.Q4_1, 97, columns, 1));
    TiledWeight eight =
        new WeightPacker(ALONE).packMatrix(TensorFixtures.random(TensorType.Q8_0, 33, columns, 2));
    CpuActivations x = new CpuActivations(20, columns, TensorFixtures.activations(20 * columns, 3));
    float[][] alone = new float[2][];
    for (int threads : new int[] {1, 2, 5}) {
      try (WorkerPool pool = new WorkerPool(threads)) {
        MatrixProducts products = new MatrixProducts(pool, VECTOR, NativeLevel.NONE);
        for (int batch : new int[] {1, 2, 3, 4, 5, 7, 8, 9, 20}) {
          CpuActivations out1 = CpuActivations.allocate(batch, 97);
          CpuActivations out2 = CpuActivations.allocate(batch, 33);
          products.begin(x, 20 - batch, batch, 0);
          products.roundActivations();
          products.add(four, out1);
          products.add(eight, out2);
          products.run();
          if (alone[0] == null) {
            alone[0] = out1.values();
            alone[1] = out2.values();
          }
          assertThat(last(out1)).isEqualTo(alone[0]);
          assertThat(last(out2)).isEqualTo(alone[1]);
        }
      }
    }
  }

  private static float[] last(CpuActivations x) {
    return Arrays.copyOfRange(x.values(), (x.rows() - 1) * x.columns(), x.rows() * x.columns());
  }
}
