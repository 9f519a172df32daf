package dev.kvfreeze.device.cuda;

import dev.kvfreeze.model.tensor.HalfPrecision;
import dev.kvfreeze.model.tensor.QuantBlock;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;

/**
 * Packs one tile of 32 rows of a matrix in the layout of {@code src/main/cuda/README.md}: what a
 * lane of the matrix instruction needs lies together. Quantised types keep their bits. One
 * thread's.
 */
final class WeightTiles {
  static final int TILE_ROWS = 32;
  private static final int BLOCK = QuantBlock.VALUES;
  private static final int NIBBLES = 512;
  private static final int FIFTH_BITS = 128;
  private static final int PAIRS = 256;
  private static final int BYTES = 1024;
  private static final int VALUES = 2048;

  private final TensorData tensor;
  private final TensorType type;
  private final byte[] rowBytes;
  private final byte[][] rows = new byte[TILE_ROWS][];
  private final int[][] quants = new int[TILE_ROWS][BLOCK];
  private final float[][] values = new float[TILE_ROWS][BLOCK];
  private final QuantBlock block = new QuantBlock();
  private final byte[] record;
  private int firstRow;

  WeightTiles(TensorData tensor) {
    this.tensor = tensor;
    this.type = tensor.type();
    this.rowBytes = new byte[Math.toIntExact(type.bytes(tensor.columns()))];
    this.record = new byte[recordBytes(type)];
  }

  /** Columns of a record. */
  static int recordColumns(TensorType type) {
    return switch (type) {
      case Q4_K, Q5_K, Q6_K -> 8 * BLOCK;
      default -> BLOCK;
    };
  }

  /** Bytes of a record of 32 rows. */
  static int recordBytes(TensorType type) {
    return switch (type) {
      case F32, F16 -> 2 * VALUES;
      case BF16 -> VALUES;
      case Q4_0 -> NIBBLES + 64;
      case Q4_1 -> NIBBLES + 128;
      case Q5_0 -> NIBBLES + FIFTH_BITS + 64;
      case Q5_1 -> NIBBLES + FIFTH_BITS + 128;
      case Q8_0 -> BYTES + 64;
      case Q4_K -> 8 * (NIBBLES + 64) + 128;
      case Q5_K -> 8 * (NIBBLES + FIFTH_BITS + 64) + 128;
      case Q6_K -> 8 * (NIBBLES + PAIRS + 64) + 64;
    };
  }

  static int tiles(TensorData tensor) {
    return (tensor.rows() + TILE_ROWS - 1) / TILE_ROWS;
  }

  /** Bytes of a tile. */
  static long tileBytes(TensorData tensor) {
    return (long) tensor.columns() / recordColumns(tensor.type()) * recordBytes(tensor.type());
  }

  /** Column of byte or element j of half h of lane t = lane % 4. */
  private static int column(int t, int h, int j) {
    return 16 * h + 2 * t + (j < 2 ? j : j + 6);
  }

  /** Where a row's scale stands among the 32 of a tile. */
  private static int scaleAt(int row) {
    return row % 8 * 4 + row / 8;
  }

  /**
   * Packs a tile.
   *
   * @param at where it begins in {@code out}
   * @throws IllegalArgumentException naming the tensor, for values that are not finite
   */
  void pack(int tile, ByteBuffer out, int at) {
    firstRow = tile * TILE_ROWS;
    for (int r = 0; r < TILE_ROWS; r++) {
      rows[r] = firstRow + r < tensor.rows() ? readRow(firstRow + r, rows[r]) : null;
    }
    int records = tensor.columns() / recordColumns(type);
    for (int i = 0; i < records; i++) {
      java.util.Arrays.fill(record, (byte) 0);
      packRecord(i);
      out.put(at + i * record.length, record);
    }
  }

  private byte[] readRow(int row, byte[] reused) {
    byte[] bytes = reused == null ? new byte[rowBytes.length] : reused;
    // Absolute: the buffer's position is shared with other threads.
    tensor.bytes().get(Math.multiplyExact(row, bytes.length), bytes);
    return bytes;
  }

  private void packRecord(int index) {
    switch (type) {
      case F32, F16, BF16 -> packFloats(index);
      case Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 -> packSmall(index);
      case Q4_K, Q5_K -> packSuper(index, type == TensorType.Q5_K ? FIFTH_BITS : 0);
      case Q6_K -> packSixBits(index);
    }
  }

  private void packSmall(int index) {
    boolean fifth = type == TensorType.Q5_0 || type == TensorType.Q5_1;
    boolean pair = type == TensorType.Q4_1 || type == TensorType.Q5_1;
    int scales = type == TensorType.Q8_0 ? BYTES : NIBBLES + (fifth ? FIFTH_BITS : 0);
    for (int r = 0; r < TILE_ROWS; r++) {
      if (unpack(r, index)) {
        int at = scales + scaleAt(r) * (pair ? 4 : 2);
        putShort(at, block.scaleHalf);
        if (pair) {
          putShort(at + 2, block.minimumHalf);
        }
      }
    }
    if (type == TensorType.Q8_0) {
      bytes(0);
    } else {
      nibbles(0);
      if (fifth) {
        fifthBits(NIBBLES);
      }
    }
  }

  private void packSuper(int index, int fifthBytes) {
    int part = NIBBLES + fifthBytes + 64;
    for (int sub = 0; sub < 8; sub++) {
      int at = sub * part;
      for (int r = 0; r < TILE_ROWS; r++) {
        if (unpack(r, 8 * index + sub)) {
          int scale = at + NIBBLES + fifthBytes + 2 * scaleAt(r);
          record[scale] = (byte) block.scaleCodes[0];
          record[scale + 1] = (byte) block.minimumCode;
          putShort(8 * part + 4 * scaleAt(r), block.scaleHalf);
          putShort(8 * part + 4 * scaleAt(r) + 2, block.minimumHalf);
        }
      }
      nibbles(at);
      if (fifthBytes > 0) {
        fifthBits(at + NIBBLES);
      }
    }
  }

  private void packSixBits(int index) {
    int part = NIBBLES + PAIRS + 64;
    for (int sub = 0; sub < 8; sub++) {
      int at = sub * part;
      for (int r = 0; r < TILE_ROWS; r++) {
        if (unpack(r, 8 * index + sub)) {
          int scale = at + NIBBLES + PAIRS + 2 * scaleAt(r);
          record[scale] = (byte) block.scaleCodes[0];
          record[scale + 1] = (byte) block.scaleCodes[1];
          putShort(8 * part + 2 * scaleAt(r), block.scaleHalf);
        }
      }
      nibbles(at);
      pairs(at + NIBBLES);
    }
  }

  /** Unpacks the quants of a row of the tile; false, and zeros, below the matrix's last row. */
  private boolean unpack(int r, int blockIndex) {
    if (rows[r] == null) {
      java.util.Arrays.fill(quants[r], 0);
      return false;
    }
    block.unpack(type, rows[r], blockIndex);
    requireFinite(block.scales[0] + block.scales[1] + block.minimum, r);
    System.arraycopy(block.quants, 0, quants[r], 0, BLOCK);
    return true;
  }

  private void nibbles(int at) {
    for (int lane = 0; lane < 32; lane++) {
      int t = lane % 4;
      for (int i = 0; i < 4; i++) {
        int[] u = quants[lane / 4 + 8 * i];
        for (int j = 0; j < 4; j++) {
          int low = u[column(t, 0, j)] & 15;
          int high = u[column(t, 1, j)] & 15;
          record[at + 16 * lane + 4 * i + j] = (byte) (low | high << 4);
        }
      }
    }
  }

  private void fifthBits(int at) {
    for (int lane = 0; lane < 32; lane++) {
      for (int j = 0; j < 4; j++) {
        int bits = 0;
        for (int i = 0; i < 4; i++) {
          for (int h = 0; h < 2; h++) {
            int u = quants[lane / 4 + 8 * i][column(lane % 4, h, j)];
            bits |= (u >>> 4 & 1) << 2 * i + h;
          }
        }
        record[at + 4 * lane + j] = (byte) bits;
      }
    }
  }

  private void pairs(int at) {
    for (int lane = 0; lane < 32; lane++) {
      for (int j = 0; j < 4; j++) {
        for (int word = 0; word < 2; word++) {
          int bits = 0;
          for (int half = 0; half < 2; half++) {
            for (int h = 0; h < 2; h++) {
              int u = quants[lane / 4 + 8 * (2 * word + half)][column(lane % 4, h, j)];
              bits |= (u >>> 4 & 3) << 4 * half + 2 * h;
            }
          }
          record[at + 8 * lane + 4 * word + j] = (byte) bits;
        }
      }
    }
  }

  private void bytes(int at) {
    for (int p = 0; p < 2; p++) {
      for (int lane = 0; lane < 32; lane++) {
        for (int k = 0; k < 4; k++) {
          int r = lane / 4 + 8 * (2 * p + k % 2);
          for (int j = 0; j < 4; j++) {
            int u = rows[r] == null ? 128 : quants[r][column(lane % 4, k / 2, j)];
            record[at + 512 * p + 16 * lane + 4 * k + j] = (byte) (u - 128);
          }
        }
      }
    }
  }

  private void packFloats(int index) {
    for (int r = 0; r < TILE_ROWS; r++) {
      for (int c = 0; c < BLOCK; c++) {
        values[r][c] = rows[r] == null ? 0 : value(rows[r], index * BLOCK + c);
        requireFinite(values[r][c], r);
      }
    }
    boolean split = type != TensorType.BF16;
    for (int p = 0; p < 2; p++) {
      for (int h = 0; h < 2; h++) {
        for (int lane = 0; lane < 32; lane++) {
          for (int e = 0; e < 8; e++) {
            int r = lane / 4 + 8 * (2 * p + e / 2 % 2);
            float value = values[r][column(lane % 4, h, e % 2 + 2 * (e / 4))];
            int at = 512 * (2 * p + h) + 16 * lane + 2 * e;
            int leading = bf16(value);
            putShort(at, leading);
            if (split) {
              putShort(VALUES + at, bf16(value - HalfPrecision.bf16((short) leading)));
            }
          }
        }
      }
    }
  }

  private float value(byte[] row, int column) {
    return switch (type) {
      case F32 -> Float.intBitsToFloat(half(row, 4 * column) | half(row, 4 * column + 2) << 16);
      case F16 -> HalfPrecision.f16((short) half(row, 2 * column));
      default -> HalfPrecision.bf16((short) half(row, 2 * column));
    };
  }

  /** Rounded to nearest even. */
  static int bf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
  }

  private static int half(byte[] row, int at) {
    return row[at] & 0xff | (row[at + 1] & 0xff) << 8;
  }

  private void putShort(int at, int value) {
    record[at] = (byte) value;
    record[at + 1] = (byte) (value >>> 8);
  }

  private void requireFinite(float value, int row) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException(
          "tensor "
              + tensor.name()
              + ", row "
              + (firstRow + row)
              + ": a value or scale is not a finite number; the model file is damaged, download it"
              + " again");
    }
  }
}
