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

  /** Variance of a score's error for a query of length 1 and a sketch of step 1. */
  static float errorVariance(int planes, int headSize) {
    return KeySketches.errorVariance(planes, headSize);
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
    own.centre = KeyCentre.of(target, own.centre);
    double[] sums = new double[headSize];
    int tokens = 0;
    for (int i = first; i < pages.size(); i++) {
      if (pages.get(i).target() != target) {
        continue;
      }
      own.unpack(kernels, memory, pages.get(i).slot(), headSize, pageTokens);
      own.centre.addPage(own.panel, own.stride, pages.get(i).page(), sums);
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
    own.centre = KeyCentre.of(target, own.centre);
    own.centre.subtract(target.centre, own.panel, own.stride, page.page(), own.keys);
    rotation.rotate(kernels, own.keys, pageTokens, own.rotated);
    for (int t = 0; t < pageTokens; t++) {
      encode(own.rotated, t * rotation.stride(), target, page.page() * pageTokens + t);
    }
  }

  private static void encode(float[] rotated, int from, KeySketches target, int token) {
    int headSize = target.headSize();
    int planes = target.planes();
    float square = 0;
    for (int d = 0; d < headSize; d++) {
      square += rotated[from + d] * rotated[from + d];
    }
    int most = (1 << planes) - 1;
    // With one bit all that counts is the sign: the outer levels are never reached.
    double half =
        planes == 1 ? Double.MAX_VALUE : GAUSSIAN_HALF_STEP * Math.sqrt(square / headSize);
    float outer = (float) Math.min(Float.MAX_VALUE, 2 * half);
    int codes = Integer.SIZE / planes;
    float product = 0;
    for (int first = 0; first < headSize; first += codes) {
      int count = Math.min(codes, headSize - first);
      int word = 0;
      for (int i = 0; i < count; i++) {
        float value = rotated[from + first + i];
        int code = (value >= 0 ? most + 1 : most - 1) / 2;
        if (value > outer) {
          code = most;
        } else if (value < -outer) {
          code = 0;
        }
        product += value * (2 * code - most);
        word |= code << i * planes;
      }
      if (count == codes) {
        word ^= Integer.MIN_VALUE;
      }
      target.bits[target.wordAt(token, first)] = word;
    }
    // RaBitQ's unbiased estimate of a dot product with the key: |k|^2 / <k, code>.
    float step = product == 0 ? 0 : square / product;
    target.steps[token] = (short) Bfloat16.bits(step);
  }

  /** What one thread works in. */
  private static final class Scratch {
    float[] panel = {};
    float[] keys = {};
    float[] rotated = {};
    KeyCentre centre;
    int stride;

    void ensure(int headSize, int pageTokens) {
      stride = pageTokens + AttentionKernels.SLACK;
      if (panel.length < headSize * stride) {
        panel = new float[headSize * stride];
      }
      int rows = AttentionKernels.paddedRows(pageTokens);
      int room = rows * RotationMatrix.of(headSize).stride() + AttentionKernels.SLACK;
      if (rotated.length < room) {
        keys = new float[rows * headSize + AttentionKernels.SLACK];
        rotated = new float[room];
      }
    }

    void unpack(
        AttentionKernels kernels, CpuPageMemory memory, int slot, int headSize, int pageTokens) {
      kernels.packKeys(memory, slot, 0, pageTokens, panel, 0, stride);
    }
  }
}
