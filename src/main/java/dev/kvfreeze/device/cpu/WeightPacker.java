package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;

import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.tensor.QuantBlock;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;

/**
 * Repacks a model file's tensors into tiles, on all threads, and refuses values that are not
 * finite: one of them would turn whole documents into NaN.
 */
final class WeightPacker {
  private final WorkerPool pool;

  WeightPacker(WorkerPool pool) {
    this.pool = pool;
  }

  /**
   * The tensor in the layout its kernels want; one row is a vector (a norm's gain, a bias).
   *
   * @throws IllegalArgumentException naming the tensor, for values that are not finite
   */
  Weight pack(TensorData tensor) {
    if (tensor.rows() == 1) {
      return packVector(tensor);
    }
    return packMatrix(tensor);
  }

  VectorWeight packVector(TensorData tensor) {
    float[] values = new float[tensor.columns()];
    new TensorRows(tensor).read(0).toFloats(values);
    return new VectorWeight(tensor.name(), values);
  }

  TiledWeight packMatrix(TensorData tensor) {
    TiledWeight weight = empty(tensor.name(), tensor.type(), tensor.rows(), tensor.columns());
    if (weight instanceof QuantizedWeight quantized) {
      packQuantized(tensor, quantized);
    } else if (weight instanceof SixteenBitWeight sixteen) {
      packSixteen(tensor, sixteen);
    } else {
      packFloat(tensor, (FloatWeight) weight);
    }
    return weight;
  }

  /** A matrix of zero words in the layout of a type. */
  static TiledWeight empty(String name, TensorType type, int rows, int columns) {
    int zero = QuantBlock.zeroPoint(type);
    return switch (type) {
      case Q4_0 -> new QuantizedWeight(name, rows, columns, 4, ScaleKind.HALF, zero);
      case Q4_1 -> new QuantizedWeight(name, rows, columns, 4, ScaleKind.HALF_PAIR, zero);
      case Q4_K -> new QuantizedWeight(name, rows, columns, 4, ScaleKind.FLOAT_PAIR, zero);
      case Q5_0, Q8_0 -> new QuantizedWeight(name, rows, columns, 8, ScaleKind.HALF, zero);
      case Q5_1 -> new QuantizedWeight(name, rows, columns, 8, ScaleKind.HALF_PAIR, zero);
      case Q5_K -> new QuantizedWeight(name, rows, columns, 8, ScaleKind.FLOAT_PAIR, zero);
      case Q6_K -> new QuantizedWeight(name, rows, columns, 8, ScaleKind.FLOAT_TWO_GROUPS, zero);
      case BF16 -> new SixteenBitWeight(name, rows, columns, SixteenBitWeight.Format.BF16);
      case F16 -> new SixteenBitWeight(name, rows, columns, SixteenBitWeight.Format.F16);
      case F32 -> new FloatWeight(name, rows, columns);
    };
  }

  private void packQuantized(TensorData tensor, QuantizedWeight weight) {
    TensorType type = tensor.type();
    pool.parallelFor(
        weight.tiles(),
        1,
        (worker, from, to) -> {
          TensorRows rows = new TensorRows(tensor);
          QuantBlock block = new QuantBlock();
          for (int row = from * TILE_ROWS; row < Math.min(tensor.rows(), to * TILE_ROWS); row++) {
            rows.read(row);
            for (int b = 0; b < weight.blocks(); b++) {
              block.unpack(type, rows.bytes(), b);
              rows.requireFinite(block.scales[0] + block.scales[1] + block.minimum);
              packQuants(weight, row, weight.storedBlock(b), block.quants);
              packScales(weight, row, weight.storedBlock(b), block);
            }
          }
        });
  }

  private static void packQuants(QuantizedWeight weight, int row, int stored, int[] quants) {
    int perWord = 32 / weight.bits;
    int at = weight.blockAt(row / TILE_ROWS, stored) + row % TILE_ROWS;
    int stride = weight.quantStride(stored);
    for (int w = 0; w < weight.bits; w++) {
      int word = 0;
      for (int i = 0; i < perWord; i++) {
        word |= quants[w * perWord + i] << weight.bits * i;
      }
      weight.words[at + w * stride] = word;
    }
  }

  private static void packScales(QuantizedWeight weight, int row, int stored, QuantBlock block) {
    int lane = row % TILE_ROWS;
    int at = weight.scalesAt(row / TILE_ROWS, stored);
    int[] words = weight.words;
    switch (weight.scaleKind) {
      case HALF -> words[at + lane % 16] |= block.scaleHalf << lane / 16 * 16;
      case HALF_PAIR -> words[at + lane] = block.scaleHalf | block.minimumHalf << 16;
      case FLOAT_PAIR -> {
        words[at + lane] = Float.floatToRawIntBits(block.scales[0]);
        words[at + TILE_ROWS + lane] = Float.floatToRawIntBits(block.minimum);
      }
      case FLOAT_TWO_GROUPS -> {
        words[at + lane] = Float.floatToRawIntBits(block.scales[0]);
        words[at + TILE_ROWS + lane] = Float.floatToRawIntBits(block.scales[1]);
      }
    }
  }

  private void packSixteen(TensorData tensor, SixteenBitWeight weight) {
    pool.parallelFor(
        weight.tiles(),
        1,
        (worker, from, to) -> {
          TensorRows rows = new TensorRows(tensor);
          float[] values = new float[tensor.columns()];
          for (int row = from * TILE_ROWS; row < Math.min(tensor.rows(), to * TILE_ROWS); row++) {
            byte[] bytes = rows.read(row).toFloats(values).bytes();
            for (int pair = 0; pair < tensor.columns() / 2; pair++) {
              int block = weight.storedBlock(2 * pair / BLOCK_COLUMNS);
              int inBlock = pair % (BLOCK_COLUMNS / 2);
              int at = weight.blockAt(row / TILE_ROWS, block) + inBlock * TILE_ROWS;
              weight.words[at + row % TILE_ROWS] = TensorRows.word(bytes, 4 * pair);
            }
          }
        });
  }

  private void packFloat(TensorData tensor, FloatWeight weight) {
    pool.parallelFor(
        weight.tiles(),
        1,
        (worker, from, to) -> {
          TensorRows rows = new TensorRows(tensor);
          float[] values = new float[tensor.columns()];
          for (int row = from * TILE_ROWS; row < Math.min(tensor.rows(), to * TILE_ROWS); row++) {
            rows.read(row).toFloats(values);
            for (int column = 0; column < values.length; column++) {
              int block = weight.storedBlock(column / BLOCK_COLUMNS);
              int at = weight.blockAt(row / TILE_ROWS, block) + column % BLOCK_COLUMNS * TILE_ROWS;
              weight.values[at + row % TILE_ROWS] = values[column];
            }
          }
        });
  }
}
