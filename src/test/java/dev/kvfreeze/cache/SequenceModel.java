package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * What a sequence's cache should hold, by the plainest means: a list of token stamps. Plays the
 * kernel that writes tokens into pages, and checks every active page against the list.
 */
final class SequenceModel {
  final SequenceCache cache;
  private final ArrayPageMemory memory;
  private final int layers;
  private final int heads;
  private final List<Integer> stamps = new ArrayList<>();

  SequenceModel(SequenceCache cache, ArrayPageMemory memory, int layers, int heads) {
    this.cache = cache;
    this.memory = memory;
    this.layers = layers;
    this.heads = heads;
  }

  int length() {
    return stamps.size();
  }

  /** As a forward pass writes the newest {@code count} tokens, found by position. */
  void write(int count, int firstStamp) {
    int from = stamps.size();
    for (int i = 0; i < count; i++) {
      stamps.add(firstStamp + i);
    }
    PageLayout layout = memory.layout();
    for (int layer = 0; layer < layers; layer++) {
      for (int head = 0; head < heads; head++) {
        HeadPages pages = cache.pages(layer)[head];
        for (int i = 0; i < pages.count; i++) {
          int begin = Math.max(from, pages.firstPositions[i]);
          for (int p = begin; p < pages.firstPositions[i] + pages.tokenCounts[i]; p++) {
            int token = p - pages.firstPositions[i];
            for (int w = 0; w < layout.wordsPerToken(); w++) {
              int base = memory.at(pages.slots[i]);
              int value = value(layer, head, p, w);
              memory.words[base + w * layout.pageTokens() + token] = value;
              memory.words[base + layout.valueOffset() + token * layout.wordsPerToken() + w] =
                  ~value;
            }
          }
        }
      }
    }
  }

  private int value(int layer, int head, int position, int word) {
    return ((stamps.get(position) * 31 + layer) * 31 + head) * 31 + word;
  }

  void truncate(int length) {
    cache.truncate(length);
    stamps.subList(length, stamps.size()).clear();
  }

  /** Checks every page, adds the slots it owns, and returns the number of frozen pages. */
  long check(Set<Integer> owned) {
    PageLayout layout = memory.layout();
    int pageTokens = layout.pageTokens();
    int pageCount = (length() + pageTokens - 1) / pageTokens;
    long active = 0;
    double activeTokens = 0;
    assertThat(cache.length()).isEqualTo(length());
    for (int layer = 0; layer < layers; layer++) {
      for (int head = 0; head < heads; head++) {
        HeadPages pages = cache.pages(layer)[head];
        int previous = -1;
        for (int i = 0; i < pages.count; i++) {
          int first = pages.firstPositions[i];
          assertThat(first).isGreaterThan(previous);
          assertThat(first % pageTokens).isZero();
          assertThat(pages.tokenCounts[i]).isEqualTo(Math.min(pageTokens, length() - first));
          assertThat(owned.add(pages.slots[i])).as("slot %s owned once", pages.slots[i]).isTrue();
          checkPage(layer, head, pages.slots[i], first, pages.tokenCounts[i]);
          previous = first;
          activeTokens += pages.tokenCounts[i];
        }
        if (length() % pageTokens != 0) {
          assertThat(previous).as("the tail is active").isEqualTo((pageCount - 1) * pageTokens);
        }
        active += pages.count;
      }
    }
    long all = (long) pageCount * layers * heads;
    CacheUsage usage = cache.usage();
    assertThat(usage.activePages()).isEqualTo(active);
    assertThat(usage.frozenPages()).isEqualTo(all - active);
    assertThat(usage.residentBytes()).isEqualTo(active * layout.pageBytes());
    assertThat(usage.activeTokens())
        .isCloseTo(activeTokens / (layers * heads), org.assertj.core.data.Offset.offset(1e-9));
    assertThat(usage.frozenTokens())
        .isCloseTo(
            length() - activeTokens / (layers * heads), org.assertj.core.data.Offset.offset(1e-9));
    return all - active;
  }

  private void checkPage(int layer, int head, int slot, int first, int tokens) {
    PageLayout layout = memory.layout();
    int[] words = new int[layout.wordsPerPage()];
    memory.read(slot, words, 0);
    for (int token = 0; token < tokens; token++) {
      for (int w = 0; w < layout.wordsPerToken(); w++) {
        int value = value(layer, head, first + token, w);
        int key = words[w * layout.pageTokens() + token];
        int val = words[layout.valueOffset() + token * layout.wordsPerToken() + w];
        if (key != value || val != ~value) {
          throw new AssertionError(
              "position " + (first + token) + " of layer " + layer + " head " + head + " differs");
        }
      }
    }
  }
}
