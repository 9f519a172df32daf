package dev.kvfreeze.device.cpu;

/**
 * The arithmetic of {@link NativePrefillAttention} in C: a tile begins with its queries, attends to
 * calls of blocks of keys, adds masses where they are wanted, and finishes with its results. What
 * lies in the scratch between those is the kernels' own.
 */
interface PrefillKernels {
  /** Floats of scratch that a tile of so many rows times query heads needs. */
  int scratchFloats(int headSize, int rows);

  /** Takes in the tile's rows of queries, {@code stride} floats apart. */
  void begin(int[] call, float[] scratch, float[] x, int offset, int stride, float scale);

  /** Attends to a call's blocks. */
  void attend(int[] call, float[] scratch, int[][] slabs, int slabCount);

  /** Adds the final probabilities to the masses of pages from the call's first page on. */
  void addMass(
      int[] call, float[] scratch, int[][] slabs, int slabCount, float[] masses, int firstPage);

  /** Results of the tile's rows, one after the other. */
  void finish(int[] call, float[] scratch, float[] results);

  /** The fastest ones at a level. */
  static PrefillKernels at(NativeLevel level) {
    return switch (level) {
      case AMX -> new Bfloat16PrefillKernels();
      case BF16 -> new ShortPrefillKernels();
      default -> new FloatPrefillKernels();
    };
  }
}
