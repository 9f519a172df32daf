package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchedPage;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** Makes {@link KeySketches} from the keys of full pages. */
final class SketchMaker {
  /**
   * Half the optimal step of a uniform quantiser of four levels for Gaussian numbers (Max 1960).
   */
  private static final double GAUSSIAN_HALF_STEP = 0.4979;

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final NativeLevel level;
  private final Scratch[] scratch;

  /**
   * @param level what of the processor is used beside {@code kernels}
   */
  SketchMaker(WorkerPool pool, AttentionKernels kernels, NativeLevel level) {
    this.pool = pool;
    this.level = level;
    this.kernels = kernels;
    this.scratch = new Scratch[pool.threads()];
    for (int i = 0; i < scratch.length; i++) {
      scratch[i] = new Scratch();
    }
  }

  void sketch(CpuPageMemory memory, List<SketchedPage> pages) {
    centre(memory, pages);
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

  /** Gives sketches that have no centre yet that of their pages here. */
  private void centre(CpuPageMemory memory, List<SketchedPage> pages) {
    Map<KeySketches, List<SketchedPage>> byTarget = new IdentityHashMap<>();
    for (SketchedPage page : pages) {
      if (page.target().centre == null) {
        byTarget.computeIfAbsent(page.target(), target -> new ArrayList<>()).add(page);
      }
    }
    List<List<SketchedPage>> groups = List.copyOf(byTarget.values());
    pool.parallelFor(
        groups.size(),
        1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            groups.get(i).get(0).target().centre = mean(scratch[worker], memory, groups.get(i));
          }
        });
  }

  /** Softmax does not see what all keys have in common, so it need not be kept. */
  private float[] mean(Scratch own, CpuPageMemory memory, List<SketchedPage> pages) {
    KeySketches target = pages.get(0).target();
    int headSize = target.headSize();
    int pageTokens = target.pageTokens();
    own.ensure(headSize, pageTokens);
    own.centre = KeyCentre.of(target, own.centre);
    double[] sums = new double[headSize];
    for (SketchedPage page : pages) {
      own.unpack(kernels, memory, page.slot(), headSize, pageTokens);
      own.centre.addPage(own.panel, own.stride, page.page(), sums);
    }
    int tokens = pages.size() * pageTokens;
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
    own.centre = KeyCentre.of(target, own.centre);
    if (level != NativeLevel.NONE) {
      NativeSketchMaker.sketchPage(
          memory,
          page.slot(),
          target,
          page.page(),
          own.centre.at(page.page(), target.centre),
          own.centre,
          GAUSSIAN_HALF_STEP,
          own.sideBySide);
      return;
    }
    own.unpack(kernels, memory, page.slot(), headSize, pageTokens);
    own.centre.subtract(target.centre, own.panel, own.stride, page.page(), own.keys);
    if (target.channels() == null) {
      encodeTurned(own, target, page.page() * pageTokens);
      return;
    }
    for (int t = 0; t < pageTokens; t++) {
      ChannelCodes.encode(own.keys, t * headSize, target, page.page() * pageTokens + t);
    }
  }

  private void encodeTurned(Scratch own, KeySketches target, int firstToken) {
    RotationMatrix rotation = RotationMatrix.of(target.headSize());
    rotation.rotate(kernels, own.keys, target.pageTokens(), own.rotated);
    for (int t = 0; t < target.pageTokens(); t++) {
      encode(own.rotated, t * rotation.stride(), target, firstToken + t);
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
    float[] sideBySide = {};
    KeyCentre centre;
    int stride;

    void ensure(int headSize, int pageTokens) {
      stride = pageTokens + AttentionKernels.SLACK;
      if (panel.length < headSize * stride) {
        panel = new float[headSize * stride];
      }
      if (sideBySide.length < NativeSketchMaker.scratch(headSize)) {
        sideBySide = new float[NativeSketchMaker.scratch(headSize)];
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
