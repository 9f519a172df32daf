package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.HostPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import dev.kvfreeze.device.cuda.HostDriver.RecordedDevice;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Computing waits for the batch of moves whose pages it reads, and for no later one. */
class PageMoveOverlapTest {
  private static final PageLayout LAYOUT = new PageLayout(32, 8, KvFormat.BF16);
  private static final AttentionShape SHAPE = new AttentionShape(1, 1, 32, 0.25f, 0);

  /** Two bfloat16 numbers 1, and two numbers 2. */
  private static final int ONES = 0x3f803f80;

  private static final int TWOS = 0x40004000;

  @Test
  void attentionOverOneLayerLetsTheNextLayersPagesTravel() {
    // A driver that puts off whatever nobody waits for.
    RecordedDevice recorded = HostDriver.recorded(256L << 20, HostCode.KERNELS, 1, 0);
    try (CudaDevice device = recorded.device()) {
      Activations query = device.activations(1, 32);
      Activations out = device.activations(1, 32);
      device.embed(device.weight(ones()), new int[] {0}, 0, 1, 1, query);
      try (CudaPageMemory memory = (CudaPageMemory) device.pageMemory(LAYOUT, 1 << 20);
          HostPages places = memory.hostPages(1 << 20).orElseThrow()) {
        memory.ensure(4);
        fill(memory, 0, ONES);
        fill(memory, 1, TWOS);
        fill(memory, 2, 0);
        fill(memory, 3, 0);
        places.ensure(2);
        places.backUp(0, 0);
        places.backUp(1, 1);
        memory.sendMoves();
        places.bringBack(0, 2);
        memory.sendMoves();
        places.bringBack(1, 3);
        memory.sendMoves();
        HeadPages present = list(2);
        assertThat(attend(device, query, memory, present, out)).containsOnly(1);
        assertThat(firstWord(memory, 2)).isEqualTo(ONES);
        assertThat(firstWord(memory, 3)).as("is not waited for").isZero();
        HeadPages next = list(3);
        assertThat(attend(device, query, memory, next, out)).containsOnly(2);
        memory.forget(present);
        memory.forget(next);
      }
    }
    assertThat(recorded.problems().get()).isEmpty();
  }

  private static TensorData ones() {
    ByteBuffer bytes = ByteBuffer.allocate(2 * 2 * 32).order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      bytes.putInt(ONES);
    }
    return new TensorData("ones", TensorType.BF16, 2, 32, bytes.flip());
  }

  private static void fill(PageMemory memory, int slot, int word) {
    int[] words = new int[LAYOUT.wordsPerPage()];
    Arrays.fill(words, word);
    memory.write(slot, words, 0);
  }

  private static HeadPages list(int slot) {
    HeadPages pages = new HeadPages();
    pages.slots[0] = slot;
    pages.tokenCounts[0] = 8;
    pages.count = 1;
    return pages;
  }

  private static float[] attend(
      CudaDevice device, Activations query, PageMemory memory, HeadPages pages, Activations out) {
    List<AttentionSegment> segments =
        List.of(new AttentionSegment(0, 1, 7, new HeadPages[] {pages}));
    device.attend(query, SHAPE, memory, segments, out);
    float[] values = new float[32];
    device.read(out, 0, values);
    return values;
  }

  /** As it lies there now, whatever is still on its way. */
  private static int firstWord(CudaPageMemory memory, int slot) {
    long address = memory.poolAddress() + (long) slot * LAYOUT.pageBytes();
    ByteBuffer page = HostKernels.load().view(address, LAYOUT.pageBytes());
    return page.getInt(0);
  }
}
