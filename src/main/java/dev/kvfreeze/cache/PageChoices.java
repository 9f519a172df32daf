package dev.kvfreeze.cache;

import dev.kvfreeze.freeze.PageEstimates;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.AttentionShape;

/**
 * For the baselines that choose the pages of every decode step by boxes or by the attention itself:
 * makes the boxes, and lets the policy choose.
 */
public final class PageChoices {
  private final SequenceCache owner;
  private final KvCache cache;
  private final HeadTable[] tables;
  private final PageEstimates estimates;
  private final int[] page;

  PageChoices(SequenceCache owner, KvCache cache, HeadTable[] tables) {
    this.owner = owner;
    this.cache = cache;
    this.tables = tables;
    this.estimates = cache.policy.estimates();
    this.page =
        estimates == PageEstimates.BOXES ? new int[cache.memory.layout().wordsPerPage()] : null;
  }

  /** Whether the policy chooses the pages of a layer in this decode step. */
  public boolean wanted(int layer) {
    return (estimates == PageEstimates.BOXES || estimates == PageEstimates.ATTENTION)
        && owner.policy.wantsEstimates(layer, StepKind.DECODE);
  }

  /** Whether it chooses by the attention itself, which must be measured first. */
  public boolean byAttention() {
    return estimates == PageEstimates.ATTENTION;
  }

  /** Makes the boxes of a layer's pages that have filled; they are on the device still. */
  void boxFilled(int layer) {
    if (estimates != PageEstimates.BOXES) {
      return;
    }
    int full = owner.length / cache.pageTokens;
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      HeadTable table = tables[i];
      while (table.boxes.pages() < full) {
        cache.memory.read(table.slots[table.boxes.pages()], page, 0);
        table.boxes.add(page);
        owner.passing.summariesChanged();
      }
    }
  }

  /** Estimates a layer's pages by their boxes and lets the policy choose. */
  public void chooseByBoxes(int layer, float[] queries, AttentionShape shape, int firstVisible) {
    int width = shape.groupSize() * shape.headSize();
    for (int head = 0; head < cache.kvHeads; head++) {
      tables[layer * cache.kvHeads + head].boxes.score(
          queries, head * width, shape.groupSize(), shape.scale(), firstVisible / cache.pageTokens);
    }
    owner.recall(layer);
  }

  /** Lets all pages of a layer have part in an attention that is measured. */
  public void measure(int layer) {
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      includeAll(tables[i]);
      tables[i].relist(cache.pageTokens, owner.length);
      tables[i].pages.wantMass = true;
    }
  }

  /** Lets the policy choose by what was measured. */
  public void chooseByAttention(int layer) {
    owner.recall(layer);
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      tables[i].pages.wantMass = cache.policy.wantsMass(StepKind.DECODE);
    }
  }

  /** Before tokens are dropped. */
  void includeAll() {
    for (HeadTable table : tables) {
      includeAll(table);
    }
  }

  private void includeAll(HeadTable table) {
    for (int p = 0; p < table.count && owner.counts.excluded > 0; p++) {
      owner.moves.look(table);
      owner.moves.include(p);
    }
  }
}
