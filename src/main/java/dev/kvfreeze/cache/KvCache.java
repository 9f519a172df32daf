package dev.kvfreeze.cache;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchCalibration;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.CapShare;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PageEstimates;
import dev.kvfreeze.model.Rope;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * The KV cache of one engine: the page pool and the cold store that its sequences share. Owns the
 * page memory and the cold store and closes them. Engine thread only.
 */
public final class KvCache implements AutoCloseable {
  final PageMemory memory;
  final PagePool pool;
  final FreezePolicy policy;
  final int layers;
  final int kvHeads;
  final int pageTokens;
  final int pageBytes;
  final CacheShape shape;
  private final List<Rope> ropes;

  /** By layer and KV head; empty where sketches are of turned keys. */
  private final SketchChannels[] channels;

  private final ColdStore cold;
  private final int[] staging;
  private final long budgetBytes;
  private final Set<SequenceCache> open = new LinkedHashSet<>();

  /** Bytes in the cold store when it last refused a page: below that, it is worth asking again. */
  private long refusedAtBytes = Long.MAX_VALUE;

  private boolean closed;

  /**
   * For keys that are not known to be turned to their positions.
   *
   * @param cold holds pages of {@code memory.layout().wordsPerPage()} words
   * @param layers of the model
   * @param kvHeads KV heads a layer
   */
  public KvCache(PageMemory memory, ColdStore cold, FreezePolicy policy, int layers, int kvHeads) {
    this(memory, cold, policy, Collections.nCopies(layers, null), kvHeads);
  }

  /**
   * @param cold holds pages of {@code memory.layout().wordsPerPage()} words
   * @param ropes of the model's layers, by which their keys are turned
   * @param kvHeads KV heads a layer
   */
  public KvCache(
      PageMemory memory, ColdStore cold, FreezePolicy policy, List<Rope> ropes, int kvHeads) {
    this(memory, cold, policy, ropes, kvHeads, SketchCalibration.NONE);
  }

  /**
   * The same where it is known what the model's keys and queries are like.
   *
   * @param calibration for a device that knows channels, or {@link SketchCalibration#NONE}
   */
  public KvCache(
      PageMemory memory,
      ColdStore cold,
      FreezePolicy policy,
      List<Rope> ropes,
      int kvHeads,
      SketchCalibration calibration) {
    int layers = ropes.size();
    if (layers < 1 || kvHeads < 1) {
      throw new IllegalArgumentException(
          "a cache has layers and heads, found " + layers + " and " + kvHeads);
    }
    this.memory = memory;
    this.pool = new PagePool(memory);
    this.cold = cold;
    this.ropes = ropes;
    this.channels =
        policy.estimates() == PageEstimates.SKETCHES
            ? calibration.channels(policy.sketchPlanes())
            : new SketchChannels[0];
    this.policy = policy;
    this.layers = layers;
    this.kvHeads = kvHeads;
    this.pageTokens = memory.layout().pageTokens();
    this.pageBytes = memory.layout().pageBytes();
    this.shape = shape(policy, memory.layout(), layers, kvHeads);
    this.staging = new int[memory.layout().wordsPerPage()];
    this.budgetBytes = poolBytes();
  }

  /** The sizes of a sequence's cache under a policy. */
  public static CacheShape shape(FreezePolicy policy, PageLayout layout, int layers, int kvHeads) {
    int planes = policy.sketchPlanes();
    int summary = planes == 0 ? 0 : KeySketches.bytesPerToken(layout.headSize(), planes);
    if (policy.estimates() == PageEstimates.BOXES) {
      summary = KeyBoxes.bytesPerToken(layout);
    }
    return new CacheShape(
        layers,
        kvHeads,
        layout.pageTokens(),
        layout.pageBytes(),
        summary,
        layout.comparedPageBytes());
  }

  /** An empty sequence; {@code id} names the document in messages. */
  public SequenceCache open(String id) {
    return open(id, CapShare.whole(), 0);
  }

  /**
   * The same under a share of the policy's cap.
   *
   * @param share is the sequence's from now on
   * @param promptTokens that will be read at least, as far as that is known
   */
  public SequenceCache open(String id, CapShare share, int promptTokens) {
    SequenceCache sequence = new SequenceCache(this, id, share, promptTokens);
    open.add(sequence);
    return sequence;
  }

  void closed(SequenceCache sequence) {
    open.remove(sequence);
  }

  public PageMemory memory() {
    return memory;
  }

  /** Bytes of the active pages and the sketches or boxes of all sequences. */
  public long residentBytes() {
    long bytes = (long) pool.usedPages() * pageBytes;
    for (SequenceCache sequence : open) {
      bytes += sequence.passing.summaryBytes();
    }
    return bytes;
  }

  /** The sizes that policies are told. */
  public CacheShape shape() {
    return shape;
  }

  /** Most bytes of active pages, and where sketches share the memory of sketches besides. */
  public long budgetBytes() {
    return budgetBytes;
  }

  /** Most bytes of active pages; where sketches share the memory, beside those there are now. */
  public long poolBytes() {
    return (long) pool.capacity() * pageBytes;
  }

  /** Bytes of the pages in the cold store, backups of active pages included. */
  public long coldBytes() {
    return cold.bytes();
  }

  /** Bytes of the pages of a sequence with so many active tokens in every head. */
  public long bytesFor(int tokens) {
    return pagesFor(tokens) * layers * kvHeads * pageBytes;
  }

  /** Bytes of the sketches or boxes of a sequence of so many tokens. */
  public long summaryBytesFor(int tokens) {
    return (long) tokens * shape.summaryBytesPerToken() * layers * kvHeads;
  }

  /** Empty sketches of a head of a layer, or null when the policy wants none. */
  KeySketches newSketches(int layer, int head) {
    if (policy.estimates() != PageEstimates.SKETCHES) {
      return null;
    }
    Rope rope = ropes.get(layer);
    return channels.length == 0
        ? memory.newSketches(policy.sketchPlanes(), rope)
        : memory.newSketches(channels[layer * kvHeads + head], rope);
  }

  /** Empty boxes of a head, or null when the policy wants none. */
  KeyBoxes newBoxes() {
    return policy.estimates() == PageEstimates.BOXES ? new KeyBoxes(memory.layout()) : null;
  }

  long pagesFor(int tokens) {
    return ((long) tokens + pageTokens - 1) / pageTokens;
  }

  /** Whether the cold store is likely to take a page, without the price of a refusal. */
  boolean coldTakes() {
    return cold.bytes() + pageBytes <= cold.limitBytes() && cold.bytes() < refusedAtBytes;
  }

  /** Whether pages that are brought back early arrive while something else is computed. */
  boolean movesBesideComputing() {
    return cold.movesBesideComputing();
  }

  String coldCondition() {
    return "the cold store holds " + cold.bytes() + " of " + cold.limitBytes() + " bytes";
  }

  /**
   * Copies a slot to the cold store.
   *
   * @throws ColdStoreFullException when there is no room
   */
  long backUp(int slot) {
    try {
      long handle = cold.store(memory, slot, staging);
      refusedAtBytes = Long.MAX_VALUE;
      return handle;
    } catch (ColdStoreFullException e) {
      refusedAtBytes = cold.bytes();
      throw e;
    }
  }

  void bringBack(long handle, int slot) {
    cold.load(handle, memory, slot, staging);
  }

  /** Brings many pages back together. */
  void bringBack(int count, long[] handles, int[] slots) {
    cold.load(count, handles, memory, slots, staging);
  }

  void forget(long handle) {
    cold.release(handle);
  }

  /** Closes the open sequences, then the cold store and the page memory; safe to call twice. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    for (SequenceCache sequence : new ArrayList<>(open)) {
      sequence.close();
    }
    try {
      cold.close();
    } finally {
      memory.close();
    }
  }
}
