package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.model.AttentionShape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Attention of runs of rows. A tile of rows, times the query heads of a group, runs over blocks of
 * keys decoded once for all of them; the softmax is kept running, so no matrix of scores is ever in
 * memory (FlashAttention, arXiv 2205.14135). Tiles depend on the segment only, so its result does
 * not depend on the batch or the number of threads. In C it does not even depend on the tiles, but
 * for the sums of probabilities.
 */
final class PrefillAttention {
  /** Rows of a tile, all heads of the group together, are at most about this many. */
  private static final int TILE_PRODUCT_ROWS = 256;

  private static final int MAX_TILE_ROWS = 64;
  private static final int MIN_TILE_ROWS = 8;

  /** Larger tiles on the matrix unit, which is done with a block sooner than the next one comes. */
  private static final int NATIVE_PRODUCT_ROWS = 384;

  private static final int MAX_NATIVE_ROWS = 256;
  private static final int MIN_NATIVE_ROWS = 32;
  private static final int MIN_NATIVE_TILES = 4;

  /** Rows of a matrix tile; as many rows fill matrix tiles, whatever the group. */
  private static final int NATIVE_ROWS_UNIT = 16;

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final PrefillTile[] tiles;

  /** By thread; empty where there are no kernels in C. */
  private final NativePrefillAttention[] nativeTiles;

  private float[] masses = {};

  PrefillAttention(WorkerPool pool, AttentionKernels kernels, NativeLevel level) {
    this.pool = pool;
    this.kernels = kernels;
    tiles = new PrefillTile[pool.threads()];
    for (int i = 0; i < tiles.length; i++) {
      tiles[i] = new PrefillTile(kernels);
    }
    nativeTiles = new NativePrefillAttention[level == NativeLevel.NONE ? 0 : pool.threads()];
    for (int i = 0; i < nativeTiles.length; i++) {
      nativeTiles[i] = new NativePrefillAttention(level);
    }
  }

  /** Attends the segments, each of several rows. */
  void attend(
      CpuActivations queries,
      AttentionShape shape,
      CpuPageMemory memory,
      List<AttentionSegment> segments,
      CpuActivations out) {
    boolean natively = nativeTiles.length > 0 && NativePrefillAttention.supports(memory.layout());
    List<Item> items = new ArrayList<>();
    int massOffset = 0;
    for (AttentionSegment segment : segments) {
      int tileRows = natively ? nativeTileRows(segment, shape) : tileRows(shape);
      // The last rows see most: they go first, so that the threads end together.
      int tilesOfSegment = (segment.rowCount() + tileRows - 1) / tileRows;
      for (int tile = tilesOfSegment - 1; tile >= 0; tile--) {
        int row = tile * tileRows;
        int rows = Math.min(tileRows, segment.rowCount() - row);
        for (int head = 0; head < shape.kvHeads(); head++) {
          items.add(new Item(segment, head, row, rows, massOffset));
          HeadPages pages = segment.heads()[head];
          massOffset += pages.wantMass ? pages.count : 0;
        }
      }
    }
    if (masses.length < massOffset) {
      masses = new float[massOffset];
    }
    Arrays.fill(masses, 0, massOffset, 0f);
    pool.parallelFor(
        items.size(),
        1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            if (natively) {
              nativeTiles[worker].attend(items.get(i), queries, shape, memory, out, masses);
            } else {
              tiles[worker].attend(items.get(i), queries, shape, memory, out, masses);
            }
          }
        });
    mergeMasses(items, shape, segments);
  }

  private static int tileRows(AttentionShape shape) {
    return Math.max(MIN_TILE_ROWS, Math.min(MAX_TILE_ROWS, TILE_PRODUCT_ROWS / shape.groupSize()));
  }

  /** As large as blocks of keys are worth, yet several tiles a segment for the threads to share. */
  private static int nativeTileRows(AttentionSegment segment, AttentionShape shape) {
    int most = Math.min(MAX_NATIVE_ROWS, NATIVE_PRODUCT_ROWS / shape.groupSize());
    int shared = (segment.rowCount() + MIN_NATIVE_TILES - 1) / MIN_NATIVE_TILES;
    int rows = Math.max(NATIVE_ROWS_UNIT, Math.min(most, Math.max(MIN_NATIVE_ROWS, shared)));
    return (rows + NATIVE_ROWS_UNIT - 1) / NATIVE_ROWS_UNIT * NATIVE_ROWS_UNIT;
  }

  private void mergeMasses(
      List<Item> items, AttentionShape shape, List<AttentionSegment> segments) {
    for (AttentionSegment segment : segments) {
      for (HeadPages pages : segment.heads()) {
        if (pages.wantMass) {
          Arrays.fill(pages.mass, 0, pages.count, 0f);
        }
      }
    }
    for (Item item : items) {
      HeadPages pages = item.segment().heads()[item.head()];
      if (pages.wantMass) {
        float share = 1f / (item.segment().rowCount() * shape.groupSize());
        kernels.addScaled(pages.mass, 0, masses, item.massOffset(), pages.count, share);
      }
    }
  }

  /**
   * A tile's work.
   *
   * @param row first row, counted in the segment
   * @param massOffset where the tile's sums of probabilities by page begin, where wanted
   */
  record Item(AttentionSegment segment, int head, int row, int rows, int massOffset) {}
}
