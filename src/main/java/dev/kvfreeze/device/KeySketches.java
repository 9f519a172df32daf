package dev.kvfreeze.device;

import dev.kvfreeze.model.Rope;
import java.util.Arrays;

/**
 * Small stand-ins for the keys of one KV head of one sequence, which stay resident when pages are
 * frozen: of each key, centred, codes of {@code planes} bits and one step size. With {@link
 * #channels} the codes are of 2 bits, of those dimensions that scores depend on most. Without them,
 * each key is turned by one fixed random orthogonal matrix and has a code for every dimension (the
 * idea of RaBitQ, Gao and Long, arXiv 2405.12497). Code {@code u} stands for {@code step * (2u -
 * (2^planes - 1))}, times the channel's weight.
 *
 * <p>What keys have in common they have in common before the rotary embedding, which turns it with
 * the position. So with a {@link #rope} the centre is the mean of the keys turned back, and what is
 * subtracted from a key is the centre turned to the key's position.
 *
 * <p>Made by {@link Device#sketchKeys}, read by {@link Device#scoreSketches}, which fills {@link
 * #mass}. Owned by the cache.
 */
public class KeySketches {
  /** Tokens whose codes lie together: {@code bits[block][word][token]}. */
  public static final int BLOCK_TOKENS = 64;

  /** Tokens that are scored together; a part of a block. */
  public static final int RUN_TOKENS = 16;

  private static final int ALL = -1;

  private static final int SPARE_BLOCKS = 1;

  /** Mean squared code of Gaussian numbers times the share of a code's energy that is error. */
  private static final double[] ERROR_OF_CODES = {0, 1 - 2 / Math.PI, 3.555 * 0.1175};

  private final int headSize;
  private final int pageTokens;
  private final int planes;
  private final int codes;
  private final int words;
  private final Rope rope;
  private final SketchChannels channels;

  /** Pages sketched, from the first of the sequence on. */
  public int pages;

  /**
   * Codes of {@code planes} bits, from the low end of a word on. The topmost of a word has its
   * highest bit flipped: read as a signed number it is then the code less half its range.
   */
  public int[] bits = {};

  /** Step size of each token, in bf16. */
  public short[] steps = {};

  /**
   * What is subtracted from every key, turned to its position where there is a rope: the mean of
   * the first ones sketched; null before.
   */
  public float[] centre;

  /**
   * Out: estimated share of the attention by page, mean over the query heads of the group; 0 for
   * pages that were not to be scored.
   */
  public float[] mass = {};

  private int[] asked = {};
  private int askedCount = ALL;
  private float unaskedShare;

  /**
   * @param planes bits a dimension, 1 or 2
   */
  public KeySketches(int headSize, int pageTokens, int planes) {
    this(headSize, pageTokens, planes, null);
  }

  /**
   * Of turned keys, a code for every dimension.
   *
   * @param planes bits a dimension, 1 or 2
   * @param rope how the keys were turned to their positions, or null
   */
  public KeySketches(int headSize, int pageTokens, int planes, Rope rope) {
    this(headSize, pageTokens, planes, headSize, rope, null);
  }

  /** Of some dimensions. */
  public KeySketches(int pageTokens, SketchChannels channels, Rope rope) {
    this(channels.headSize(), pageTokens, 2, channels.codes(), rope, channels);
  }

  private KeySketches(
      int headSize, int pageTokens, int planes, int codes, Rope rope, SketchChannels channels) {
    if (planes < 1 || planes > 2) {
      throw new IllegalArgumentException("a sketch has codes of 1 or 2 bits, found " + planes);
    }
    this.headSize = headSize;
    this.pageTokens = pageTokens;
    this.planes = planes;
    this.codes = codes;
    this.words = words(codes, planes);
    this.rope = rope;
    this.channels = channels;
  }

  public int headSize() {
    return headSize;
  }

  public int pageTokens() {
    return pageTokens;
  }

  /** How the keys were turned to their positions, or null when their centre is not turned. */
  public Rope rope() {
    return rope;
  }

  /** Bits of a code. */
  public int planes() {
    return planes;
  }

  /** Codes of a token. */
  public int codes() {
    return codes;
  }

  /** The dimensions that codes are of, or null where keys are turned and have one for each. */
  public SketchChannels channels() {
    return channels;
  }

  /** Words of a token's codes. */
  public int words() {
    return words;
  }

  /**
   * Variance of a score's error for a query of length 1 and a sketch of step 1: what scores are
   * corrected by. Channels leave so small an error that correcting them does not pay.
   */
  public float errorVariance() {
    return channels == null ? errorVariance(planes, headSize) : 0;
  }

  /** The same of turned keys. */
  private static float errorVariance(int planes, int headSize) {
    // The error is orthogonal to the key, so a dimension less than all has it.
    return (float) (ERROR_OF_CODES[planes] * headSize / Math.max(1, headSize - 1));
  }

  /**
   * Bytes of one token's sketch, its part of the estimates and of spare room included.
   *
   * @param bits a dimension, mean
   */
  public static int bytesPerToken(int headSize, int bits) {
    return bytesPerToken(words(headSize * bits, 1));
  }

  /** The same of these sketches. */
  public int bytesPerToken() {
    return bytesPerToken(words);
  }

  private static int bytesPerToken(int words) {
    return Integer.BYTES * words + Short.BYTES + 1;
  }

  private static int words(int codes, int planes) {
    int codesOfWord = Integer.SIZE / planes;
    return (codes + codesOfWord - 1) / codesOfWord;
  }

  /**
   * Takes room for the sketches of {@code count} pages where it may be missing later; false when
   * there is none. Host memory is taken as it is used.
   */
  public boolean reserve(int count) {
    return true;
  }

  /** Makes room for the sketches of {@code count} pages, keeping what is there. */
  public void ensure(int count) {
    int tokens = count * pageTokens;
    if (steps.length >= tokens && mass.length >= count) {
      return;
    }
    // A little more than asked for: doubling would hold twice what is needed.
    int blocks = (tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS + SPARE_BLOCKS;
    steps = Arrays.copyOf(steps, blocks * BLOCK_TOKENS);
    bits = Arrays.copyOf(bits, blocks * BLOCK_TOKENS * words);
    mass = Arrays.copyOf(mass, blocks * BLOCK_TOKENS / pageTokens + 1);
  }

  /** Bytes now taken. */
  public long bytes() {
    long centreBytes = centre == null ? 0 : 4L * centre.length;
    return 4L * bits.length + 2L * steps.length + 4L * mass.length + centreBytes;
  }

  /** Index in {@link #bits} of the word with a code. */
  public int wordAt(int token, int index) {
    int word = index / (Integer.SIZE / planes);
    return (token / BLOCK_TOKENS * words + word) * BLOCK_TOKENS + token % BLOCK_TOKENS;
  }

  /** Has {@link Device#scoreSketches} score all pages: the default. */
  public void askAll() {
    askedCount = ALL;
    unaskedShare = 0;
  }

  /**
   * Has it score only some pages. A device may score others too.
   *
   * @param pages in ascending order, in the first {@code count} places; those without a sketch are
   *     left out
   * @param unasked share of the attention that the other pages are taken to get, from 0 to below 1
   */
  public void ask(int[] pages, int count, float unasked) {
    int sketched = count;
    while (sketched > 0 && pages[sketched - 1] >= this.pages) {
      sketched--;
    }
    if (asked.length < sketched) {
      asked = new int[Math.max(sketched, 2 * asked.length)];
    }
    System.arraycopy(pages, 0, asked, 0, sketched);
    askedCount = sketched;
    unaskedShare = unasked;
  }

  /** Pages to score. */
  public int askedCount() {
    return askedCount == ALL ? pages : askedCount;
  }

  /** The pages to score in order: the one at a place. */
  public int asked(int index) {
    return askedCount == ALL ? index : asked[index];
  }

  /** Share of the attention that the pages which are not scored are taken to get. */
  public float unaskedShare() {
    return unaskedShare;
  }

  /** A code of a token. */
  public int code(int token, int index) {
    int place = index % (Integer.SIZE / planes) * planes;
    int code = bits[wordAt(token, index)] >>> place & (1 << planes) - 1;
    return place + planes == Integer.SIZE ? code ^ 1 << planes - 1 : code;
  }

  /** Gives the memory back. */
  public void release() {
    pages = 0;
    askAll();
    bits = new int[0];
    steps = new short[0];
    mass = new float[0];
    centre = null;
  }

  /** Forgets the sketches of pages from {@code page} on. */
  public void cut(int page) {
    pages = Math.min(pages, page);
    askAll();
  }
}
