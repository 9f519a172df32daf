package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Both providers against a dot product in double precision over independently read values. */
class MatmulKernelsTwinTest {
  private static final int[] ROWS = {2, 7, 31, 32, 33, 97};
  private static final int[] COLUMNS = {32, 64, 96, 256, 576, 2304};
  private static final WorkerPool ALONE = new WorkerPool(1);
  private static final MatmulKernels SCALAR = KernelProvider.scalar().matmul();
  private static final MatmulKernels VECTOR = KernelProvider.vector().matmul();

  @AfterAll
  static void close() {
    ALONE.close();
  }

  @ParameterizedTest
  @EnumSource(TensorType.class)
  void packedValuesAreTheFilesToTheBit(TensorType type) {
    for (int columns : COLUMNS) {
      if (columns % type.blockValues() == 0) {
        TensorData tensor = TensorFixtures.random(type, 37, columns, 5);
        TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
        float[] wanted = TensorFixtures.dequantize(tensor);
        float[] row = new float[columns];
        for (int r = 0; r < 37; r++) {
          weight.readRow(r, row, 0);
          for (int c = 0; c < columns; c++) {
            // Adding zero makes -0 and 0 the same; everything else must agree exactly.
            assertThat(row[c] + 0f).isEqualTo(wanted[r * columns + c] + 0f);
            assertThat(weight.value(r, c)).isEqualTo(row[c]);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(TensorType.class)
  void bothProvidersMultiplyRightAndAlike(TensorType type) {
    for (int rows : ROWS) {
      for (int columns : COLUMNS) {
        if (columns % type.blockValues() == 0) {
          checkProduct(type, rows, columns);
        }
      }
    }
  }

  private static void checkProduct(TensorType type, int rows, int columns) {
    TensorData tensor = TensorFixtures.random(type, rows, columns, 31L * rows + columns);
    TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
    float[] values = TensorFixtures.dequantize(tensor);
    int batch = 9;
    float[] x = TensorFixtures.activations(batch * columns, columns);
    float[] scalar = multiply(SCALAR, weight, x, batch);
    float[] vector = multiply(VECTOR, weight, x, batch);
    assertThat(vector).as("%s %d x %d", type, rows, columns).isEqualTo(scalar);
    for (int b = 0; b < batch; b++) {
      for (int r = 0; r < rows; r++) {
        double wanted = 0;
        double magnitude = 0;
        for (int c = 0; c < columns; c++) {
          double product = (double) values[r * columns + c] * x[b * columns + c];
          wanted += product;
          magnitude += Math.abs(product);
        }
        // Rounding of a chain of n/2 sums grows like its square root; far below n/2 steps.
        double tolerance = 2e-7 * Math.sqrt(columns) * magnitude / 4 + 1e-30;
        assertThat((double) vector[b * rows + r])
            .as("%s %d x %d, row %d of %d", type, rows, columns, r, b)
            .isCloseTo(wanted, org.assertj.core.data.Offset.offset(tolerance));
      }
    }
  }

  private static float[] multiply(MatmulKernels kernels, TiledWeight weight, float[] x, int batch) {
    CpuActivations in = new CpuActivations(batch, weight.columns(), x);
    CpuActivations out = CpuActivations.allocate(batch, weight.rows());
    MatrixProducts products = new MatrixProducts(ALONE, kernels, NativeLevel.NONE);
    products.begin(in, 0, batch, 0);
    products.add(weight, out);
    products.run();
    return out.values();
  }

  @ParameterizedTest
  @EnumSource(TensorType.class)
  void aRowDoesNotDependOnItsBatchNorOnTheThreads(TensorType type) {
    int columns = type.blockValues() == 256 ? 768 : 576;
    TiledWeight first =
        new WeightPacker(ALONE).packMatrix(TensorFixtures.random(type, 97, columns, 1));
    TiledWeight second =
        new WeightPacker(ALONE).packMatrix(TensorFixtures.random(type, 33, columns, 2));
    int most = 300;
    CpuActivations x =
        new CpuActivations(most, columns, TensorFixtures.activations(most * columns, 3));
    float[][] alone = new float[2][];
    for (int threads : new int[] {1, 2, 5}) {
      try (WorkerPool pool = new WorkerPool(threads)) {
        MatrixProducts products = new MatrixProducts(pool, VECTOR, NativeLevel.NONE);
        for (int batch : new int[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 256, 257, 300}) {
          CpuActivations out1 = CpuActivations.allocate(batch, 97);
          CpuActivations out2 = CpuActivations.allocate(batch, 33);
          products.begin(x, most - batch, batch, 0);
          products.add(first, out1);
          products.add(second, out2);
          products.run();
          if (alone[0] == null) {
            alone[0] = out1.values();
            alone[1] = out2.values();
          }
          // The last row of x is in every batch.
          assertThat(row(out1, batch - 1))
              .as("%d threads, %d rows", threads, batch)
              .isEqualTo(alone[0]);
          assertThat(row(out2, batch - 1)).isEqualTo(alone[1]);
        }
      }
    }
  }

  private static float[] row(CpuActivations x, int row) {
    return java.util.Arrays.copyOfRange(x.values(), row * x.columns(), (row + 1) * x.columns());
  }

  @Test
  void oneRowGoesIntoAnyRowOfTheTarget() {
    TensorData tensor = TensorFixtures.random(TensorType.Q8_0, 65, 64, 9);
    TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
    CpuActivations x = new CpuActivations(3, 64, TensorFixtures.activations(192, 4));
    CpuActivations all = CpuActivations.allocate(3, 65);
    CpuActivations one = CpuActivations.allocate(4, 65);
    MatrixProducts products = new MatrixProducts(ALONE, VECTOR, NativeLevel.NONE);
    products.begin(x, 0, 3, 0);
    products.add(weight, all);
    products.run();
    products.begin(x, 1, 1, 3);
    products.add(weight, one);
    products.run();
    assertThat(row(one, 3)).isEqualTo(row(all, 1));
    assertThat(row(one, 0)).containsOnly(0f);
    assertThat(row(one, 2)).containsOnly(0f);
  }
}
