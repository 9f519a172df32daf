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
      dequantize(weight, tile, b, b + 1, block, scratch);
      multiplyPanel(
          x,
          xOffset + b * BLOCK_COLUMNS,
          0,
          1,
          block,
          BLOCK_COLUMNS,
          b < weight.firstChainBlocks() ? first : second,
          0);
    }
    for (int i = 0; i < TILE_ROWS; i++) {
      out[outOffset + i] = first[i] + second[i];
    }
  }

  @Override
  public void decodeScales(TiledWeight weight, int tile, float[] scratch) {
    // Values are looked up one by one; nothing to prepare.
  }

  @Override
  public void dequantize(
      TiledWeight weight, int tile, int fromBlock, int toBlock, float[] panel, float[] scratch) {
    int columns = (toBlock - fromBlock) * BLOCK_COLUMNS;
    int tileRows = weight.tileRows(tile);
    for (int c = 0; c < columns; c++) {
      int at = c * TILE_ROWS;
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
      int columns,
      float[] sums,
      int sumsOffset) {
    for (int row = 0; row < rows; row++) {
      int target = sumsOffset + row * TILE_ROWS;
      for (int k = 0; k < columns; k++) {
        addColumn(x[xOffset + row * xStride + k], panel, k * TILE_ROWS, sums, target);
      }
    }
  }

  private static void addColumn(float factor, float[] panel, int at, float[] sums, int target) {
    for (int i = 0; i < TILE_ROWS; i++) {
      sums[target + i] = Math.fma(factor, panel[at + i], sums[target + i]);
    }
  }
}
