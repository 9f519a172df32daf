package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.FLOATS;
import static dev.kvfreeze.device.cpu.VectorMath.INTS;
import static dev.kvfreeze.device.cpu.VectorMath.LANES;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * Dot products of decode over transposed keys. A block is one register of neighbouring tokens; four
 * blocks at a time share the broadcasts of the queries, and up to four queries share the loads of
 * the keys. The lanes of a block beyond a page's tokens compute rubbish that the next block's
 * scores overwrite.
 */
final class VectorKeyScores {
  private static final int HIGH_HALF = 0xffff0000;

  private VectorKeyScores() {}

  /** See {@link AttentionKernels#scores}. */
  static void scores(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    if (memory.layout().pageTokens() <= LANES) {
      smallPages(memory, pages, from, to, queries, group, scores, stride);
    } else {
      largePages(memory, pages, from, to, queries, group, scores, stride);
    }
  }

  /** Four pages at a time, the last one repeated where fewer are left. */
  private static void smallPages(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    int[] slots = pages.slots;
    int[] counts = pages.tokenCounts;
    int last = to - 1;
    int s0 = 0;
    for (int page = from; page < to; page += 4) {
      int p1 = Math.min(page + 1, last);
      int p2 = Math.min(page + 2, last);
      int p3 = Math.min(page + 3, last);
      int s1 = p1 > page ? s0 + counts[page] : s0;
      int s2 = p2 > p1 ? s1 + counts[p1] : s1;
      int s3 = p3 > p2 ? s2 + counts[p2] : s2;
      quad(
          memory,
          memory.slab(slots[page]),
          memory.offset(slots[page]),
          memory.slab(slots[p1]),
          memory.offset(slots[p1]),
          memory.slab(slots[p2]),
          memory.offset(slots[p2]),
          memory.slab(slots[p3]),
          memory.offset(slots[p3]),
          queries,
          group,
          scores,
          s0,
          s1,
          s2,
          s3,
          stride);
      s0 = s3 + counts[p3];
    }
  }

  /** Four blocks of a page at a time, the last one repeated where fewer are left. */
  private static void largePages(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    int base = 0;
    for (int page = from; page < to; page++) {
      int count = pages.tokenCounts[page];
      int[] slab = memory.slab(pages.slots[page]);
      int offset = memory.offset(pages.slots[page]);
      int last = (count - 1) / LANES * LANES;
      for (int t = 0; t < count; t += 4 * LANES) {
        int t1 = Math.min(t + LANES, last);
        int t2 = Math.min(t + 2 * LANES, last);
        int t3 = Math.min(t + 3 * LANES, last);
        quad(
            memory,
            slab,
            offset + t,
            slab,
            offset + t1,
            slab,
            offset + t2,
            slab,
            offset + t3,
            queries,
            group,
            scores,
            base + t,
            base + t1,
            base + t2,
            base + t3,
            stride);
      }
      base += count;
    }
  }

  private static void quad(
      CpuPageMemory memory,
      int[] k0,
      int o0,
      int[] k1,
      int o1,
      int[] k2,
      int o2,
      int[] k3,
      int o3,
      float[] q,
      int group,
      float[] scores,
      int s0,
      int s1,
      int s2,
      int s3,
      int stride) {
    int tokens = memory.layout().pageTokens();
    int words = memory.layout().wordsPerToken();
    int headSize = memory.layout().headSize();
    boolean f32 = memory.layout().format() == KvFormat.F32;
    int g = 0;
    while (g < group) {
      int at = g * headSize;
      int row = g * stride;
      int left = group - g;
      if (f32) {
        quad1F32(
            k0, o0, k1, o1, k2, o2, k3, o3, tokens, words, q, at, scores, row + s0, row + s1,
            row + s2, row + s3);
        g++;
      } else if (left >= 4) {
        quad4(
            k0, o0, k1, o1, k2, o2, k3, o3, tokens, words, q, at, scores, row + s0, row + s1,
            row + s2, row + s3, stride);
        g += 4;
      } else if (left == 3) {
        quad3(
            k0, o0, k1, o1, k2, o2, k3, o3, tokens, words, q, at, scores, row + s0, row + s1,
            row + s2, row + s3, stride);
        g += 3;
      } else {
        quad1(
            k0, o0, k1, o1, k2, o2, k3, o3, tokens, words, q, at, scores, row + s0, row + s1,
            row + s2, row + s3);
        g++;
      }
    }
  }

  /** One query against four blocks of keys. */
  private static void quad1(
      int[] k0,
      int o0,
      int[] k1,
      int o1,
      int[] k2,
      int o2,
      int[] k3,
      int o3,
      int pageTokens,
      int words,
      float[] q,
      int at,
      float[] scores,
      int s0,
      int s1,
      int s2,
      int s3) {
    FloatVector a00 = FloatVector.zero(FLOATS);
    FloatVector a10 = FloatVector.zero(FLOATS);
    FloatVector a20 = FloatVector.zero(FLOATS);
    FloatVector a30 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int row = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector h0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a00 = l0.lanewise(FMA, x0, a00);
      a00 = h0.lanewise(FMA, y0, a00);
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + row);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a10 = l0.lanewise(FMA, x1, a10);
      a10 = h0.lanewise(FMA, y1, a10);
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + row);
      FloatVector x2 = w2.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y2 = w2.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a20 = l0.lanewise(FMA, x2, a20);
      a20 = h0.lanewise(FMA, y2, a20);
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + row);
      FloatVector x3 = w3.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y3 = w3.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a30 = l0.lanewise(FMA, x3, a30);
      a30 = h0.lanewise(FMA, y3, a30);
    }
    a00.intoArray(scores, s0);
    a10.intoArray(scores, s1);
    a20.intoArray(scores, s2);
    a30.intoArray(scores, s3);
  }

  /** Three queries against four blocks of keys. */
  private static void quad3(
      int[] k0,
      int o0,
      int[] k1,
      int o1,
      int[] k2,
      int o2,
      int[] k3,
      int o3,
      int pageTokens,
      int words,
      float[] q,
      int at,
      float[] scores,
      int s0,
      int s1,
      int s2,
      int s3,
      int stride) {
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
    int headSize = 2 * words;
    for (int j = 0; j < words; j++) {
      int row = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector h0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      FloatVector l1 = FloatVector.broadcast(FLOATS, q[at + headSize + j]);
      FloatVector h1 = FloatVector.broadcast(FLOATS, q[at + headSize + j + words]);
      FloatVector l2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j]);
      FloatVector h2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j + words]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a00 = l0.lanewise(FMA, x0, a00);
      a01 = l1.lanewise(FMA, x0, a01);
      a02 = l2.lanewise(FMA, x0, a02);
      a00 = h0.lanewise(FMA, y0, a00);
      a01 = h1.lanewise(FMA, y0, a01);
      a02 = h2.lanewise(FMA, y0, a02);
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + row);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a10 = l0.lanewise(FMA, x1, a10);
      a11 = l1.lanewise(FMA, x1, a11);
      a12 = l2.lanewise(FMA, x1, a12);
      a10 = h0.lanewise(FMA, y1, a10);
      a11 = h1.lanewise(FMA, y1, a11);
      a12 = h2.lanewise(FMA, y1, a12);
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + row);
      FloatVector x2 = w2.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y2 = w2.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a20 = l0.lanewise(FMA, x2, a20);
      a21 = l1.lanewise(FMA, x2, a21);
      a22 = l2.lanewise(FMA, x2, a22);
      a20 = h0.lanewise(FMA, y2, a20);
      a21 = h1.lanewise(FMA, y2, a21);
      a22 = h2.lanewise(FMA, y2, a22);
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + row);
      FloatVector x3 = w3.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y3 = w3.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      a30 = l0.lanewise(FMA, x3, a30);
      a31 = l1.lanewise(FMA, x3, a31);
      a32 = l2.lanewise(FMA, x3, a32);
      a30 = h0.lanewise(FMA, y3, a30);
      a31 = h1.lanewise(FMA, y3, a31);
      a32 = h2.lanewise(FMA, y3, a32);
    }
    a00.intoArray(scores, s0);
    a01.intoArray(scores, s0 + stride);
    a02.intoArray(scores, s0 + 2 * stride);
    a10.intoArray(scores, s1);
    a11.intoArray(scores, s1 + stride);
    a12.intoArray(scores, s1 + 2 * stride);
    a20.intoArray(scores, s2);
    a21.intoArray(scores, s2 + stride);
    a22.intoArray(scores, s2 + 2 * stride);
    a30.intoArray(scores, s3);
    a31.intoArray(scores, s3 + stride);
    a32.intoArray(scores, s3 + 2 * stride);
  }

  /** Four queries against four blocks of keys. */
  private static void quad4(
      int[] k0,
      int o0,
      int[] k1,
      int o1,
      int[] k2,
      int o2,
      int[] k3,
      int o3,
      int pageTokens,
      int words,
      float[] q,
      int at,
      float[] scores,
      int s0,
      int s1,
      int s2,
      int s3,
      int stride) {
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
    int headSize = 2 * words;
    for (int j = 0; j < words; j++) {
      int row = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      FloatVector h0 = FloatVector.broadcast(FLOATS, q[at + j + words]);
      FloatVector l1 = FloatVector.broadcast(FLOATS, q[at + headSize + j]);
      FloatVector h1 = FloatVector.broadcast(FLOATS, q[at + headSize + j + words]);
      FloatVector l2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j]);
      FloatVector h2 = FloatVector.broadcast(FLOATS, q[at + 2 * headSize + j + words]);
      FloatVector l3 = FloatVector.broadcast(FLOATS, q[at + 3 * headSize + j]);
      FloatVector h3 = FloatVector.broadcast(FLOATS, q[at + 3 * headSize + j + words]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + row);
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
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + row);
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
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + row);
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
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + row);
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
    a00.intoArray(scores, s0);
    a01.intoArray(scores, s0 + stride);
    a02.intoArray(scores, s0 + 2 * stride);
    a03.intoArray(scores, s0 + 3 * stride);
    a10.intoArray(scores, s1);
    a11.intoArray(scores, s1 + stride);
    a12.intoArray(scores, s1 + 2 * stride);
    a13.intoArray(scores, s1 + 3 * stride);
    a20.intoArray(scores, s2);
    a21.intoArray(scores, s2 + stride);
    a22.intoArray(scores, s2 + 2 * stride);
    a23.intoArray(scores, s2 + 3 * stride);
    a30.intoArray(scores, s3);
    a31.intoArray(scores, s3 + stride);
    a32.intoArray(scores, s3 + 2 * stride);
    a33.intoArray(scores, s3 + 3 * stride);
  }

  /** One query, float32 keys, against four blocks of keys. */
  private static void quad1F32(
      int[] k0,
      int o0,
      int[] k1,
      int o1,
      int[] k2,
      int o2,
      int[] k3,
      int o3,
      int pageTokens,
      int words,
      float[] q,
      int at,
      float[] scores,
      int s0,
      int s1,
      int s2,
      int s3) {
    FloatVector a00 = FloatVector.zero(FLOATS);
    FloatVector a10 = FloatVector.zero(FLOATS);
    FloatVector a20 = FloatVector.zero(FLOATS);
    FloatVector a30 = FloatVector.zero(FLOATS);
    for (int j = 0; j < words; j++) {
      int row = j * pageTokens;
      FloatVector l0 = FloatVector.broadcast(FLOATS, q[at + j]);
      IntVector w0 = IntVector.fromArray(INTS, k0, o0 + row);
      a00 = l0.lanewise(FMA, w0.reinterpretAsFloats(), a00);
      IntVector w1 = IntVector.fromArray(INTS, k1, o1 + row);
      a10 = l0.lanewise(FMA, w1.reinterpretAsFloats(), a10);
      IntVector w2 = IntVector.fromArray(INTS, k2, o2 + row);
      a20 = l0.lanewise(FMA, w2.reinterpretAsFloats(), a20);
      IntVector w3 = IntVector.fromArray(INTS, k3, o3 + row);
      a30 = l0.lanewise(FMA, w3.reinterpretAsFloats(), a30);
    }
    a00.intoArray(scores, s0);
    a10.intoArray(scores, s1);
    a20.intoArray(scores, s2);
    a30.intoArray(scores, s3);
  }
}
