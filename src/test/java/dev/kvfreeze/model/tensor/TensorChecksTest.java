package dev.kvfreeze.model.tensor;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.model.ModelFileException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TensorChecksTest {
  /** Random quants, every scale or value 1. */
  private static ByteBuffer sound(TensorType type, int blocks, int... scales) {
    ByteBuffer bytes =
        ByteBuffer.allocate(blocks * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
    new Random(7).nextBytes(bytes.array());
    for (int b = 0; b < blocks; b++) {
      for (int scale : scales) {
        put(type, bytes, b, scale, 1);
      }
    }
    return bytes;
  }

  private static void put(TensorType type, ByteBuffer bytes, int block, int at, float value) {
    int index = block * type.blockBytes() + at;
    if (type == TensorType.F32) {
      bytes.putFloat(index, value);
    } else if (type == TensorType.BF16) {
      bytes.putShort(index, (short) (Float.floatToRawIntBits(value) >>> 16));
    } else {
      bytes.putShort(index, (short) (value == 1 ? 0x3c00 : Float.isNaN(value) ? 0x7e01 : 0xfc00));
    }
  }

  // One block; a few; and more than one task's, the last of which is not full.
  @ParameterizedTest
  @CsvSource({
    "F32, 0, 0",
    "F16, 0, 0",
    "BF16, 0, 0",
    "Q4_0, 0, 0",
    "Q4_1, 0, 2",
    "Q5_0, 0, 0",
    "Q5_1, 0, 2",
    "Q8_0, 0, 0",
    "Q4_K, 0, 2",
    "Q5_K, 0, 2",
    "Q6_K, 208, 208"
  })
  void refusesOneBadValueAnywhere(TensorType type, int first, int second) {
    for (int blocks : new int[] {1, 7, (1 << 16) + 54}) {
      ByteBuffer bytes = sound(type, blocks, first, second);
      TensorData tensor =
          new TensorData("blk.3.attn_q.weight", type, blocks, type.blockValues(), bytes);
      assertThatCode(() -> TensorChecks.requireFinite(tensor)).doesNotThrowAnyException();
      for (int bad : new int[] {0, blocks / 2, blocks - 1}) {
        for (int at : new int[] {first, second}) {
          for (float value : new float[] {Float.NaN, Float.NEGATIVE_INFINITY}) {
            put(type, bytes, bad, at, value);
            assertThatThrownBy(() -> TensorChecks.requireFinite(tensor))
                .isInstanceOf(ModelFileException.class)
                .hasMessageContaining("blk.3.attn_q.weight")
                .hasMessageContaining("row " + bad + " ");
            put(type, bytes, bad, at, 1);
          }
        }
      }
    }
  }
}
