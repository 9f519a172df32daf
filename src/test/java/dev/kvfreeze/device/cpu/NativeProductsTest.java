package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The products in C against the scalar kernels and against products in double precision. */
@Tag("native-kernels")
class NativeProductsTest {
  private static final int[] ROWS = {2, 7, 31, 32, 33, 97};
  private static final int[] COLUMNS = {32, 64, 96, 256, 576, 2304};
  private static final int[] BATCHES = {1, 2, 3, 5, 9, 33};
  private static final WorkerPool ALONE = new WorkerPool(1);

  @AfterAll
  static void close() {
    ALONE.close();
  }

  @ParameterizedTest
  @EnumSource(
      value = TensorType.class,
      names = {"Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q8_0"})
  void roundedTo8BitsTheProductIsTheScalarTwinsToTheBit(TensorType type) {
    NativeKernelAssumptions.assume();
    for (int rows : ROWS) {
      for (int columns : COLUMNS) {
        if (columns % type.blockValues() == 0) {
          TiledWeight weight = weight(type, rows, columns);
          for (int batch : BATCHES) {
            float[] x = TensorFixtures.activations(batch * columns, columns + batch);
            assertThat(multiply(NativeLibrary.vectorLevel(), weight, x, batch, Precision.ROUNDED))
                .as("%s %d x %d, %d rows", type, rows, columns, batch)
                .isEqualTo(multiply(NativeLevel.NONE, weight, x, batch, Precision.ROUNDED));
          }
        }
      }
    }
  }

  @Test
  void twoScalesABlockAreNearTheExactProduct() {
    NativeKernelAssumptions.assume();
    for (int rows : ROWS) {
      TensorData tensor = TensorFixtures.random(TensorType.Q6_K, rows, 768, rows);
      TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
      float[] values = TensorFixtures.dequantize(tensor);
      float[] x = TensorFixtures.activations(5 * 768, rows);
      float[] product = multiply(NativeLibrary.vectorLevel(), weight, x, 5, Precision.ROUNDED);
      for (int b = 0; b < 5; b++) {
        for (int r = 0; r < rows; r++) {
          double wanted = 0;
          double bound = 1e-6;
          for (int c = 0; c < 768; c++) {
            float largest = largest(x, b * 768 + c / 32 * 32);
            wanted += (double) values[r * 768 + c] * x[b * 768 + c];
            bound += Math.abs(values[r * 768 + c]) * largest / 127 / 2 * 1.001;
          }
          assertThat((double) product[b * rows + r]).isCloseTo(wanted, within(bound));
        }
      }
    }
  }

  private static float largest(float[] x, int from) {
    float largest = 0;
    for (int i = from; i < from + 32; i++) {
      largest = Math.max(largest, Math.abs(x[i]));
    }
    return largest;
  }

  @Test
  void whatIsNotFiniteReachesTheProduct() {
    NativeKernelAssumptions.assume();
    TiledWeight weight = weight(TensorType.Q8_0, 33, 64);
    for (float broken : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
      float[] x = TensorFixtures.activations(64, 1);
      x[40] = broken;
      assertThat(multiply(NativeLibrary.vectorLevel(), weight, x, 1, Precision.ROUNDED))
          .containsOnly(Float.NaN);
      for (int rows : new int[] {1, 2}) {
        float[] repeated = Arrays.copyOf(x, rows * x.length);
        System.arraycopy(x, 0, repeated, (rows - 1) * x.length, x.length);
        for (NativeLevel level : List.of(NativeLibrary.level(), NativeLibrary.vectorLevel())) {
          for (float value : multiply(level, weight, repeated, rows, Precision.FLOAT32)) {
            assertThat(Float.isFinite(value)).isFalse();
          }
        }
      }
    }
    float[] tiny = new float[64];
    tiny[7] = Float.MIN_VALUE;
    assertThat(multiply(NativeLibrary.vectorLevel(), weight, tiny, 1, Precision.ROUNDED))
        .containsOnly(0f);
  }

  @ParameterizedTest
  @EnumSource(TensorType.class)
  void inBfloat16TheProductIsNearTheExactOne(TensorType type) {
    NativeKernelAssumptions.assume(NativeLevel.AMX);
    for (int rows : ROWS) {
      for (int columns : COLUMNS) {
        if (columns % type.blockValues() == 0) {
          checkBfloat16(type, rows, columns);
        }
      }
    }
  }

  private static void checkBfloat16(TensorType type, int rows, int columns) {
    TensorData tensor = TensorFixtures.ordinary(type, rows, columns, 31L * rows + columns);
    TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
    float[] values = TensorFixtures.dequantize(tensor);
    for (int batch : BATCHES) {
      float[] x = TensorFixtures.activations(batch * columns, columns + batch);
      float[] product = multiply(NativeLevel.AMX, weight, x, batch, Precision.FLOAT32);
      for (int b = 0; b < batch; b++) {
        for (int r = 0; r < rows; r++) {
          double wanted = 0;
          double squares = 0;
          double magnitude = 0;
          for (int c = 0; c < columns; c++) {
            double term = (double) values[r * columns + c] * x[b * columns + c];
            wanted += term;
            squares += term * term;
            magnitude += Math.abs(term);
          }
          // Both factors are off by at most 2^-9 of themselves, half as much in the mean square,
          // in either direction: six standard deviations, and the float32 sum's own error.
          double tolerance = 6 * 0x1p-9 * Math.sqrt(squares) + 1e-6 * magnitude + 1e-30;
          assertThat((double) product[b * rows + r])
              .as("%s %d x %d, row %d of %d", type, rows, columns, r, b)
              .isCloseTo(wanted, within(tolerance));
        }
      }
    }
  }

  @Test
  void inBfloat16SmallWholeNumbersAreExact() {
    NativeKernelAssumptions.assume(NativeLevel.AMX);
    for (TensorType type : new TensorType[] {TensorType.F32, TensorType.BF16, TensorType.F16}) {
      TensorData tensor = TensorFixtures.random(type, 65, 96, 1);
      TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
      float[] x = new float[3 * 96];
      // A one in each row picks a column: the weight itself, rounded.
      x[5] = 1;
      x[96 + 50] = 1;
      x[2 * 96 + 95] = 1;
      float[] product = multiply(NativeLevel.AMX, weight, x, 3, Precision.FLOAT32);
      int[] columns = {5, 50, 95};
      for (int b = 0; b < 3; b++) {
        for (int r = 0; r < 65; r++) {
          float value = weight.value(r, columns[b]);
          assertThat(product[b * 65 + r]).isEqualTo(Bfloat16.low(Bfloat16.bits(flushed(value))));
        }
      }
    }
  }

  /** The matrix unit takes numbers too small for a full mantissa as zeros. */
  private static float flushed(float value) {
    return Math.abs(value) < Float.MIN_NORMAL ? 0 : value;
  }

  @ParameterizedTest
  @EnumSource(
      value = TensorType.class,
      names = {"Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0"})
  void roundedTo16BitsTheProductIsNearlyTheExactOne(TensorType type) {
    NativeKernelAssumptions.assume();
    for (int rows : ROWS) {
      for (int columns : COLUMNS) {
        if (columns % type.blockValues() == 0) {
          checkShorts(type, rows, columns);
        }
      }
    }
  }

  private static void checkShorts(TensorType type, int rows, int columns) {
    TensorData tensor = TensorFixtures.ordinary(type, rows, columns, 31L * rows + columns);
    TiledWeight weight = new WeightPacker(ALONE).packMatrix(tensor);
    float[] values = TensorFixtures.dequantize(tensor);
    for (int batch : BATCHES) {
      float[] x = TensorFixtures.activations(batch * columns, columns + batch);
      float[] product = multiply(NativeLibrary.vectorLevel(), weight, x, batch, Precision.FLOAT32);
      for (int b = 0; b < batch; b++) {
        for (int r = 0; r < rows; r++) {
          double wanted = 0;
          double bound = 1e-30;
          for (int c = 0; c < columns; c++) {
            double term = (double) values[r * columns + c] * x[b * columns + c];
            wanted += term;
            // Half a step of 2^15 in the block's largest, and float32's own error.
            double largest = largest(x, b * columns + c / 32 * 32);
            bound += Math.abs(values[r * columns + c]) * largest * 0x1p-16 * 1.01;
            bound += 1e-6 * Math.abs(term);
          }
          // A minimum's part may be as large as the quant's and of the other sign.
          bound += 1e-5 * Math.abs(wanted) + 2e-6 * magnitude(weight, r, x, b * columns);
          assertThat((double) product[b * rows + r])
              .as("%s %d x %d, row %d of %d", type, rows, columns, r, b)
              .isCloseTo(wanted, within(bound));
        }
      }
    }
  }

  /** The sum of what a row's blocks can be at most. */
  private static double magnitude(TiledWeight weight, int row, float[] x, int at) {
    double sum = 0;
    for (int block = 0; block < weight.blocks(); block++) {
      double largest = 0;
      for (int c = 32 * block; c < 32 * block + 32; c++) {
        largest = Math.max(largest, Math.abs(weight.value(row, c)));
      }
      sum += 32 * largest * largest(x, at + 32 * block);
    }
    return sum;
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void aRowDoesNotDependOnItsBatchNorOnTheThreads(Mode mode) {
    NativeKernelAssumptions.assume();
    NativeLevel level = mode == Mode.BFLOAT16 ? NativeLevel.AMX : NativeLibrary.vectorLevel();
    NativeKernelAssumptions.assume(level);
    TiledWeight first = weight(TensorType.Q4_1, 97, 576);
    TiledWeight second = weight(TensorType.Q8_0, 33, 576);
    int most = 300;
    CpuActivations x = new CpuActivations(most, 576, TensorFixtures.activations(most * 576, 3));
    float[][] alone = new float[2][];
    for (int threads : new int[] {1, 2, 5}) {
      try (WorkerPool pool = new WorkerPool(threads)) {
        MatrixProducts products = new MatrixProducts(pool, KernelProvider.scalar().matmul(), level);
        for (int batch : new int[] {1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 64, 65, 300}) {
          CpuActivations out1 = CpuActivations.allocate(batch, 97);
          CpuActivations out2 = CpuActivations.allocate(batch, 33);
          products.begin(x, most - batch, batch, 0);
          if (mode == Mode.BYTES) {
            products.roundActivations();
          } else {
            products.roundToSixteenBits();
          }
          products.add(first, out1);
          products.add(second, out2);
          products.run();
          if (alone[0] == null) {
            alone[0] = out1.values();
            alone[1] = out2.values();
          }
          assertThat(last(out1)).as("%d threads, %d rows", threads, batch).isEqualTo(alone[0]);
          assertThat(last(out2)).isEqualTo(alone[1]);
        }
      }
    }
  }

  /** How activations are rounded; to bfloat16 by the matrix unit alone. */
  private enum Mode {
    BYTES,
    SHORTS,
    BFLOAT16
  }

  @Test
  void rowsOutsideTheTargetAreRefused() {
    NativeKernelAssumptions.assume();
    NativeProducts products = new NativeProducts(NativeLibrary.vectorLevel(), 1);
    QuantizedWeight weight = (QuantizedWeight) weight(TensorType.Q4_1, 64, 64);
    products.round(new float[128], 0, 2, 64);
    CpuActivations out = CpuActivations.allocate(2, 64);
    assertThatThrownBy(() -> products.multiplyRounded(weight, 0, 3, 2, out, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> products.multiplyRounded(weight, 0, 2, 2, out, 1))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> products.multiplyRounded(weight, 0, 2, 3, out, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> products.round(new float[127], 0, 2, 64))
        .isInstanceOf(IndexOutOfBoundsException.class);
    TiledWeight narrow = weight(TensorType.Q4_1, 64, 32);
    assertThatThrownBy(() -> products.multiplyRounded((QuantizedWeight) narrow, 0, 2, 2, out, 0))
        .hasMessageContaining("cannot multiply");
  }

  private static TiledWeight weight(TensorType type, int rows, int columns) {
    return new WeightPacker(ALONE)
        .packMatrix(TensorFixtures.random(type, rows, columns, 31L * rows + columns));
  }

  private static float[] multiply(
      NativeLevel level, TiledWeight weight, float[] x, int batch, Precision kind) {
    CpuActivations in = new CpuActivations(batch, weight.columns(), x);
    CpuActivations out = CpuActivations.allocate(batch, weight.rows());
    MatrixProducts products = new MatrixProducts(ALONE, KernelProvider.scalar().matmul(), level);
    products.begin(in, 0, batch, 0);
    if (kind == Precision.ROUNDED) {
      products.roundActivations();
    } else {
      products.roundToSixteenBits();
    }
    products.add(weight, out);
    products.run();
    return out.values();
  }

  private static float[] last(CpuActivations x) {
    return Arrays.copyOfRange(x.values(), (x.rows() - 1) * x.columns(), x.rows() * x.columns());
  }
}
