package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.FLOATS;
import static dev.kvfreeze.device.cpu.VectorMath.INTS;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;

import dev.kvfreeze.device.PageLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * Two blocks of transposed keys, a block being one register of neighbouring tokens, and their dot
 * products with queries. The blocks share the broadcasts of the queries, the queries the loads of
 * the keys. The methods are alike but for the number of queries: registers have no index.
 *
 * <p>More blocks would make the methods too long to be inlined to their end, and their last vectors
 * are boxed by JDK 17 in some runs.
 */
final class VectorKeyPair {
  private static final int HIGH_HALF = 0xffff0000;

  private final int pageTokens;
  private final int words;

  private int[] slab0;
  private int[] slab1;
  private int offset0;
  private int offset1;
  private int token0;
  private int token1;

  VectorKeyPair(PageLayout layout) {
    pageTokens = layout.pageTokens();
    words = layout.wordsPerToken();
  }

  /**
   * Sets the first block.
   *
   * @param offset where its keys begin in the slab
   * @param token where its scores go in a row
   */
  void setFirst(int[] slab, int offset, int token) {
    slab0 = slab;
    offset0 = offset;
    token0 = token;
  }

  /** Sets the second block, see {@link #setFirst}. */
  void setSecond(int[] slab, int offset, int token) {
    slab1 = slab;
    offset1 = offset;
    token1 = token;
  }

  /** One query against the two blocks. */
  void one(float[] q, int at, float[] scores, int row) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] keys0 = slab0;
    int from0 = offset0;
    int[] keys1 = slab1;
    int from1 = offset1;
    FloatVector sum00 = FloatVector.zero(FLOATS);
    FloatVector sum10 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector low0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector high0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      IntVector both0 = IntVector.fromArray(INTS, keys0, from0 + column);
      FloatVector x0 = both0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = both0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      sum00 = low0.lanewise(FMA, x0, sum00);
      sum00 = high0.lanewise(FMA, y0, sum00);
      IntVector both1 = IntVector.fromArray(INTS, keys1, from1 + column);
      FloatVector x1 = both1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = both1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      sum10 = low0.lanewise(FMA, x1, sum10);
      sum10 = high0.lanewise(FMA, y1, sum10);
    }
    sum00.intoArray(scores, row + token0);
    sum10.intoArray(scores, row + token1);
  }

  /** Three queries against the two blocks. */
  void three(float[] q, int at, float[] scores, int row, int stride) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] keys0 = slab0;
    int from0 = offset0;
    int[] keys1 = slab1;
    int from1 = offset1;
    int headSize = 2 * words;
    FloatVector sum00 = FloatVector.zero(FLOATS);
    FloatVector sum01 = FloatVector.zero(FLOATS);
    FloatVector sum02 = FloatVector.zero(FLOATS);
    FloatVector sum10 = FloatVector.zero(FLOATS);
    FloatVector sum11 = FloatVector.zero(FLOATS);
    FloatVector sum12 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector low0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector high0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      FloatVector low1 = FloatVector.broadcast(FLOATS, q[at + headSize + j]);
      FloatVector high1 = FloatVector.broadcast(FLOATS, q[at + headSize + j + words]);
      FloatVector low2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j]);
      FloatVector high2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j + words]);
      IntVector both0 = IntVector.fromArray(INTS, keys0, from0 + column);
      FloatVector x0 = both0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = both0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      sum00 = low0.lanewise(FMA, x0, sum00);
      sum01 = low1.lanewise(FMA, x0, sum01);
      sum02 = low2.lanewise(FMA, x0, sum02);
      sum00 = high0.lanewise(FMA, y0, sum00);
      sum01 = high1.lanewise(FMA, y0, sum01);
      sum02 = high2.lanewise(FMA, y0, sum02);
      IntVector both1 = IntVector.fromArray(INTS, keys1, from1 + column);
      FloatVector x1 = both1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = both1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      sum10 = low0.lanewise(FMA, x1, sum10);
      sum11 = low1.lanewise(FMA, x1, sum11);
      sum12 = low2.lanewise(FMA, x1, sum12);
      sum10 = high0.lanewise(FMA, y1, sum10);
      sum11 = high1.lanewise(FMA, y1, sum11);
      sum12 = high2.lanewise(FMA, y1, sum12);
    }
    sum00.intoArray(scores, row + token0);
    sum01.intoArray(scores, row + stride + token0);
    sum02.intoArray(scores, row + 2 * stride + token0);
    sum10.intoArray(scores, row + token1);
    sum11.intoArray(scores, row + stride + token1);
    sum12.intoArray(scores, row + 2 * stride + token1);
  }

  /** Four queries against the two blocks. */
  void four(float[] q, int at, float[] scores, int row, int stride) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] keys0 = slab0;
    int from0 = offset0;
    int[] keys1 = slab1;
    int from1 = offset1;
    int headSize = 2 * words;
    FloatVector sum00 = FloatVector.zero(FLOATS);
    FloatVector sum01 = FloatVector.zero(FLOATS);
    FloatVector sum02 = FloatVector.zero(FLOATS);
    FloatVector sum03 = FloatVector.zero(FLOATS);
    FloatVector sum10 = FloatVector.zero(FLOATS);
    FloatVector sum11 = FloatVector.zero(FLOATS);
    FloatVector sum12 = FloatVector.zero(FLOATS);
    FloatVector sum13 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector low0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector high0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      FloatVector low1 = FloatVector.broadcast(FLOATS, q[at + headSize + j]);
      FloatVector high1 = FloatVector.broadcast(FLOATS, q[at + headSize + j + words]);
      FloatVector low2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j]);
      FloatVector high2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j + words]);
      FloatVector low3 = FloatVector.broadcast(FLOATS, q[at + 3 * headSize + j]);
      FloatVector high3 = FloatVector.broadcast(FLOATS, q[at + 3 * headSize + j + words]);
      IntVector both0 = IntVector.fromArray(INTS, keys0, from0 + column);
      FloatVector x0 = both0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = both0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      sum00 = low0.lanewise(FMA, x0, sum00);
      sum01 = low1.lanewise(FMA, x0, sum01);
      sum02 = low2.lanewise(FMA, x0, sum02);
      sum03 = low3.lanewise(FMA, x0, sum03);
      sum00 = high0.lanewise(FMA, y0, sum00);
      sum01 = high1.lanewise(FMA, y0, sum01);
      sum02 = high2.lanewise(FMA, y0, sum02);
      sum03 = high3.lanewise(FMA, y0, sum03);
      IntVector both1 = IntVector.fromArray(INTS, keys1, from1 + column);
      FloatVector x1 = both1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = both1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      sum10 = low0.lanewise(FMA, x1, sum10);
      sum11 = low1.lanewise(FMA, x1, sum11);
      sum12 = low2.lanewise(FMA, x1, sum12);
      sum13 = low3.lanewise(FMA, x1, sum13);
      sum10 = high0.lanewise(FMA, y1, sum10);
      sum11 = high1.lanewise(FMA, y1, sum11);
      sum12 = high2.lanewise(FMA, y1, sum12);
      sum13 = high3.lanewise(FMA, y1, sum13);
    }
    sum00.intoArray(scores, row + token0);
    sum01.intoArray(scores, row + stride + token0);
    sum02.intoArray(scores, row + 2 * stride + token0);
    sum03.intoArray(scores, row + 3 * stride + token0);
    sum10.intoArray(scores, row + token1);
    sum11.intoArray(scores, row + stride + token1);
    sum12.intoArray(scores, row + 2 * stride + token1);
    sum13.intoArray(scores, row + 3 * stride + token1);
  }

  /** One query against two blocks of float32 keys. */
  void oneFloat32(float[] q, int at, float[] scores, int row) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] keys0 = slab0;
    int from0 = offset0;
    int[] keys1 = slab1;
    int from1 = offset1;
    FloatVector sum0 = FloatVector.zero(FLOATS);
    FloatVector sum1 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector x = FloatVector.broadcast(FLOATS, q[at + j]);
      IntVector both0 = IntVector.fromArray(INTS, keys0, from0 + column);
      sum0 = x.lanewise(FMA, both0.reinterpretAsFloats(), sum0);
      IntVector both1 = IntVector.fromArray(INTS, keys1, from1 + column);
      sum1 = x.lanewise(FMA, both1.reinterpretAsFloats(), sum1);
    }
    sum0.intoArray(scores, row + token0);
    sum1.intoArray(scores, row + token1);
  }
}
