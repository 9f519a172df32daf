package dev.kvfreeze.device;

/**
 * The pages that one KV head of one sequence attends over, in order of position; frozen pages are
 * absent. Owned and rebuilt by the cache, read by the attention kernel, which fills {@link #mass}.
 * The last pages hold the tokens of the present forward pass (allocated before it, written by it).
 */
public final class HeadPages {
  /** Number of pages in use in the arrays. */
  public int count;

  /** Slot in the page memory. */
  public int[] slots = new int[16];

  /** Position in the sequence of a page's first token. */
  public int[] firstPositions = new int[16];

  /** Tokens in a page; full pages hold {@code pageTokens}. */
  public int[] tokenCounts = new int[16];

  /**
   * Out: attention mass of each page, the probability summed over the page's tokens and averaged
   * over the queries and the query heads of the group; written only when {@link #wantMass}.
   */
  public float[] mass = new float[16];

  /** Whether the kernel shall fill {@link #mass}. */
  public boolean wantMass;

  /** First entry that changed since a device copied the list; the device sets it. */
  public int changedFrom;

  /** The device's copy of the list, which it alone understands; null where there is none. */
  public Object onDevice;

  /** Says that entries from {@code index} on are others than before. */
  public void changed(int index) {
    changedFrom = Math.min(changedFrom, index);
  }

  /** Makes room for {@code pages} pages, keeping what is there. */
  public void ensure(int pages) {
    if (slots.length < pages) {
      int size = Math.max(pages, slots.length * 2);
      slots = java.util.Arrays.copyOf(slots, size);
      firstPositions = java.util.Arrays.copyOf(firstPositions, size);
      tokenCounts = java.util.Arrays.copyOf(tokenCounts, size);
      mass = java.util.Arrays.copyOf(mass, size);
    }
  }
}
