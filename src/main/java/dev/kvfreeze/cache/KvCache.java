package dev.kvfreeze.cache;

import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.freeze.FreezePolicy;

/**
 * The KV cache of one engine: page memory, the pool over it, the cold store and the policy that all
 * its sequences follow. Engine thread only.
 */
public final class KvCache implements AutoCloseable {
  private final PageMemory memory;
  private final PagePool pool;
  private final ColdStore cold;
  private final FreezePolicy policy;
  private final int layers;
  private final int kvHeads;

  /** Takes over memory and cold store, which it closes with itself. */
  public KvCache(PageMemory memory, ColdStore cold, FreezePolicy policy, int layers, int kvHeads) {
    this.memory = memory;
    this.pool = new PagePool(memory);
    this.cold = cold;
    this.policy = policy;
    this.layers = layers;
    this.kvHeads = kvHeads;
  }

  /** An empty cache for one sequence; {@code id} names it in messages. */
  public SequenceCache open(String id) {
    return new SequenceCache(id, memory, pool, cold, policy, layers, kvHeads);
  }

  public PageMemory memory() {
    return memory;
  }

  public long residentBytes() {
    return (long) pool.usedPages() * memory.layout().pageBytes();
  }

  public long poolBytes() {
    return pool.poolBytes();
  }

  public long coldBytes() {
    return cold.bytes();
  }

  /** Bytes of the pages of a sequence with so many active tokens in each head. */
  public long bytesFor(int tokens) {
    int pageTokens = memory.layout().pageTokens();
    long pages = (tokens + pageTokens - 1L) / pageTokens;
    return pages * layers * kvHeads * memory.layout().pageBytes();
  }

  @Override
  public void close() {
    cold.close();
    memory.close();
  }
}
