package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.SketchChannels;
import java.util.Objects;

/**
 * Sketches of keys by {@code sketch_keys.c}. Codes and steps are those of {@link SketchMaker} over
 * the vector kernels to the bit. Over the scalar ones, whose products round twice, a turned value
 * at the border of two codes may get the other.
 */
final class NativeSketchMaker {
  /** Tokens that are worked on side by side. */
  private static final int TOKENS = 16;

  private static final int PAIRS_ARE_HALVES = 0;
  private static final int PAIRS_ARE_NEIGHBOURS = 1;

  private static final int[] NO_INTEGERS = {};
  private static final float[] NO_WIDTHS = {};

  private NativeSketchMaker() {}

  /** Elements of scratch for keys of a head size. */
  static int scratch(int headSize) {
    return (headSize + RotationMatrix.of(headSize).stride()) * TOKENS;
  }

  /**
   * Sketches the keys of one page.
   *
   * @param centre turned to the page's first position
   * @param turns how it turns from there
   * @param halfStep of codes of two bits, in standard deviations
   * @param scratch of {@link #scratch} elements
   */
  static void sketchPage(
      CpuPageMemory memory,
      int slot,
      KeySketches target,
      int page,
      float[] centre,
      KeyCentre turns,
      double halfStep,
      float[] scratch) {
    check(memory, slot, target, page, centre, turns, scratch);
    PageLayout layout = memory.layout();
    SketchChannels channels = target.channels();
    RotationMatrix rotation = RotationMatrix.of(target.headSize());
    Objects.checkFromIndexSize(0, target.headSize() * rotation.stride(), rotation.columns().length);
    int[] settings = {
      layout.headSize(),
      layout.pageTokens(),
      layout.format().ordinal(),
      turns.pairs(),
      turns.neighbours() ? PAIRS_ARE_NEIGHBOURS : PAIRS_ARE_HALVES,
      rotation.stride(),
      channels == null ? 0 : channels.keptDimensions().length,
      target.planes(),
      target.words()
    };
    sketchPage0(
        settings,
        memory.slab(slot),
        memory.offset(slot),
        centre,
        turns.cosines(),
        turns.sines(),
        channels == null ? rotation.columns() : null,
        channels == null ? NO_INTEGERS : channels.keptDimensions(),
        channels == null ? NO_INTEGERS : channels.keptCodes(),
        channels == null ? NO_WIDTHS : channels.inverseWidths(),
        scratch,
        target.bits,
        target.steps,
        page * layout.pageTokens(),
        halfStep);
  }

  private static void check(
      CpuPageMemory memory,
      int slot,
      KeySketches target,
      int page,
      float[] centre,
      KeyCentre turns,
      float[] scratch) {
    PageLayout layout = memory.layout();
    int headSize = target.headSize();
    int pageTokens = target.pageTokens();
    if (layout.headSize() != headSize || layout.pageTokens() != pageTokens) {
      throw new IllegalArgumentException(layout + " holds no keys for these sketches");
    }
    int pairs = turns.pairs();
    int token = Math.multiplyExact(page, pageTokens);
    int end = Math.addExact(token, pageTokens);
    int blocks = (end - 1) / KeySketches.BLOCK_TOKENS + 1;
    int blockWords = target.words() * KeySketches.BLOCK_TOKENS;
    Objects.checkFromIndexSize(
        memory.offset(slot), layout.wordsPerPage(), memory.slab(slot).length);
    Objects.checkFromIndexSize(0, headSize, centre.length);
    Objects.checkFromIndexSize(0, 2 * pairs, headSize);
    Objects.checkFromIndexSize(0, pairs * pageTokens, turns.cosines().length);
    Objects.checkFromIndexSize(0, pairs * pageTokens, turns.sines().length);
    Objects.checkFromIndexSize(0, scratch(headSize), scratch.length);
    Objects.checkFromIndexSize(0, Math.multiplyExact(blocks, blockWords), target.bits.length);
    Objects.checkFromIndexSize(token, pageTokens, target.steps.length);
  }

  /**
   * Sketches.
   *
   * @param settings sizes, see the enumeration in C
   * @param columns of the rotation of turned keys, or null
   * @param dimensions that are kept of keys that are not turned, with their codes and widths
   * @param token of the sequence, the page's first
   */
  private static native void sketchPage0(
      int[] settings,
      int[] slab,
      int keyAt,
      float[] centre,
      float[] cosines,
      float[] sines,
      float[] columns,
      int[] dimensions,
      int[] codes,
      float[] inverseWidths,
      float[] scratch,
      int[] bits,
      short[] steps,
      int token,
      double halfStep);
}
