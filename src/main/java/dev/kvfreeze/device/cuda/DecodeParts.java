package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.List;

/**
 * How the pages of a decode step's heads are cut into parts for the multiprocessors (split-K, as
 * Flash-Decoding): small parts for short heads, so that all of them have work. The cut of a head
 * depends on that head alone, so that a document's numbers are the same in any batch.
 */
final class DecodeParts {
  private final AttentionShape shape;
  private final List<AttentionSegment> segments;
  private final int[] partPages;
  private final int mostPartPages;
  private final int count;

  private DecodeParts(
      AttentionShape shape, List<AttentionSegment> segments, int[] partPages, int count) {
    this.shape = shape;
    this.segments = segments;
    this.partPages = partPages;
    this.mostPartPages = Arrays.stream(partPages).max().orElse(1);
    this.count = count;
  }

  /**
   * @param segments of one row each
   * @param wantedParts of a sequence: as many as keep the GPU busy
   */
  static DecodeParts of(
      AttentionShape shape, PageLayout layout, List<AttentionSegment> segments, int wantedParts) {
    int[] partPages = new int[segments.size() * shape.kvHeads()];
    int count = 0;
    int index = 0;
    for (AttentionSegment segment : segments) {
      for (HeadPages head : segment.heads()) {
        int visible = head.count - firstVisible(head, segment, shape.window());
        // As if the sequence were alone, all of its heads like this one.
        long tokens = (long) visible * layout.pageTokens() * shape.kvHeads();
        int pages = PageAttention.partPages(tokens, wantedParts, layout.pageTokens());
        partPages[index++] = pages;
        count += Math.max(1, Kernels.divideUp(visible, pages));
      }
    }
    return new DecodeParts(shape, segments, partPages, count);
  }

  /** First page that is not wholly before the window. */
  static int firstVisible(HeadPages pages, AttentionSegment segment, int window) {
    int start = window <= 0 ? 0 : segment.firstPosition() - window + 1;
    int low = 0;
    int high = pages.count;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (pages.firstPositions[middle] + pages.tokenCounts[middle] <= start) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  int heads() {
    return segments.size() * shape.kvHeads();
  }

  /** Most pages of a part. */
  int partPages() {
    return mostPartPages;
  }

  /**
   * Parts with empty ones behind them, so that steps whose parts differ a little have the same
   * launch.
   */
  int paddedCount() {
    int step = Math.max(8, Integer.highestOneBit(count) / 8);
    return Kernels.divideUp(count, step) * step;
  }

  void fill(IntBuffer parts, IntBuffer headParts) {
    int filled = 0;
    int head = 0;
    for (AttentionSegment segment : segments) {
      for (HeadPages pages : segment.heads()) {
        int first = filled;
        int from = firstVisible(pages, segment, shape.window());
        do {
          int to = Math.min(pages.count, from + partPages[head]);
          parts.put(head).put(from).put(to).put(0);
          filled++;
          from = to;
        } while (from < pages.count);
        headParts.put(first).put(filled - first);
        head++;
      }
    }
    for (int i = filled; i < paddedCount(); i++) {
      parts.put(0).put(0).put(0).put(0);
    }
  }
}
