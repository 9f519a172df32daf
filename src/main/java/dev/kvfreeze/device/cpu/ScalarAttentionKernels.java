package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import java.util.Arrays;

/** Attention arithmetic in plain Java: the fallback, and what the vector twin is tested against. */
final class ScalarAttentionKernels implements AttentionKernels {
  @Override
  public void scores(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    PageLayout layout = memory.layout();
    int headSize = layout.headSize();
    int base = 0;
    for (int page = from; page < to; page++) {
      int[] slab = memory.slab(pages.slots[page]);
      int offset = memory.offset(pages.slots[page]);
      for (int t = 0; t < pages.tokenCounts[page]; t++, base++) {
        for (int g = 0; g < group; g++) {
          float sum = 0;
          for (int d = 0; d < headSize; d++) {
            sum += queries[g * headSize + d] * layout.key(slab, offset, t, d);
          }
          scores[g * stride + base] = sum;
        }
      }
    }
  }

  @Override
  public void weightedValues(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] weights,
      int group,
      int stride,
      float[] panel,
      float[] sums) {
    PageLayout layout = memory.layout();
    int headSize = layout.headSize();
    Arrays.fill(sums, 0, group * headSize, 0f);
    int base = 0;
    for (int page = from; page < to; page++) {
      int[] slab = memory.slab(pages.slots[page]);
      int offset = memory.offset(pages.slots[page]);
      for (int t = 0; t < pages.tokenCounts[page]; t++, base++) {
        for (int d = 0; d < headSize; d++) {
          float value = layout.value(slab, offset, t, d);
          for (int g = 0; g < group; g++) {
            sums[g * headSize + d] += weights[g * stride + base] * value;
          }
        }
      }
    }
  }

  @Override
  public float maximum(float[] x, int offset, int count) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      max = Math.max(max, x[offset + i]);
    }
    return max;
  }

  @Override
  public float exponentials(float[] x, int offset, int count, float max) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
      x[offset + i] = (float) Math.exp(x[offset + i] - max);
      sum += x[offset + i];
    }
    return (float) sum;
  }

  @Override
  public void scale(float[] x, int offset, int count, float factor) {
    for (int i = 0; i < count; i++) {
      x[offset + i] *= factor;
    }
  }

  @Override
  public void addScaled(float[] y, int yOffset, float[] x, int xOffset, int count, float factor) {
    for (int i = 0; i < count; i++) {
      y[yOffset + i] += factor * x[xOffset + i];
    }
  }

  @Override
  public void packKeys(
      CpuPageMemory memory,
      int slot,
      int fromToken,
      int count,
      float[] panel,
      int column,
      int stride) {
    PageLayout layout = memory.layout();
    int[] slab = memory.slab(slot);
    int offset = memory.offset(slot);
    for (int d = 0; d < layout.headSize(); d++) {
      for (int i = 0; i < count; i++) {
        panel[d * stride + column + i] = layout.key(slab, offset, fromToken + i, d);
      }
    }
  }

  @Override
  public void packValues(
      CpuPageMemory memory,
      int slot,
      int fromToken,
      int count,
      float[] panel,
      int panelOffset,
      int stride) {
    PageLayout layout = memory.layout();
    int[] slab = memory.slab(slot);
    int offset = memory.offset(slot);
    for (int i = 0; i < count; i++) {
      for (int d = 0; d < layout.headSize(); d++) {
        panel[panelOffset + i * stride + d] = layout.value(slab, offset, fromToken + i, d);
      }
    }
  }

  @Override
  public void multiply(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth) {
    for (int r = 0; r < rows; r++) {
      Arrays.fill(c, r * cStride, r * cStride + columns, 0f);
    }
    multiplyAdd(a, aStride, b, bOffset, bStride, c, cStride, rows, columns, depth);
  }

  @Override
  public void multiplyAdd(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth) {
    for (int r = 0; r < rows; r++) {
      for (int k = 0; k < depth; k++) {
        addScaled(c, r * cStride, b, bOffset + k * bStride, columns, a[r * aStride + k]);
      }
    }
  }
}
