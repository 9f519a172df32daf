package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchedPage;
import java.util.List;

/** Makes {@link KeySketches} from the keys of full pages. */
final class SketchMaker {
  /**
   * Half the optimal step of a uniform quantiser of four levels for Gaussian numbers (Max 1960).
   */
  private static final double GAUSSIAN_HALF_STEP = 0.4979;

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final Scratch[] scratch;

  SketchMaker(WorkerPool pool, AttentionKernels kernels) {
    this.pool = pool;
    this.kernels = kernels;
    this.scratch = new Scratch[pool.threads()];
    for (int i = 0; i < scratch.length; i++) {
      scratch[i] = new Scratch();
    }
  }

  void sketch(CpuPageMemory memory, List<SketchedPage> pages) {
    for (int i = 0; i < pages.size(); i++) {
      KeySketches target = pages.get(i).target();
      if (target.centre == null) {
        target.centre = centre(memory, pages, i);
      }
    }
    pool.parallelFor(
        pages.size(),
        1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            sketchPage(scratch[worker], memory, pages.get(i));
          }
        });
    for (SketchedPage page : pages) {
      page.target().pages = Math.max(page.target().pages, page.page() + 1);
    }
  }

  /** Softmax does not see what all keys have in common, so it need not be kept. */
  private float[] centre(CpuPageMemory memory, List<SketchedPage> pages, int first) {
    KeySketches target = pages.get(first).target();
    int headSize = target.headSize();
    int pageTokens = target.pageTokens();
    Scratch own = scratch[0];
    own.ensure(headSize, pageTokens);
    double[] sums = new double[headSize];
    int tokens = 0;
    for (int i = first; i < pages.size(); i++) {
      if (pages.get(i).target() != target) {
        continue;
      }
      own.unpack(kernels, memory, pages.get(i).slot(), headSize, pageTokens);
      for (int d = 0; d < headSize; d++) {
        for (int t = 0; t < pageTokens; t++) {
          sums[d] += own.panel[d * own.stride + t];
        }
      }
      tokens += pageTokens;
    }
    float[] centre = new float[headSize];
    for (int d = 0; d < headSize; d++) {
      centre[d] = (float) (sums[d] / tokens);
    }
    return centre;
  }

  private void sketchPage(Scratch own, CpuPageMemory memory, SketchedPage page) {
    KeySketches target = page.target();
    int headSize = target.headSize();
    int pageTokens = target.pageTokens();
    own.ensure(headSize, pageTokens);
    own.unpack(kernels, memory, page.slot(), headSize, pageTokens);
    RotationMatrix rotation = RotationMatrix.of(headSize);
    for (int t = 0; t < pageTokens; t++) {
      for (int d = 0; d < headSize; d++) {
        own.key[d] = own.panel[d * own.stride + t] - target.centre[d];
      }
      rotation.rotate(own.key, 0, own.rotated);
      encode(own.rotated, target, page.page() * pageTokens + t);
    }
  }

  private static void encode(float[] rotated, KeySketches target, int token) {
    int headSize = target.headSize();
    int planes = target.planes();
    double square = 0;
    for (int d = 0; d < headSize; d++) {
      square += rotated[d] * rotated[d];
    }
    int levels = 1 << planes;
    double half = planes == 1 ? 1 : GAUSSIAN_HALF_STEP * Math.sqrt(square / headSize);
    double product = 0;
    for (int plane = 0; plane < planes; plane++) {
      for (int word = 0; word < target.words(); word++) {
        target.bits[target.wordAt(token, plane, word)] = 0;
      }
    }
    for (int d = 0; d < headSize; d++) {
      int code = rotated[d] >= 0 ? levels / 2 : levels / 2 - 1;
      if (planes == 2 && Math.abs(rotated[d]) > 2 * half) {
        code = rotated[d] >= 0 ? 3 : 0;
      }
      product += rotated[d] * (2 * code - (levels - 1));
      for (int plane = 0; plane < planes; plane++) {
        int at = target.wordAt(token, plane, d / 64);
        target.bits[at] |= (code >> plane & 1L) << (d % 64);
      }
    }
    // RaBitQ's unbiased estimate of a dot product with the key: |k|^2 / <k, code>.
    float step = product == 0 ? 0 : (float) (square / product);
    target.steps[token] = (short) Bfloat16.bits(step);
  }

  /** What one thread works in. */
  private static final class Scratch {
    float[] panel = {};
    float[] key = {};
    float[] rotated = {};
    int stride;

    void ensure(int headSize, int pageTokens) {
      stride = pageTokens + AttentionKernels.SLACK;
      if (panel.length < headSize * stride) {
        panel = new float[headSize * stride];
      }
      if (key.length < headSize) {
        key = new float[headSize];
        rotated = new float[headSize];
      }
    }

    void unpack(
        AttentionKernels kernels, CpuPageMemory memory, int slot, int headSize, int pageTokens) {
      kernels.packKeys(memory, slot, 0, pageTokens, panel, 0, stride);
    }
  }
}
