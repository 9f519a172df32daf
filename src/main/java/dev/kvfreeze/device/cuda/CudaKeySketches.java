package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.model.Rope;

/**
 * Sketches in device memory: one block of the pool's upper end holds the codes, the step sizes and
 * the centre. On the host is only the mass that the device estimates.
 */
final class CudaKeySketches extends KeySketches {
  private static final float[] MADE = {};

  private final CudaPageMemory owner;

  /** Offset in the pool, and tokens there is room for. */
  private long offset;

  private int tokens;

  /** Of the table of channels; 0 where keys are turned. */
  private final long channelsAddress;

  /** Of turned keys. */
  CudaKeySketches(CudaPageMemory owner, int headSize, int pageTokens, int planes, Rope rope) {
    super(headSize, pageTokens, planes, rope);
    this.owner = owner;
    this.channelsAddress = 0;
  }

  /**
   * Of some dimensions.
   *
   * @param channelsAddress of their {@link ChannelTables table}
   */
  CudaKeySketches(
      CudaPageMemory owner,
      int pageTokens,
      SketchChannels channels,
      long channelsAddress,
      Rope rope) {
    super(pageTokens, channels, rope);
    this.owner = owner;
    this.channelsAddress = channelsAddress;
  }

  private long blockBytes(int count) {
    long bytes = (4L * words() + 2) * count + 4L * headSize();
    return (bytes + DeviceMemory.ALIGNMENT - 1) / DeviceMemory.ALIGNMENT * DeviceMemory.ALIGNMENT;
  }

  @Override
  public boolean reserve(int count) {
    int wanted = count * pageTokens();
    if (wanted <= tokens) {
      return true;
    }
    int room = roundedTokens(Math.max(wanted, tokens + tokens / 4));
    long taken = owner.takeTop(blockBytes(room));
    if (taken < 0) {
      room = roundedTokens(wanted);
      taken = owner.takeTop(blockBytes(room));
    }
    if (taken < 0) {
      return false;
    }
    if (tokens > 0) {
      owner.copySketch(address(), tokens, owner.topAddress(taken), room, this);
      owner.releaseTop(offset, blockBytes(tokens));
    }
    offset = taken;
    tokens = room;
    int pageRoom = room / pageTokens();
    mass = java.util.Arrays.copyOf(mass, pageRoom);
    return true;
  }

  private static int roundedTokens(int count) {
    return (count + BLOCK_TOKENS - 1) / BLOCK_TOKENS * BLOCK_TOKENS;
  }

  @Override
  public void ensure(int count) {
    if (!reserve(count)) {
      throw new IllegalStateException(
          "the pool has no room for the sketches of "
              + count
              + " pages; give it more with cache.poolBytes or engine.deviceMemory");
    }
  }

  @Override
  public long bytes() {
    return tokens == 0 ? 0 : blockBytes(tokens);
  }

  @Override
  public void release() {
    super.release();
    if (tokens > 0) {
      owner.releaseTop(offset, blockBytes(tokens));
      tokens = 0;
    }
  }

  /** Tokens there is room for. */
  int tokens() {
    return tokens;
  }

  private long address() {
    return owner.topAddress(offset);
  }

  long bitsAddress() {
    return address();
  }

  long stepsAddress() {
    return stepsAddress(address(), tokens);
  }

  /** The step sizes follow the codes, the centre follows them. */
  long stepsAddress(long block, int count) {
    return block + 4L * words() * count;
  }

  long centreAddress() {
    return centreAddress(address(), tokens);
  }

  long centreAddress(long block, int count) {
    return stepsAddress(block, count) + 2L * count;
  }

  long channelsAddress() {
    return channelsAddress;
  }

  boolean hasCentre() {
    return centre != null;
  }

  void centreMade() {
    centre = MADE;
  }
}
