package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.List;

/**
 * How the attention of single rows is cut: the visible pages of each KV head into parts of a fixed
 * number of tokens, which depend on nothing but the head's own pages. Heads and their parts lie in
 * tables of whole numbers, so that the native kernels can read them.
 */
final class DecodePlan {
  static final int PART_TOKENS = 256;

  /** Tokens of a part, and of a head, up to which short parts share the work more evenly. */
  private static final int SHORT_PART_TOKENS = 64;

  private static final int SHORT_TOKENS = 1024;

  // Fields of a head, as in decode_call.h.
  static final int HEAD_FIRST_PART = 0;
  static final int HEAD_PARTS = 1;
  static final int HEAD_QUERIES_AT = 2;
  static final int HEAD_OUT_AT = 3;
  static final int HEAD_REMAINING = 4;
  static final int HEAD_FIELDS = 5;

  // Fields of a part, as there. The masses of a part that wants none begin at -1.
  static final int PART_HEAD = 0;
  static final int PART_PAGES = 1;
  static final int PART_MASS_AT = 2;
  static final int PART_FIELDS = 3;

  private int[] heads = {};
  private HeadPages[] headPages = {};
  private int[] positions = {};
  private int headCount;
  private int[] parts = {};
  private int[] firstPages = {};
  private int partCount;
  private int massPages;
  private long mostTokens;
  private int window;

  /** Cuts the segments, each of one row; every head gets at least one part. */
  void make(
      AttentionShape shape,
      int pageTokens,
      List<AttentionSegment> segments,
      int queryColumns,
      int outColumns) {
    headCount = 0;
    partCount = 0;
    massPages = 0;
    mostTokens = 0;
    window = shape.window();
    int groupColumns = shape.groupSize() * shape.headSize();
    for (AttentionSegment segment : segments) {
      for (int head = 0; head < shape.kvHeads(); head++) {
        int column = head * groupColumns;
        int queriesAt = segment.firstRow() * queryColumns + column;
        int outAt = segment.firstRow() * outColumns + column;
        addHead(segment.heads()[head], segment.firstPosition(), pageTokens, queriesAt, outAt);
      }
    }
  }

  private void addHead(HeadPages pages, int position, int pageTokens, int queriesAt, int outAt) {
    int start = VisiblePages.windowStart(position, window);
    int first = VisiblePages.firstPage(pages, start);
    int limit = Math.max(first, VisiblePages.pageLimit(pages, position));
    int tokens = (limit - first) * pageTokens;
    int partTokens = tokens <= SHORT_TOKENS ? SHORT_PART_TOKENS : PART_TOKENS;
    int pagesPerPart = Math.max(1, partTokens / pageTokens);
    int firstPart = partCount;
    int page = first;
    do {
      int end = Math.min(limit, page + pagesPerPart);
      addPart(page, end - page, pages.wantMass);
      page = end;
    } while (page < limit);
    mostTokens += tokens;
    if ((headCount + 1) * HEAD_FIELDS > heads.length) {
      heads = Arrays.copyOf(heads, 2 * heads.length + 16 * HEAD_FIELDS);
      headPages = Arrays.copyOf(headPages, heads.length / HEAD_FIELDS);
      positions = Arrays.copyOf(positions, heads.length / HEAD_FIELDS);
    }
    int at = headCount * HEAD_FIELDS;
    heads[at + HEAD_FIRST_PART] = firstPart;
    heads[at + HEAD_PARTS] = partCount - firstPart;
    heads[at + HEAD_QUERIES_AT] = queriesAt;
    heads[at + HEAD_OUT_AT] = outAt;
    heads[at + HEAD_REMAINING] = partCount - firstPart;
    headPages[headCount] = pages;
    positions[headCount] = position;
    headCount++;
  }

  private void addPart(int firstPage, int pages, boolean wantMass) {
    if ((partCount + 1) * PART_FIELDS > parts.length) {
      parts = Arrays.copyOf(parts, 2 * parts.length + 16 * PART_FIELDS);
      firstPages = Arrays.copyOf(firstPages, parts.length / PART_FIELDS);
    }
    int at = partCount * PART_FIELDS;
    parts[at + PART_HEAD] = headCount;
    parts[at + PART_PAGES] = pages;
    parts[at + PART_MASS_AT] = wantMass ? massPages : -1;
    firstPages[partCount] = firstPage;
    massPages += wantMass ? pages : 0;
    partCount++;
  }

  int headCount() {
    return headCount;
  }

  int partCount() {
    return partCount;
  }

  /** Pages of all heads that want masses. */
  int massPages() {
    return massPages;
  }

  /** Tokens of all parts, if all pages were full. */
  long mostTokens() {
    return mostTokens;
  }

  /** The table of heads; only the native kernels write it, what remains to be done of a head. */
  int[] heads() {
    return heads;
  }

  int head(int head, int field) {
    return heads[head * HEAD_FIELDS + field];
  }

  HeadPages headPages(int head) {
    return headPages[head];
  }

  /** The table of parts, in the order of the heads. */
  int[] parts() {
    return parts;
  }

  int part(int part, int field) {
    return parts[part * PART_FIELDS + field];
  }

  /** The part's first page in the list of its head. */
  int from(int part) {
    return firstPages[part];
  }

  int to(int part) {
    return firstPages[part] + part(part, PART_PAGES);
  }

  HeadPages pagesOf(int part) {
    return headPages[part(part, PART_HEAD)];
  }

  int tokens(int part) {
    HeadPages pages = pagesOf(part);
    int tokens = 0;
    for (int page = from(part); page < to(part); page++) {
      tokens += pages.tokenCounts[page];
    }
    return tokens;
  }

  /**
   * Tokens at a part's beginning that lie before the window. Only the first and the last page of a
   * head can hold tokens that the row does not see.
   */
  int hiddenBefore(int part) {
    int page = from(part);
    if (page == to(part)) {
      return 0;
    }
    int start = VisiblePages.windowStart(positions[part(part, PART_HEAD)], window);
    return Math.max(0, start - pagesOf(part).firstPositions[page]);
  }

  /** Tokens at a part's end that come after the row. */
  int hiddenAfter(int part) {
    int last = to(part) - 1;
    if (last < from(part)) {
      return 0;
    }
    HeadPages pages = pagesOf(part);
    int end = pages.firstPositions[last] + pages.tokenCounts[last];
    return Math.max(0, end - 1 - positions[part(part, PART_HEAD)]);
  }
}
