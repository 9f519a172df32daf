package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.model.AttentionShape;
import java.nio.IntBuffer;
import java.util.List;

/** How the sketched pages of a step's heads are cut into parts, and where their masses go. */
final class SketchParts {
  private final int partPages;
  private final int[] firstPages;
  private final int[] pageLimits;
  private final int[] massOffsets;
  private final int pageTokens;
  private int count;
  private int pages;
  private int massPages;
  private int mostPages;

  private SketchParts(int heads, int partPages, int pageTokens) {
    this.partPages = partPages;
    this.pageTokens = pageTokens;
    this.firstPages = new int[heads];
    this.pageLimits = new int[heads];
    this.massOffsets = new int[heads];
  }

  static SketchParts of(AttentionShape shape, List<SketchSegment> segments, int partTokens) {
    int pageTokens = segments.get(0).heads()[0].pageTokens();
    int heads = segments.size() * shape.kvHeads();
    SketchParts parts = new SketchParts(heads, Math.max(1, partTokens / pageTokens), pageTokens);
    int head = 0;
    for (SketchSegment segment : segments) {
      int start = shape.window() <= 0 ? 0 : Math.max(0, segment.position() - shape.window() + 1);
      for (KeySketches sketches : segment.heads()) {
        parts.add(head++, Math.min(start / pageTokens, sketches.pages), sketches.pages);
      }
    }
    return parts;
  }

  private void add(int head, int first, int limit) {
    firstPages[head] = first;
    pageLimits[head] = limit;
    massOffsets[head] = massPages;
    massPages += limit;
    pages += limit - first;
    count += Kernels.divideUp(limit - first, partPages);
    mostPages = Math.max(mostPages, Math.min(partPages, limit - first));
  }

  int count() {
    return count;
  }

  /** Pages of all parts. */
  int pages() {
    return pages;
  }

  /** Pages that masses have room for: those before the first part too. */
  int massPages() {
    return massPages;
  }

  /** Tokens of the largest part. */
  int mostTokens() {
    return mostPages * pageTokens;
  }

  int firstPage(int head) {
    return firstPages[head];
  }

  int massOffset(int head) {
    return massOffsets[head];
  }

  void fill(IntBuffer parts, IntBuffer headParts, IntBuffer offsets) {
    int filled = 0;
    int entry = 0;
    for (int head = 0; head < firstPages.length; head++) {
      int first = filled;
      for (int page = firstPages[head]; page < pageLimits[head]; page += partPages) {
        int limit = Math.min(pageLimits[head], page + partPages);
        parts.put(head).put(page).put(limit).put(entry);
        entry += limit - page;
        filled++;
      }
      headParts.put(first).put(filled - first);
    }
    offsets.put(massOffsets);
  }
}
