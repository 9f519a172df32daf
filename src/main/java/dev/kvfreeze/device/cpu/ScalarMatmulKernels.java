package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;

import java.util.Arrays;

/** The plain twin of {@link VectorMatmulKernels}, and what runs without the Vector API. */
final class ScalarMatmulKernels implements MatmulKernels {
  @Override
  public void multiplyTile(
      TiledWeight weight,
      int tile,
      float[] x,
      int xOffset,
      float[] out,
      int outOffset,
      float[] scratch) {
    float[] second = new float[TILE_ROWS];
    float[] first = new float[TILE_ROWS];
    float[] block = new float[TiledWeight.BLOCK_VALUES];
    for (int b = 0; b < weight.blocks(); b++) {
      dequantize(weight, tile, b, b + 1, block, 0, scratch);
      multiplyPanel(
          x,
          xOffset + b * BLOCK_COLUMNS,
          0,
          1,
          block,
          0,
          BLOCK_COLUMNS,
          b < weight.firstChainBlocks() ? first : second,
          0);
    }
    for (int i = 0; i < TILE_ROWS; i++) {
      out[outOffset + i] = first[i] + second[i];
    }
  }

  @Override
  public void round(float[] x, int xOffset, RoundedRows rounded, int row, int[] quants) {
    for (int stored = 0; stored < rounded.blocks(); stored++) {
      int at = xOffset + TiledWeight.blockOf(stored, rounded.blocks()) * BLOCK_COLUMNS;
      float largest = 0;
      for (int i = 0; i < BLOCK_COLUMNS; i++) {
        largest = Math.max(largest, Math.abs(x[at + i]));
      }
      float inverse = RoundedRows.inverseScale(largest);
      for (int i = 0; i < BLOCK_COLUMNS; i++) {
        quants[i] = (int) Math.rint(x[at + i] * inverse);
      }
      rounded.pack(row, stored, quants, RoundedRows.scale(largest));
    }
  }

  @Override
  public void multiplyRounded(
      QuantizedWeight weight,
      int tile,
      RoundedRows rounded,
      int row,
      float[] out,
      int outOffset,
      float[] scratch,
      int[] dots) {
    for (int i = 0; i < TILE_ROWS; i++) {
      float products = 0;
      float offsets = 0;
      for (int stored = 0; stored < weight.blocks(); stored++) {
        int dot = 0;
        for (int column = 0; column < BLOCK_COLUMNS; column++) {
          int quant = weight.quant(tile, stored, i, column) - (weight.centred() ? 128 : 0);
          dot += quant * rounded.quant(row, stored, column);
        }
        int at = rounded.rowAt(row) + stored;
        float scale = weight.scale(tile, stored, 0, i);
        products = Math.fma(scale, rounded.scales[at] * dot, products);
        if (!weight.centred()) {
          offsets = Math.fma(weight.minimum(tile, stored, i, scale), rounded.sums[at], offsets);
        }
      }
      out[outOffset + i] = products + offsets;
    }
  }

  @Override
  public void decodeScales(TiledWeight weight, int tile, float[] scratch) {
    // Values are looked up one by one; nothing to prepare.
  }

  @Override
  public void dequantize(
      TiledWeight weight,
      int tile,
      int fromBlock,
      int toBlock,
      float[] panel,
      int panelOffset,
      float[] scratch) {
    int columns = (toBlock - fromBlock) * BLOCK_COLUMNS;
    int tileRows = weight.tileRows(tile);
    for (int c = 0; c < columns; c++) {
      int at = panelOffset + c * TILE_ROWS;
      for (int i = 0; i < tileRows; i++) {
        panel[at + i] = weight.value(tile * TILE_ROWS + i, fromBlock * BLOCK_COLUMNS + c);
      }
      Arrays.fill(panel, at + tileRows, at + TILE_ROWS, 0);
    }
  }

  @Override
  public void multiplyPanel(
      float[] x,
      int xOffset,
      int xStride,
      int rows,
      float[] panel,
      int panelOffset,
      int columns,
      float[] sums,
      int sumsOffset) {
    for (int row = 0; row < rows; row++) {
      int target = sumsOffset + row * TILE_ROWS;
      for (int k = 0; k < columns; k++) {
        int at = panelOffset + k * TILE_ROWS;
        addColumn(x[xOffset + row * xStride + k], panel, at, sums, target);
      }
    }
  }

  private static void addColumn(float factor, float[] panel, int at, float[] sums, int target) {
    for (int i = 0; i < TILE_ROWS; i++) {
      sums[target + i] = Math.fma(factor, panel[at + i], sums[target + i]);
    }
  }
}
