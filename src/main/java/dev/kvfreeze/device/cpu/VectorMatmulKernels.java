package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.QuantizedWeight.DECODED_GROUP;
import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_VALUES;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;

/** The product on the Vector API: chooses among the formats' kernels, which are classes beside. */
final class VectorMatmulKernels implements MatmulKernels {
  private static final int STRIP = 2 * LANES;

  @Override
  public void multiplyTile(
      TiledWeight weight,
      int tile,
      float[] x,
      int xOffset,
      float[] out,
      int outOffset,
      float[] scratch) {
    if (weight instanceof QuantizedWeight quantized) {
      VectorScales.decode(quantized, tile, scratch);
      multiplyQuantized(quantized, tile, scratch, x, xOffset, out, outOffset);
    } else if (weight instanceof SixteenBitWeight sixteen) {
      multiplySixteen(sixteen, tile, x, xOffset, out, outOffset);
    } else {
      FloatWeight dense = (FloatWeight) weight;
      int at = dense.blockAt(tile, 0);
      for (int v = 0; v < TILE_ROWS; v += STRIP) {
        VectorDense.multiply(dense.values, at + v, dense.blocks(), x, xOffset, out, outOffset + v);
      }
    }
  }

  private static void multiplyQuantized(
      QuantizedWeight weight,
      int tile,
      float[] scales,
      float[] x,
      int xOffset,
      float[] out,
      int outOffset) {
    int at = weight.blockAt(tile, 0);
    int blocks = weight.blocks();
    int lastAt = weight.blockAt(tile, blocks - 1);
    int pair = weight.pairWords();
    int[] words = weight.words;
    int groups = weight.scaleKind.groups();
    for (int v = 0; v < TILE_ROWS; v += STRIP) {
      if (weight.bits == 4) {
        VectorNibbles.multiply(
            words, at + v, pair, lastAt + v, scales, v, blocks, x, xOffset, out, outOffset + v);
      } else {
        VectorBytes.multiply(
            words,
            at + v,
            pair,
            lastAt + v,
            scales,
            v,
            groups,
            blocks,
            x,
            xOffset,
            out,
            outOffset + v);
      }
    }
  }

  private static void multiplySixteen(
      SixteenBitWeight weight, int tile, float[] x, int xOffset, float[] out, int outOffset) {
    int[] words = weight.words;
    int at = weight.blockAt(tile, 0);
    int blocks = weight.blocks();
    if (weight.format == SixteenBitWeight.Format.BF16) {
      for (int v = 0; v < TILE_ROWS; v += STRIP) {
        VectorSixteen.multiplyBfloat(words, at + v, blocks, x, xOffset, out, outOffset + v);
      }
    } else {
      for (int v = 0; v < TILE_ROWS; v += LANES) {
        VectorSixteen.multiplyHalf(words, at + v, blocks, x, xOffset, out, outOffset + v);
      }
    }
  }

  @Override
  public void round(float[] x, int xOffset, RoundedRows rounded, int row, int[] quants) {
    int blocks = rounded.blocks();
    for (int stored = 0; stored < blocks; stored++) {
      int at = xOffset + TiledWeight.blockOf(stored, blocks) * TiledWeight.BLOCK_COLUMNS;
      float largest = VectorRounding.largest(x, at);
      VectorRounding.quants(x, at, RoundedRows.inverseScale(largest), quants);
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
    int rowAt = rounded.rowAt(row);
    int pairsAt = rowAt * RoundedRows.BLOCK_PAIRS;
    float[] sums = weight.centred() ? rounded.noSums : rounded.sums;
    for (int v = 0; v < TILE_ROWS; v += STRIP) {
      if (weight.bits == 4) {
        VectorRoundedNibbles.dots(weight, tile, v, rounded.pairs, pairsAt, dots);
      } else {
        VectorRoundedBytes.dots(weight, tile, v, rounded.bytePairs, pairsAt, dots);
      }
      VectorRoundedBlocks.combine(
          dots, v, scratch, v, rounded.scales, sums, rowAt, weight.blocks(), out, outOffset + v);
    }
  }

  @Override
  public void decodeScales(TiledWeight weight, int tile, float[] scratch) {
    if (weight instanceof QuantizedWeight quantized) {
      VectorScales.decode(quantized, tile, scratch);
    }
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
    for (int block = fromBlock; block < toBlock; block++) {
      int panelAt = panelOffset + (block - fromBlock) * BLOCK_VALUES;
      int stored = weight.storedBlock(block);
      if (weight instanceof QuantizedWeight quantized) {
        dequantizeBlock(quantized, tile, stored, panel, panelAt, scratch);
      } else if (weight instanceof SixteenBitWeight sixteen) {
        int at = sixteen.blockAt(tile, stored);
        if (sixteen.format == SixteenBitWeight.Format.BF16) {
          VectorSixteen.widenBfloat(sixteen.words, at, panel, panelAt);
        } else {
          VectorSixteen.widenHalf(sixteen.words, at, panel, panelAt);
        }
      } else {
        FloatWeight dense = (FloatWeight) weight;
        System.arraycopy(dense.values, dense.blockAt(tile, stored), panel, panelAt, BLOCK_VALUES);
      }
    }
  }

  private static void dequantizeBlock(
      QuantizedWeight weight, int tile, int stored, float[] panel, int panelAt, float[] scales) {
    int at = weight.blockAt(tile, stored);
    int stride = weight.quantStride(stored);
    int groups = weight.scaleKind.groups();
    int scalesAt = stored * groups * DECODED_GROUP;
    if (weight.bits == 4) {
      VectorNibbles.dequantize(weight.words, at, stride, scales, scalesAt, panel, panelAt);
    } else {
      VectorBytes.dequantize(weight.words, at, stride, scales, scalesAt, groups, panel, panelAt);
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
    int row = 0;
    if (STRIP == TILE_ROWS) {
      for (; row + 8 <= rows; row += 8) {
        int xAt = xOffset + row * xStride;
        int sumsAt = sumsOffset + row * TILE_ROWS;
        VectorPanels.eightRows(x, xAt, xStride, panel, panelOffset, columns, sums, sumsAt);
      }
    }
    for (; row + 4 <= rows; row += 4) {
      int xAt = xOffset + row * xStride;
      int sumsAt = sumsOffset + row * TILE_ROWS;
      for (int v = 0; v < TILE_ROWS; v += STRIP) {
        int panelAt = panelOffset + v;
        VectorPanels.fourRows(x, xAt, xStride, panel, panelAt, columns, sums, sumsAt + v);
      }
    }
    for (; row < rows; row++) {
      int xAt = xOffset + row * xStride;
      int sumsAt = sumsOffset + row * TILE_ROWS;
      for (int v = 0; v < TILE_ROWS; v += STRIP) {
        VectorPanels.oneRow(x, xAt, panel, panelOffset + v, columns, sums, sumsAt + v);
      }
    }
  }
}
