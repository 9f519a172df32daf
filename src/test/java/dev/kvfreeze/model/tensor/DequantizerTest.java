package dev.kvfreeze.model.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Against the values of another implementation (src/test/python/quant_goldens.py), to the bit. */
class DequantizerTest {
  private static byte[] golden(TensorType type, String suffix) throws IOException {
    try (InputStream in =
        DequantizerTest.class.getResourceAsStream("/quant/" + type + "." + suffix)) {
      return in.readAllBytes();
    }
  }

  private static TensorData tensor(TensorType type, int rows, byte[] bytes) {
    int values = bytes.length / type.blockBytes() * type.blockValues();
    ByteBuffer buffer = ByteBuffer.wrap(bytes).asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
    return new TensorData("golden", type, rows, values / rows, buffer);
  }

  private static int[] bits(float[] values, int from, int count) {
    int[] bits = new int[count];
    for (int i = 0; i < count; i++) {
      bits[i] = Float.floatToRawIntBits(values[from + i]);
    }
    return bits;
  }

  @ParameterizedTest
  @EnumSource
  void givesTheReferenceValues(TensorType type) throws IOException {
    byte[] expectedBytes = golden(type, "values");
    float[] expected = new float[expectedBytes.length / 4];
    ByteBuffer.wrap(expectedBytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(expected);
    TensorData tensor = tensor(type, 1, golden(type, "blocks"));
    float[] out = new float[3 + expected.length];

    Dequantizer.dequantize(tensor, 0, out, 3);

    assertThat(tensor.columns()).isEqualTo(expected.length);
    assertThat(bits(out, 3, expected.length)).isEqualTo(bits(expected, 0, expected.length));
    assertThat(bits(out, 0, 3)).containsOnly(0);
  }

  @ParameterizedTest
  @EnumSource
  void readsTheRowAskedFor(TensorType type) throws IOException {
    byte[] blocks = golden(type, "blocks");
    int count = blocks.length / type.blockBytes();
    float[] whole = new float[count * type.blockValues()];
    Dequantizer.dequantize(tensor(type, 1, blocks), 0, whole, 0);
    TensorData rows = tensor(type, count, blocks);

    float[] row = new float[rows.columns()];
    for (int r = count - 1; r >= 0; r--) {
      Dequantizer.dequantize(rows, r, row, 0);
      assertThat(bits(row, 0, row.length))
          .as("row %d of %s", r, type)
          .isEqualTo(bits(whole, r * row.length, row.length));
    }
  }

  @Test
  void widensEveryHalf() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      int exponent = bits >> 10 & 31;
      int fraction = bits & 1023;
      double magnitude =
          exponent == 0
              ? fraction * 0x1p-24
              : exponent == 31
                  ? (fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
                  : (1024 + fraction) * Math.pow(2, exponent - 25);
      float expected = (float) (bits < 1 << 15 ? magnitude : -magnitude);
      float found = HalfPrecision.f16(bits);
      assertThat(Float.compare(found, expected)).as("half %04x", bits).isZero();
      assertThat(HalfPrecision.finiteF16(bits)).isEqualTo(Float.isFinite(expected));
    }
  }
}
