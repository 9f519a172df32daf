package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.nio.IntBuffer;
import java.util.List;

/**
 * How the pages of a decode step's heads are cut into parts for the multiprocessors (split-K, as
 * Flash-Decoding): small parts while there are few, so that all of them have work.
 */
final class DecodeParts {
  private final AttentionShape shape;
  private final List<AttentionSegment> segments;
  private final int partPages;
  private final int count;

  private DecodeParts(
      AttentionShape shape, List<AttentionSegment> segments, int partPages, int count) {
    this.shape = shape;
    this.segments = segments;
    this.partPages = partPages;
    this.count = count;
  }

  /**
   * @param segments of one row each
   * @param wantedParts as many as keep the GPU busy
   */
  static DecodeParts of(
      AttentionShape shape, PageLayout layout, List<AttentionSegment> segments, int wantedParts) {
    long pages = 0;
    for (AttentionSegment segment : segments) {
      for (HeadPages head : segment.heads()) {
        pages += head.count - firstVisible(head, segment, shape.window());
      }
    }
    int partPages =
        PageAttention.partPages(pages * layout.pageTokens(), wantedParts, layout.pageTokens());
    int count = 0;
    for (AttentionSegment segment : segments) {
      for (HeadPages head : segment.heads()) {
        int visible = head.count - firstVisible(head, segment, shape.window());
        count += Math.max(1, Kernels.divideUp(visible, partPages));
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
    return partPages;
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
          int to = Math.min(pages.count, from + partPages);
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
