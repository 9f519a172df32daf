package dev.kvfreeze.cache;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.freeze.StepKind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The keys and values of a context that the full cache has read, and the attention mass of each of
 * its chunks: what every policy sees alike when prefill is exact. They are written chunk by chunk
 * into sequences of other policies, pools and page sizes, bit for bit, in place of the forward
 * pass.
 *
 * <p>Kept by token, {@code [token][key words, value words]}, since page sizes differ.
 */
public final class PrefilledContext {
  private final int layers;
  private final int kvHeads;
  private final int wordsPerToken;
  private final int massTokens;

  /** By layer and head. */
  private final int[][] words;

  private int tokens;

  /** Where each chunk ends. */
  private int[] chunkEnds = new int[16];

  /** By chunk, then layer and head: mass of each run of {@link #massTokens} tokens. */
  private float[][][] mass = new float[16][][];

  private int chunks;

  /**
   * An empty context for up to {@code capacity} tokens.
   *
   * @param massTokens page tokens of the sequence that will be recorded
   */
  public PrefilledContext(
      int layers, int kvHeads, PageLayout layout, int massTokens, int capacity) {
    this.layers = layers;
    this.kvHeads = kvHeads;
    this.wordsPerToken = layout.wordsPerToken();
    this.massTokens = massTokens;
    this.words = new int[layers * kvHeads][Math.multiplyExact(capacity, 2 * wordsPerToken)];
  }

  /** Tokens recorded. */
  public int tokens() {
    return tokens;
  }

  /** Tokens from {@code from}, where a chunk begins, to the end of that chunk. */
  public int nextChunk(int from) {
    for (int chunk = 0; chunk < chunks; chunk++) {
      if (chunkEnds[chunk] > from) {
        return chunkEnds[chunk] - from;
      }
    }
    throw new IllegalArgumentException(
        "the context has " + tokens + " tokens, token " + from + " is behind its end");
  }

  /** Takes the newest tokens of a sequence that has frozen nothing, after their forward pass. */
  public void record(SequenceCache sequence, PageMemory memory, int count) {
    PageLayout layout = memory.layout();
    if (layout.pageTokens() != massTokens || layout.wordsPerToken() != wordsPerToken) {
      throw new IllegalArgumentException(
          "the recorded sequence must have pages of "
              + massTokens
              + " tokens, found "
              + layout.pageTokens());
    }
    if (sequence.length() != tokens + count) {
      throw new IllegalArgumentException(
          "chunks must be recorded in order: "
              + tokens
              + " tokens are here, the sequence has "
              + sequence.length()
              + " of which "
              + count
              + " are new");
    }
    int[] page = new int[layout.wordsPerPage()];
    float[][] chunkMass = new float[layers * kvHeads][];
    for (int layer = 0; layer < layers; layer++) {
      for (int head = 0; head < kvHeads; head++) {
        HeadPages pages = sequence.pages(layer)[head];
        int index = layer * kvHeads + head;
        read(pages, memory, page, words[index]);
        if (pages.wantMass) {
          chunkMass[index] = Arrays.copyOf(pages.mass, pages.count);
        }
      }
    }
    if (chunks == chunkEnds.length) {
      chunkEnds = Arrays.copyOf(chunkEnds, 2 * chunks);
      mass = Arrays.copyOf(mass, 2 * chunks);
    }
    tokens += count;
    chunkEnds[chunks] = tokens;
    mass[chunks++] = chunkMass;
  }

  private void read(HeadPages pages, PageMemory memory, int[] page, int[] target) {
    int pageTokens = memory.layout().pageTokens();
    int values = memory.layout().valueOffset();
    for (int p = tokens / pageTokens; p < pages.count; p++) {
      memory.read(pages.slots[p], page, 0);
      for (int t = 0; t < pages.tokenCounts[p]; t++) {
        int at = (pages.firstPositions[p] + t) * 2 * wordsPerToken;
        for (int w = 0; w < wordsPerToken; w++) {
          target[at + w] = page[w * pageTokens + t];
        }
        System.arraycopy(
            page, values + t * wordsPerToken, target, at + wordsPerToken, wordsPerToken);
      }
    }
  }

  /**
   * Writes tokens {@code [from, from + count)} into the newest places of a sequence that has been
   * extended for them, and the chunk's mass where its policy wants it.
   */
  public void writeTo(SequenceCache sequence, int from, int count, Device device) {
    if (sequence.length() != from + count || from + count > tokens) {
      throw new IllegalArgumentException(
          "tokens "
              + from
              + " to "
              + (from + count)
              + " of a context of "
              + tokens
              + " do not end a sequence of "
              + sequence.length());
    }
    PageMemory memory = sequence.memory();
    int[] page = new int[memory.layout().wordsPerPage()];
    int chunk = Arrays.binarySearch(chunkEnds, 0, chunks, from + count);
    List<SketchedPage> unsketched = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      sequence.openLayer(layer, from);
      for (int head = 0; head < kvHeads; head++) {
        HeadPages pages = sequence.pages(layer)[head];
        int index = layer * kvHeads + head;
        write(pages, memory, page, words[index], from);
        if (pages.wantMass) {
          Arrays.fill(pages.mass, 0, pages.count, 0);
          if (chunk >= 0 && mass[chunk][index] != null) {
            spread(mass[chunk][index], from + count, pages);
          }
        }
      }
      unsketched.clear();
      sequence.collectUnsketched(layer, unsketched);
      if (!unsketched.isEmpty()) {
        device.sketchKeys(memory, unsketched);
      }
      sequence.closeLayer(layer, StepKind.PREFILL);
    }
  }

  private void write(HeadPages pages, PageMemory memory, int[] page, int[] source, int from) {
    int pageTokens = memory.layout().pageTokens();
    int values = memory.layout().valueOffset();
    for (int p = pages.count - 1; p >= 0; p--) {
      int first = pages.firstPositions[p];
      if (first + pages.tokenCounts[p] <= from) {
        return;
      }
      memory.read(pages.slots[p], page, 0);
      for (int t = Math.max(0, from - first); t < pages.tokenCounts[p]; t++) {
        int at = (first + t) * 2 * wordsPerToken;
        for (int w = 0; w < wordsPerToken; w++) {
          page[w * pageTokens + t] = source[at + w];
        }
        System.arraycopy(
            source, at + wordsPerToken, page, values + t * wordsPerToken, wordsPerToken);
      }
      memory.write(pages.slots[p], page, 0);
    }
  }

  /** A page's share of each recorded run by the tokens they have in common. */
  private void spread(float[] runs, int length, HeadPages pages) {
    for (int p = 0; p < pages.count; p++) {
      int first = pages.firstPositions[p];
      int end = first + pages.tokenCounts[p];
      float sum = 0;
      for (int run = first / massTokens; run < runs.length && run * massTokens < end; run++) {
        int common = Math.min(end, (run + 1) * massTokens) - Math.max(first, run * massTokens);
        sum += runs[run] * common / Math.min(massTokens, length - run * massTokens);
      }
      pages.mass[p] = sum;
    }
  }
}
