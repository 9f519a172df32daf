package dev.kvfreeze.device;

/**
 * The shape of every page of a pool: {@code pageTokens} keys, then as many values, of one KV head.
 *
 * <p>In 32-bit words, {@code w} a token: first the keys transposed, {@code keys[w][pageTokens]}, so
 * that a vector register holds one dimension of neighbouring tokens and a dot product needs no
 * horizontal sum; then the values, {@code values[pageTokens][w]}. A word holds dimensions that lie
 * equally far apart, the first one lowest: in bf16 the word {@code j} dimension {@code j} and
 * {@code j + headSize / 2}, in int8 {@code j} and those a quarter, a half and three quarters of the
 * head behind it. In int8 the words are in four groups that follow each other, whose numbers share
 * a scale, and two words of scales follow them: of the first two groups and of the last two.
 */
public record PageLayout(int headSize, int pageTokens, KvFormat format) {
  public PageLayout {
    if (headSize < 2 || headSize % 2 != 0) {
      throw new IllegalArgumentException("head size must be even and positive, found " + headSize);
    }
    if (headSize % format.valuesPerWord() != 0) {
      throw new IllegalArgumentException(
          "8-bit keys and values need a head size in multiples of 4, found " + headSize);
    }
    if (pageTokens < 1) {
      throw new IllegalArgumentException("a page holds at least one token, found " + pageTokens);
    }
  }

  /** Words of one token's key, and of its value, scales included. */
  public int wordsPerToken() {
    return valueWords() + format.scaleWords();
  }

  /** The same without scales. */
  public int valueWords() {
    return headSize / format.valuesPerWord();
  }

  /** Words before the values begin. */
  public int valueOffset() {
    return wordsPerToken() * pageTokens;
  }

  public int wordsPerPage() {
    return 2 * valueOffset();
  }

  public int pageBytes() {
    return 4 * wordsPerPage();
  }

  /** Bytes of such a page in the cache that sizes are compared with. */
  public int comparedPageBytes() {
    return 2 * pageTokens * headSize * format.comparedBytesPerValue();
  }

  /** A dimension of a token's key in the page that begins at {@code words[page]}. */
  public float key(int[] words, int page, int token, int dimension) {
    return number(words, page + token, pageTokens, dimension);
  }

  /** A dimension of a token's value in the page that begins at {@code words[page]}. */
  public float value(int[] words, int page, int token, int dimension) {
    return number(words, page + valueOffset() + token * wordsPerToken(), 1, dimension);
  }

  private float number(int[] words, int at, int stride, int dimension) {
    int each = valueWords();
    int part = dimension / each;
    int index = dimension % each;
    int word = words[at + index * stride];
    return switch (format) {
      case F32 -> Float.intBitsToFloat(word);
      case BF16 -> half(word, part);
      case INT8 -> {
        int group = scaleGroup(index);
        yield (byte) (word >> 8 * part) * half(words[at + (each + group / 2) * stride], group % 2);
      }
    };
  }

  /** Which of the four scales of 8-bit numbers those of a word have. */
  public int scaleGroup(int word) {
    return 4 * word / valueWords();
  }

  /** A bfloat16 number, the low or the high half of a word. */
  private static float half(int word, int half) {
    return Float.intBitsToFloat(half == 0 ? word << 16 : word & 0xFFFF0000);
  }
}
