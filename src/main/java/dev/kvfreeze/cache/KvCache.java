package dev.kvfreeze.cache;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.FreezePolicy;
import java.util.ArrayList;
import java.util.LinkedHashSet;
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
  private final ColdStore cold;
  private final int[] staging;
  private final Set<SequenceCache> open = new LinkedHashSet<>();

  /** Bytes in the cold store when it last refused a page: below that, it is worth asking again. */
  private long refusedAtBytes = Long.MAX_VALUE;

  private boolean closed;

  /**
   * @param cold holds pages of {@code memory.layout().wordsPerPage()} words
   * @param layers of the model
   * @param kvHeads KV heads a layer
   */
  public KvCache(PageMemory memory, ColdStore cold, FreezePolicy policy, int layers, int kvHeads) {
    if (layers < 1 || kvHeads < 1) {
      throw new IllegalArgumentException(
          "a cache has layers and heads, found " + layers + " and " + kvHeads);
    }
    this.memory = memory;
    this.pool = new PagePool(memory);
    this.cold = cold;
    this.policy = policy;
    this.layers = layers;
    this.kvHeads = kvHeads;
    this.pageTokens = memory.layout().pageTokens();
    this.pageBytes = memory.layout().pageBytes();
    int planes = policy.sketchPlanes();
    this.shape =
        new CacheShape(
            layers,
            kvHeads,
            pageTokens,
            pageBytes,
            planes == 0 ? 0 : KeySketches.bytesPerToken(memory.layout().headSize(), planes));
    this.staging = new int[memory.layout().wordsPerPage()];
  }

  /** An empty sequence; {@code id} names the document in messages. */
  public SequenceCache open(String id) {
    SequenceCache sequence = new SequenceCache(this, id);
    open.add(sequence);
    return sequence;
  }

  void closed(SequenceCache sequence) {
    open.remove(sequence);
  }

  public PageMemory memory() {
    return memory;
  }

  /** Bytes of the active pages and the sketches of all sequences. */
  public long residentBytes() {
    long bytes = (long) pool.usedPages() * pageBytes;
    for (SequenceCache sequence : open) {
      bytes += sequence.sketchBytes();
    }
    return bytes;
  }

  /** The sizes that policies are told. */
  public CacheShape shape() {
    return shape;
  }

  /** Most bytes of active pages. */
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

  /** Bytes of the sketches of a sequence of so many tokens. */
  public long sketchBytesFor(int tokens) {
    return (long) tokens * shape.sketchBytesPerToken() * layers * kvHeads;
  }

  /** Empty sketches of a head, or null when the policy wants none. */
  KeySketches newSketches() {
    int planes = policy.sketchPlanes();
    return planes == 0 ? null : memory.newSketches(planes);
  }

  long pagesFor(int tokens) {
    return ((long) tokens + pageTokens - 1) / pageTokens;
  }

  /** Whether the cold store is likely to take a page, without the price of a refusal. */
  boolean coldTakes() {
    return cold.bytes() + pageBytes <= cold.limitBytes() && cold.bytes() < refusedAtBytes;
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
