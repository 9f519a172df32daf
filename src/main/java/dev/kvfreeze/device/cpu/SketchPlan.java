package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * How the scoring of sketches is cut: the pages asked for of each KV head into parts, in tables of
 * whole numbers for {@link NativeSketchScores}.
 */
final class SketchPlan {
  private static final int PART_TOKENS = 1024;

  // Fields of a head and of a part, as in sketch_call.h.
  private static final int HEAD_FIRST_PART = 0;
  private static final int HEAD_PARTS = 1;
  private static final int HEAD_QUERIES_AT = 2;
  private static final int HEAD_PAGES_AT = 3;
  private static final int HEAD_TURNS = 4;
  private static final int HEAD_REMAINING = 5;
  private static final int HEAD_FIELDS = 6;
  private static final int PART_HEAD = 0;
  private static final int PART_PAGES = 1;
  private static final int PART_SUMS_AT = 2;
  private static final int PART_PAGES_AT = 3;
  private static final int PART_FIELDS = 4;

  private int[] heads = {};
  private KeySketches[] sketches = {};
  private int[][] bits = {};
  private short[][] steps = {};
  private int[] starts = {};
  private float[] shares = {};
  private float[] centres = {};
  private int[] dimensions = {};
  private float[] weights = {};
  private int headCount;
  private int[] parts = {};
  private int[] firstPlaces = {};
  private int partCount;
  private int sumCount;
  private int pageCount;

  /** Cuts the pages asked for into parts; heads without any get none. */
  void make(CpuActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    headCount = 0;
    partCount = 0;
    sumCount = 0;
    pageCount = 0;
    int columns = shape.groupSize() * shape.headSize();
    for (SketchSegment segment : segments) {
      int start = VisiblePages.windowStart(segment.position(), shape.window());
      for (int head = 0; head < shape.kvHeads(); head++) {
        int queriesAt = segment.row() * queries.columns() + head * columns;
        Objects.checkFromIndexSize(queriesAt, columns, queries.values().length);
        addHead(segment.heads()[head], start, queriesAt, shape);
      }
    }
  }

  private void addHead(KeySketches head, int start, int queriesAt, AttentionShape shape) {
    Arrays.fill(head.mass, 0, head.pages, 0f);
    int pageTokens = head.pageTokens();
    int pages = head.askedCount();
    int from = 0;
    while (from < pages && (head.asked(from) + 1L) * pageTokens <= start) {
      from++;
    }
    if (from == pages) {
      return;
    }
    ensureHeads(shape.headSize());
    int firstPart = partCount;
    int at = headCount * HEAD_FIELDS;
    heads[at + HEAD_PAGES_AT] = pageCount;
    int pagesOfPart = Math.max(1, PART_TOKENS / pageTokens);
    while (from < pages) {
      int count = Math.min(pagesOfPart, pages - from);
      addPart(from, count, shape.groupSize());
      from += count;
    }
    boolean turns = head.rope() != null && head.centre != null;
    heads[at + HEAD_FIRST_PART] = firstPart;
    heads[at + HEAD_PARTS] = partCount - firstPart;
    heads[at + HEAD_QUERIES_AT] = queriesAt;
    heads[at + HEAD_TURNS] = turns ? 1 : 0;
    heads[at + HEAD_REMAINING] = partCount - firstPart;
    if (turns) {
      int size = shape.headSize();
      System.arraycopy(head.centre, 0, centres, headCount * size, size);
    }
    addChannels(head);
    sketches[headCount] = head;
    bits[headCount] = head.bits;
    steps[headCount] = head.steps;
    starts[headCount] = start;
    shares[headCount] = 1 - head.unaskedShare();
    headCount++;
  }

  private void addChannels(KeySketches head) {
    if (head.channels() == null) {
      return;
    }
    int codes = head.codes();
    int at = headCount * codes;
    if (dimensions.length < at + codes) {
      dimensions = Arrays.copyOf(dimensions, 2 * at + 16 * codes);
      weights = Arrays.copyOf(weights, 2 * at + 16 * codes);
    }
    System.arraycopy(head.channels().dimensions(), 0, dimensions, at, codes);
    System.arraycopy(head.channels().weights(), 0, weights, at, codes);
  }

  private void ensureHeads(int headSize) {
    if (headCount == sketches.length) {
      int size = 2 * headCount + 16;
      heads = Arrays.copyOf(heads, size * HEAD_FIELDS);
      sketches = Arrays.copyOf(sketches, size);
      bits = Arrays.copyOf(bits, size);
      steps = Arrays.copyOf(steps, size);
      starts = Arrays.copyOf(starts, size);
      shares = Arrays.copyOf(shares, size);
    }
    if (centres.length < (headCount + 1) * headSize) {
      centres = Arrays.copyOf(centres, 2 * centres.length + 16 * headSize);
    }
  }

  private void addPart(int firstPlace, int pages, int group) {
    if (partCount == firstPlaces.length) {
      int size = 2 * partCount + 16;
      parts = Arrays.copyOf(parts, size * PART_FIELDS);
      firstPlaces = Arrays.copyOf(firstPlaces, size);
    }
    int at = partCount * PART_FIELDS;
    parts[at + PART_HEAD] = headCount;
    parts[at + PART_PAGES] = pages;
    parts[at + PART_SUMS_AT] = sumCount;
    parts[at + PART_PAGES_AT] = pageCount;
    firstPlaces[partCount] = firstPlace;
    sumCount += group * pages;
    pageCount += pages;
    partCount++;
  }

  int partCount() {
    return partCount;
  }

  /** Sums of all parts: one a page and query. */
  int sumCount() {
    return sumCount;
  }

  /** Pages of all parts. */
  int pageCount() {
    return pageCount;
  }

  /** The table of heads; only the native kernel writes it, what remains to be done of a head. */
  int[] heads() {
    return heads;
  }

  /** The table of parts, in the order of the heads. */
  int[] parts() {
    return parts;
  }

  /** Codes by head. */
  int[][] bits() {
    return bits;
  }

  /** Steps by head. */
  short[][] steps() {
    return steps;
  }

  /** {@code [head][headSize]}, of the heads whose centre turns. */
  float[] centres() {
    return centres;
  }

  /** {@code [head][code]}: which dimensions the codes are of, where keys are not turned. */
  int[] dimensions() {
    return dimensions;
  }

  /** {@code [head][code]}: what the codes stand for. */
  float[] weights() {
    return weights;
  }

  /** By head: what the pages asked for share. */
  float[] shares() {
    return shares;
  }

  int headOf(int part) {
    return parts[part * PART_FIELDS + PART_HEAD];
  }

  int pagesOf(int part) {
    return parts[part * PART_FIELDS + PART_PAGES];
  }

  KeySketches sketchesOf(int part) {
    return sketches[headOf(part)];
  }

  /** Place of a part's first page in the list of pages asked for. */
  int firstPlace(int part) {
    return firstPlaces[part];
  }

  /** First position that a part's row sees. */
  int start(int part) {
    return starts[headOf(part)];
  }

  /** Takes the masses of the plan's pages to the sketches. */
  void copyMasses(float[] pageMasses) {
    for (int head = 0; head < headCount; head++) {
      copyMasses(head, pageMasses);
    }
  }

  private void copyMasses(int head, float[] pageMasses) {
    KeySketches to = sketches[head];
    int at = heads[head * HEAD_FIELDS + HEAD_PAGES_AT];
    int from = firstPlaces[heads[head * HEAD_FIELDS + HEAD_FIRST_PART]];
    int end = to.askedCount();
    for (int place = from; place < end; place++) {
      to.mass[to.asked(place)] = pageMasses[at + place - from];
    }
  }
}
