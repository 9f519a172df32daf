package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.tensor.HalfPrecision;

/**
 * Unsigned 4-bit or 8-bit quants with scales for each 32 (or 16) columns. A tile is contiguous: the
 * scales of a pair of stored blocks, then their quants, then the next pair.
 *
 * <p>Quants of a block: {@code words[w * stride + row]} holds the columns {@code w * perWord}
 * onwards of a row, lowest bits first; 8 four-bit or 4 eight-bit quants a word. The two stored
 * blocks of a pair alternate (stride 64); a last block without a partner has stride 32. A product
 * reads both blocks of a pair at once, so it reads memory strictly forwards, which is all that the
 * prefetchers of some processors follow: on a Zen 4 a thread multiplies 30 GB/s so, and 11 GB/s
 * where all scales of a tile come first.
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

  /** Words from one pair of blocks to the next. */
  int pairWords() {
    return 2 * (scaleKind.wordsPerBlock() + quantWordsPerBlock());
  }

  /** Where a tile begins. */
  int tileAt(int tile) {
    return tile * wordsPerTile();
  }

  private boolean paired(int stored) {
    return stored < blocks() / 2 * 2;
  }

  /** Where the scales of a stored block begin; those of its pair follow each other. */
  int scalesAt(int tile, int stored) {
    return tileAt(tile) + stored / 2 * pairWords() + stored % 2 * scaleKind.wordsPerBlock();
  }

  /** Words from one word of a row to the row's next in a stored block. */
  int quantStride(int stored) {
    return paired(stored) ? 2 * TILE_ROWS : TILE_ROWS;
  }

  /** Where the quants of a stored block begin. */
  int blockAt(int tile, int stored) {
    int scales = (paired(stored) ? 2 : 1) * scaleKind.wordsPerBlock();
    return tileAt(tile) + stored / 2 * pairWords() + scales + stored % 2 * TILE_ROWS;
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
    int at = scalesAt(tile, stored);
    return switch (scaleKind) {
      case HALF_PAIR -> HalfPrecision.f16(words[at + lane]);
      case HALF -> HalfPrecision.f16(words[at + lane % 16] >>> (lane / 16 * 16));
      case FLOAT_PAIR -> Float.intBitsToFloat(words[at + lane]);
      case FLOAT_TWO_GROUPS -> Float.intBitsToFloat(words[at + group * TILE_ROWS + lane]);
    };
  }

  float minimum(int tile, int stored, int lane, float scale) {
    int at = scalesAt(tile, stored);
    return switch (scaleKind) {
      case HALF_PAIR -> HalfPrecision.f16(words[at + lane] >>> 16);
      case FLOAT_PAIR -> Float.intBitsToFloat(words[at + TILE_ROWS + lane]);
      case HALF, FLOAT_TWO_GROUPS -> -zeroPoint * scale;
    };
  }
}
