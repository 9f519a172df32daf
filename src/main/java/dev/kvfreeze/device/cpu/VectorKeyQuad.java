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
 * Four blocks of transposed keys, a block being one register of neighbouring tokens, and their dot
 * products with queries. The blocks share the broadcasts of the queries, the queries the loads of
 * the keys. The methods are alike but for the number of queries: registers have no index.
 */
final class VectorKeyQuad {
  private static final int HIGH_HALF = 0xffff0000;

  private final int pageTokens;
  private final int words;

  private int[] slab0;
  private int[] slab1;
  private int[] slab2;
  private int[] slab3;
  private int offset0;
  private int offset1;
  private int offset2;
  private int offset3;
  private int token0;
  private int token1;
  private int token2;
  private int token3;

  VectorKeyQuad(PageLayout layout) {
    pageTokens = layout.pageTokens();
    words = layout.wordsPerToken();
  }

  /**
   * Sets a block.
   *
   * @param offset where its keys begin in the slab
   * @param token where its scores go in a row
   */
  void set(int block, int[] slab, int offset, int token) {
    switch (block) {
      case 0 -> {
        slab0 = slab;
        offset0 = offset;
        token0 = token;
      }
      case 1 -> {
        slab1 = slab;
        offset1 = offset;
        token1 = token;
      }
      case 2 -> {
        slab2 = slab;
        offset2 = offset;
        token2 = token;
      }
      default -> {
        slab3 = slab;
        offset3 = offset;
        token3 = token;
      }
    }
  }

  /** One query against the four blocks. */
  void one(float[] q, int at, float[] scores, int row) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] k0 = slab0;
    int o0 = offset0;
    int[] k1 = slab1;
    int o1 = offset1;
    int[] k2 = slab2;
    int o2 = offset2;
    int[] k3 = slab3;
    int o3 = offset3;
    FloatVector a00 = FloatVector.zero(FLOATS);
    FloatVector a10 = FloatVector.zero(FLOATS);
    FloatVector a20 = FloatVector.zero(FLOATS);
    FloatVector a30 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector h0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + column);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a00 = l0.lanewise(FMA, x0, a00);
      a00 = h0.lanewise(FMA, y0, a00);
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + column);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a10 = l0.lanewise(FMA, x1, a10);
      a10 = h0.lanewise(FMA, y1, a10);
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + column);
      FloatVector x2 = w2.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y2 = w2.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a20 = l0.lanewise(FMA, x2, a20);
      a20 = h0.lanewise(FMA, y2, a20);
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + column);
      FloatVector x3 = w3.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y3 = w3.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a30 = l0.lanewise(FMA, x3, a30);
      a30 = h0.lanewise(FMA, y3, a30);
    }
    a00.intoArray(scores, row + token0);
    a10.intoArray(scores, row + token1);
    a20.intoArray(scores, row + token2);
    a30.intoArray(scores, row + token3);
  }

  /** Three queries against the four blocks. */
  void three(float[] q, int at, float[] scores, int row, int stride) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] k0 = slab0;
    int o0 = offset0;
    int[] k1 = slab1;
    int o1 = offset1;
    int[] k2 = slab2;
    int o2 = offset2;
    int[] k3 = slab3;
    int o3 = offset3;
    int headSize = 2 * words;
    FloatVector a00 = FloatVector.zero(FLOATS);
    FloatVector a01 = FloatVector.zero(FLOATS);
    FloatVector a02 = FloatVector.zero(FLOATS);
    FloatVector a10 = FloatVector.zero(FLOATS);
    FloatVector a11 = FloatVector.zero(FLOATS);
    FloatVector a12 = FloatVector.zero(FLOATS);
    FloatVector a20 = FloatVector.zero(FLOATS);
    FloatVector a21 = FloatVector.zero(FLOATS);
    FloatVector a22 = FloatVector.zero(FLOATS);
    FloatVector a30 = FloatVector.zero(FLOATS);
    FloatVector a31 = FloatVector.zero(FLOATS);
    FloatVector a32 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector h0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      FloatVector l1 = FloatVector.broadcast(FLOATS, q[at + headSize + j]);
      FloatVector h1 = FloatVector.broadcast(FLOATS, q[at + headSize + j + words]);
      FloatVector l2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j]);
      FloatVector h2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j + words]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + column);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a00 = l0.lanewise(FMA, x0, a00);
      a01 = l1.lanewise(FMA, x0, a01);
      a02 = l2.lanewise(FMA, x0, a02);
      a00 = h0.lanewise(FMA, y0, a00);
      a01 = h1.lanewise(FMA, y0, a01);
      a02 = h2.lanewise(FMA, y0, a02);
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + column);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a10 = l0.lanewise(FMA, x1, a10);
      a11 = l1.lanewise(FMA, x1, a11);
      a12 = l2.lanewise(FMA, x1, a12);
      a10 = h0.lanewise(FMA, y1, a10);
      a11 = h1.lanewise(FMA, y1, a11);
      a12 = h2.lanewise(FMA, y1, a12);
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + column);
      FloatVector x2 = w2.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y2 = w2.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a20 = l0.lanewise(FMA, x2, a20);
      a21 = l1.lanewise(FMA, x2, a21);
      a22 = l2.lanewise(FMA, x2, a22);
      a20 = h0.lanewise(FMA, y2, a20);
      a21 = h1.lanewise(FMA, y2, a21);
      a22 = h2.lanewise(FMA, y2, a22);
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + column);
      FloatVector x3 = w3.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y3 = w3.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a30 = l0.lanewise(FMA, x3, a30);
      a31 = l1.lanewise(FMA, x3, a31);
      a32 = l2.lanewise(FMA, x3, a32);
      a30 = h0.lanewise(FMA, y3, a30);
      a31 = h1.lanewise(FMA, y3, a31);
      a32 = h2.lanewise(FMA, y3, a32);
    }
    int row1 = row + stride;
    int row2 = row + 2 * stride;
    a00.intoArray(scores, row + token0);
    a01.intoArray(scores, row1 + token0);
    a02.intoArray(scores, row2 + token0);
    a10.intoArray(scores, row + token1);
    a11.intoArray(scores, row1 + token1);
    a12.intoArray(scores, row2 + token1);
    a20.intoArray(scores, row + token2);
    a21.intoArray(scores, row1 + token2);
    a22.intoArray(scores, row2 + token2);
    a30.intoArray(scores, row + token3);
    a31.intoArray(scores, row1 + token3);
    a32.intoArray(scores, row2 + token3);
  }

  /** Four queries against the four blocks. */
  void four(float[] q, int at, float[] scores, int row, int stride) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] k0 = slab0;
    int o0 = offset0;
    int[] k1 = slab1;
    int o1 = offset1;
    int[] k2 = slab2;
    int o2 = offset2;
    int[] k3 = slab3;
    int o3 = offset3;
    int headSize = 2 * words;
    FloatVector a00 = FloatVector.zero(FLOATS);
    FloatVector a01 = FloatVector.zero(FLOATS);
    FloatVector a02 = FloatVector.zero(FLOATS);
    FloatVector a03 = FloatVector.zero(FLOATS);
    FloatVector a10 = FloatVector.zero(FLOATS);
    FloatVector a11 = FloatVector.zero(FLOATS);
    FloatVector a12 = FloatVector.zero(FLOATS);
    FloatVector a13 = FloatVector.zero(FLOATS);
    FloatVector a20 = FloatVector.zero(FLOATS);
    FloatVector a21 = FloatVector.zero(FLOATS);
    FloatVector a22 = FloatVector.zero(FLOATS);
    FloatVector a23 = FloatVector.zero(FLOATS);
    FloatVector a30 = FloatVector.zero(FLOATS);
    FloatVector a31 = FloatVector.zero(FLOATS);
    FloatVector a32 = FloatVector.zero(FLOATS);
    FloatVector a33 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector h0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      FloatVector l1 = FloatVector.broadcast(FLOATS, q[at + headSize + j]);
      FloatVector h1 = FloatVector.broadcast(FLOATS, q[at + headSize + j + words]);
      FloatVector l2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j]);
      FloatVector h2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j + words]);
      FloatVector l3 = FloatVector.broadcast(FLOATS, q[at + 3 * headSize + j]);
      FloatVector h3 = FloatVector.broadcast(FLOATS, q[at + 3 * headSize + j + words]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + column);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a00 = l0.lanewise(FMA, x0, a00);
      a01 = l1.lanewise(FMA, x0, a01);
      a02 = l2.lanewise(FMA, x0, a02);
      a03 = l3.lanewise(FMA, x0, a03);
      a00 = h0.lanewise(FMA, y0, a00);
      a01 = h1.lanewise(FMA, y0, a01);
      a02 = h2.lanewise(FMA, y0, a02);
      a03 = h3.lanewise(FMA, y0, a03);
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + column);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a10 = l0.lanewise(FMA, x1, a10);
      a11 = l1.lanewise(FMA, x1, a11);
      a12 = l2.lanewise(FMA, x1, a12);
      a13 = l3.lanewise(FMA, x1, a13);
      a10 = h0.lanewise(FMA, y1, a10);
      a11 = h1.lanewise(FMA, y1, a11);
      a12 = h2.lanewise(FMA, y1, a12);
      a13 = h3.lanewise(FMA, y1, a13);
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + column);
      FloatVector x2 = w2.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y2 = w2.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a20 = l0.lanewise(FMA, x2, a20);
      a21 = l1.lanewise(FMA, x2, a21);
      a22 = l2.lanewise(FMA, x2, a22);
      a23 = l3.lanewise(FMA, x2, a23);
      a20 = h0.lanewise(FMA, y2, a20);
      a21 = h1.lanewise(FMA, y2, a21);
      a22 = h2.lanewise(FMA, y2, a22);
      a23 = h3.lanewise(FMA, y2, a23);
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + column);
      FloatVector x3 = w3.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y3 = w3.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a30 = l0.lanewise(FMA, x3, a30);
      a31 = l1.lanewise(FMA, x3, a31);
      a32 = l2.lanewise(FMA, x3, a32);
      a33 = l3.lanewise(FMA, x3, a33);
      a30 = h0.lanewise(FMA, y3, a30);
      a31 = h1.lanewise(FMA, y3, a31);
      a32 = h2.lanewise(FMA, y3, a32);
      a33 = h3.lanewise(FMA, y3, a33);
    }
    int row1 = row + stride;
    int row2 = row + 2 * stride;
    int row3 = row + 3 * stride;
    a00.intoArray(scores, row + token0);
    a01.intoArray(scores, row1 + token0);
    a02.intoArray(scores, row2 + token0);
    a03.intoArray(scores, row3 + token0);
    a10.intoArray(scores, row + token1);
    a11.intoArray(scores, row1 + token1);
    a12.intoArray(scores, row2 + token1);
    a13.intoArray(scores, row3 + token1);
    a20.intoArray(scores, row + token2);
    a21.intoArray(scores, row1 + token2);
    a22.intoArray(scores, row2 + token2);
    a23.intoArray(scores, row3 + token2);
    a30.intoArray(scores, row + token3);
    a31.intoArray(scores, row1 + token3);
    a32.intoArray(scores, row2 + token3);
    a33.intoArray(scores, row3 + token3);
  }

  /** One query against four blocks of float32 keys. */
  void oneFloat32(float[] q, int at, float[] scores, int row) {
    int words = this.words;
    int pageTokens = this.pageTokens;
    int[] k0 = slab0;
    int o0 = offset0;
    int[] k1 = slab1;
    int o1 = offset1;
    int[] k2 = slab2;
    int o2 = offset2;
    int[] k3 = slab3;
    int o3 = offset3;
    FloatVector a00 = FloatVector.zero(FLOATS);
    FloatVector a10 = FloatVector.zero(FLOATS);
    FloatVector a20 = FloatVector.zero(FLOATS);
    FloatVector a30 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int column = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + column);
      a00 = l0.lanewise(FMA, w0.reinterpretAsFloats(), a00);
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + column);
      a10 = l0.lanewise(FMA, w1.reinterpretAsFloats(), a10);
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + column);
      a20 = l0.lanewise(FMA, w2.reinterpretAsFloats(), a20);
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + column);
      a30 = l0.lanewise(FMA, w3.reinterpretAsFloats(), a30);
    }
    a00.intoArray(scores, row + token0);
    a10.intoArray(scores, row + token1);
    a20.intoArray(scores, row + token2);
    a30.intoArray(scores, row + token3);
  }
}
