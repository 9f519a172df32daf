package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.model.Rope;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Cosines and sines by which ropes turn, in device memory: at the first positions of blocks of
 * {@link KeySketches#BLOCK_TOKENS} tokens and within a block, so that a position is one addition of
 * angles away ({@code turning.cuh}). Angles are computed in float64.
 */
final class RopeTurns {
  private static final int BLOCK = KeySketches.BLOCK_TOKENS;

  /** Of a table when it is made: enough for 65,536 tokens. */
  private static final int LEAST_BLOCKS = 1024;

  /** Where a rope's tables lie; the null rope turns nothing. */
  static final class Table {
    static final Table NONE = new Table(null);

    final Rope rope;
    long offsets;
    long blocks;
    private int blockCount;

    private Table(Rope rope) {
      this.rope = rope;
    }

    int pairs() {
      return rope == null ? 0 : rope.inverseFrequencies().length;
    }

    int halfSplit() {
      return rope != null && rope.pairing() == Rope.Pairing.HALF_SPLIT ? 1 : 0;
    }
  }

  private final GpuWork work;
  private final List<Table> tables = new ArrayList<>();

  RopeTurns(GpuWork work) {
    this.work = work;
  }

  /**
   * A rope's tables.
   *
   * @param rope or null
   * @param tokens positions that they must reach
   * @throws OutOfMemoryError when the device has no room for longer ones
   */
  Table of(Rope rope, int tokens) {
    if (rope == null) {
      return Table.NONE;
    }
    Table table = find(rope);
    int needed = (tokens + BLOCK - 1) / BLOCK;
    if (table.blockCount < needed) {
      // What is held back reads the shorter one, which stays where it is.
      int count = Math.max(Math.max(LEAST_BLOCKS, needed), 2 * table.blockCount);
      table.blocks = upload(rope, count, 1);
      table.blockCount = count;
    }
    return table;
  }

  private Table find(Rope rope) {
    for (Table table : tables) {
      if (table.rope.equals(rope)) {
        return table;
      }
    }
    Table table = new Table(rope);
    table.offsets = upload(rope, 1, BLOCK);
    tables.add(table);
    return table;
  }

  /** {@code [row][pair][column]} of the positions {@code row * BLOCK + column}. */
  private long upload(Rope rope, int rows, int columns) {
    float[] frequencies = rope.inverseFrequencies();
    long bytes = 8L * rows * columns * frequencies.length;
    long address = work.memory.take("RoPE of sketches", bytes);
    PinnedMemory pinned = work.driver.allocatePinned(bytes);
    FloatBuffer values = pinned.view().asFloatBuffer();
    for (int row = 0; row < rows; row++) {
      for (float frequency : frequencies) {
        for (int column = 0; column < columns; column++) {
          double angle = ((double) row * BLOCK + column) * frequency;
          values.put((float) Math.cos(angle)).put((float) Math.sin(angle));
        }
      }
    }
    work.driver.copy(address, pinned.address(), bytes, work.computeStream);
    work.driver.synchronize(work.computeStream);
    work.driver.free(pinned);
    return address;
  }
}
