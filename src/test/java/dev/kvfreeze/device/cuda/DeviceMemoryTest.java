package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class DeviceMemoryTest {
  @Test
  void whatIsShortIsSaidWithWhoHoldsWhatAndTheRemedy() {
    CudaDriver driver = HostDriver.load();
    driver.open(0);
    DeviceMemory memory = new DeviceMemory(driver, 1 << 20);
    memory.take("weights", 700_000);

    assertThatThrownBy(() -> memory.take("activations", 500_000))
        .isInstanceOf(OutOfMemoryError.class)
        .hasMessageContaining("activations need 500000 bytes")
        .hasMessageContaining("weights=700160")
        .hasMessageContaining("engine.deviceMemory");
    memory.close();
    driver.close();
  }

  @Test
  void aBudgetThatTheGpuDoesNotHaveIsRefused() {
    assertThatThrownBy(() -> HostDriver.device(1L << 40, HostCode.PLAIN))
        .isInstanceOf(OutOfMemoryError.class)
        .hasMessageContaining("nvidia-smi")
        .hasMessageContaining("engine.deviceMemory");
  }

  @Test
  void aPoolThatIsNotClosedIsALeak() {
    CudaDevice device = HostDriver.device(256L << 20, HostCode.PLAIN);
    PageMemory memory = device.pageMemory(new PageLayout(64, 16, KvFormat.BF16), 1 << 20);

    assertThat(memory.capacity()).isPositive();
    assertThatThrownBy(device::close)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("KV pages and sketches");
  }

  @Test
  void partsThatAreGivenUpAreUsedAgain() {
    CudaDevice device = HostDriver.device(256L << 20, HostCode.PLAIN);
    PageLayout layout = new PageLayout(64, 16, KvFormat.BF16);
    device.pageMemory(layout, 1 << 20).close();
    long free = device.freeBytes();
    device.pageMemory(layout, 1 << 20).close();

    assertThat(device.freeBytes()).isEqualTo(free);
    device.close();
  }

  @Test
  void pagesAreReadAsTheyWereWritten() {
    CudaDevice device = HostDriver.device(256L << 20, HostCode.PLAIN);
    PageMemory memory = device.pageMemory(new PageLayout(80, 8, KvFormat.BF16), 1 << 20);
    memory.ensure(3);
    int[] page = new Random(1).ints(memory.layout().wordsPerPage()).toArray();
    memory.write(2, page, 0);
    int[] read = new int[page.length];
    memory.read(2, read, 0);

    assertThat(read).isEqualTo(page);
    memory.close();
    device.close();
  }

  @Test
  void blocksAtTheTopNeverOverlap() {
    TopRoom room = new TopRoom(1000);
    TreeMap<Long, Long> taken = new TreeMap<>();
    Random random = new Random(2);
    List<Long> order = new ArrayList<>();
    for (int i = 0; i < 5000; i++) {
      if (order.isEmpty() || random.nextInt(3) > 0) {
        long bytes = 1 + random.nextInt(60);
        long offset = room.take(bytes, 200);
        if (offset >= 0) {
          assertThat(offset).isBetween(200L, 1000 - bytes);
          var below = taken.floorEntry(offset);
          assertThat(below == null || below.getKey() + below.getValue() <= offset).isTrue();
          var above = taken.ceilingEntry(offset);
          assertThat(above == null || offset + bytes <= above.getKey()).isTrue();
          taken.put(offset, bytes);
          order.add(offset);
        }
      } else {
        long offset = order.remove(random.nextInt(order.size()));
        room.release(offset, taken.remove(offset));
      }
      assertThat(room.usedBytes()).isEqualTo(taken.values().stream().mapToLong(b -> b).sum());
    }
    order.forEach(offset -> room.release(offset, taken.get(offset)));
    assertThat(room.lowest()).isEqualTo(1000);
  }

  @Test
  void sharesOfWhatIsFree() {
    assertThat(DeviceBudget.MOST.bytesOf(1000)).isEqualTo(900);
    assertThat(DeviceBudget.ofBytes(7).bytesOf(1000)).isEqualTo(7);
  }
}
