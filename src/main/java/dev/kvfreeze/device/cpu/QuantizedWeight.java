package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.tensor.HalfPrecision;

/**
 * Unsigned 4-bit or 8-bit quants with scales for each 32 (or 16) columns. A tile is contiguous:
 * first the scales of all its blocks, then their quants, both in stored order.
 *
 * <p>Quants of a block: {@code words[w * stride + row]} holds the columns {@code w * perWord}
 * onwards of a row, lowest bits first; 8 four-bit or 4 eight-bit quants a word. The two stored
 * blocks of a pair alternate (stride 64), because a product reads both at once and the memory
 * prefetcher follows only a stream that runs strictly forwards; a last block without a partner has
 * stride 32.
 *
 * <p>Five- and six-bit formats are widened to eight bits (8.5 to 10 bits a weight instead of 5.5 to
 * 6.6).
 */
final class QuantizedWeight extends TiledWeight {
  /** Floats that one group of one block has after decoding: 32 scales, then 32 minimums. */
  static final int DECODED_GROUP = 2 * TILE_ROWS;

  final int[] words;
  final int bits;
  final ScaleKind scaleKind;
  final int zeroPoint;

  /**
   * @param bits 4 or 8
   * @param zeroPoint the quant that means zero, for kinds without minimums
   */
  QuantizedWeight(
      String name, int rows, int columns, int bits, ScaleKind scaleKind, int zeroPoint) {
    super(name, rows, columns);
    this.bits = bits;
    this.scaleKind = scaleKind;
    this.zeroPoint = zeroPoint;
    this.words = new int[arrayLength(name, (long) tiles() * wordsPerTile())];
  }

  int quantWordsPerBlock() {
    return bits * TILE_ROWS;
  }

  int wordsPerTile() {
    return blocks() * (scaleKind.wordsPerBlock() + quantWordsPerBlock());
  }

  /** Where the scales of a tile's first stored block begin. */
  int scalesAt(int tile) {
    return tile * wordsPerTile();
  }

  /** Where the quants of a tile's first stored block begin. */
  int quantsAt(int tile) {
    return scalesAt(tile) + blocks() * scaleKind.wordsPerBlock();
  }

  private boolean paired(int stored) {
    return stored < blocks() / 2 * 2;
  }

  /** Words from one word of a row to the row's next in a stored block. */
  int quantStride(int stored) {
    return paired(stored) ? 2 * TILE_ROWS : TILE_ROWS;
  }

  /** Where the quants of a stored block begin. */
  int blockAt(int tile, int stored) {
    int pair = quantsAt(tile) + stored / 2 * 2 * quantWordsPerBlock();
    return pair + stored % 2 * TILE_ROWS;
  }

  /** Whether {@link MatmulKernels#multiplyRounded} takes this weight. */
  boolean takesRounded() {
    return scaleKind.groups() == 1;
  }

  /** What makes quants of all 8 bits signed; 0 where they are small enough to be so already. */
  int signFlip() {
    return centred() ? 0x8080_8080 : 0;
  }

  /** Whether a value is its signed quant times its scale, without a minimum. */
  boolean centred() {
    return bits == 8 && zeroPoint == 128;
  }

  /** Decoded floats of all scales of a tile. */
  int decodedScales() {
    return blocks() * scaleKind.groups() * DECODED_GROUP;
  }

  @Override
  public long residentBytes() {
    return 4L * words.length;
  }

  @Override
  float value(int row, int column) {
    int tile = row / TILE_ROWS;
    int stored = storedBlock(column / BLOCK_COLUMNS);
    int lane = row % TILE_ROWS;
    int inBlock = column % BLOCK_COLUMNS;
    int group = inBlock * scaleKind.groups() / BLOCK_COLUMNS;
    float scale = scale(tile, stored, group, lane);
    int quant = quant(tile, stored, lane, inBlock);
    return Math.fma((float) quant, scale, minimum(tile, stored, lane, scale));
  }

  @Override
  void readRow(int row, float[] out, int offset) {
    int tile = row / TILE_ROWS;
    int lane = row % TILE_ROWS;
    int groups = scaleKind.groups();
    int groupWords = bits * BLOCK_COLUMNS / 32 / groups;
    for (int block = 0; block < blocks(); block++) {
      int stored = storedBlock(block);
      int stride = quantStride(stored);
      int from = blockAt(tile, stored) + lane;
      int to = offset + block * BLOCK_COLUMNS;
      for (int group = 0; group < groups; group++) {
        float scale = scale(tile, stored, group, lane);
        float minimum = minimum(tile, stored, lane, scale);
        for (int w = 0; w < groupWords; w++) {
          readWord(words[from], scale, minimum, out, to);
          from += stride;
          to += 32 / bits;
        }
      }
    }
  }

  private void readWord(int word, float scale, float minimum, float[] out, int at) {
    int mask = (1 << bits) - 1;
    for (int i = 0; i < 32 / bits; i++) {
      out[at + i] = Math.fma((float) (word >>> bits * i & mask), scale, minimum);
    }
  }

  int quant(int tile, int stored, int lane, int inBlock) {
    int perWord = 32 / bits;
    int word = words[blockAt(tile, stored) + inBlock / perWord * quantStride(stored) + lane];
    return word >>> bits * (inBlock % perWord) & (1 << bits) - 1;
  }

  float scale(int tile, int stored, int group, int lane) {
    int at = scalesAt(tile) + stored * scaleKind.wordsPerBlock();
    return switch (scaleKind) {
      case HALF_PAIR -> HalfPrecision.f16(words[at + lane]);
      case HALF -> HalfPrecision.f16(words[at + lane % 16] >>> (lane / 16 * 16));
      case FLOAT_PAIR -> Float.intBitsToFloat(words[at + lane]);
      case FLOAT_TWO_GROUPS -> Float.intBitsToFloat(words[at + group * TILE_ROWS + lane]);
    };
  }

  float minimum(int tile, int stored, int lane, float scale) {
    int at = scalesAt(tile) + stored * scaleKind.wordsPerBlock();
    return switch (scaleKind) {
      case HALF_PAIR -> HalfPrecision.f16(words[at + lane] >>> 16);
      case FLOAT_PAIR -> Float.intBitsToFloat(words[at + TILE_ROWS + lane]);
      case HALF, FLOAT_TWO_GROUPS -> -zeroPoint * scale;
    };
  }
}
