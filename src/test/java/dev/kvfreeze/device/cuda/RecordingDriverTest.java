package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The checker finds what the regression tests of page moves rely on it to find. */
class RecordingDriverTest {
  private static final int PAGE = 4096;

  private RecordingDriver driver;
  private CudaDriver.Stream compute;
  private CudaDriver.Stream moves;
  private CudaDriver.Event event;
  private long pages;
  private PinnedMemory cold;

  @BeforeEach
  void open() {
    driver = new RecordingDriver(HostDriver.load(), 1, 0.3);
    driver.open(0);
    compute = driver.newStream(CudaDriver.StreamPriority.NORMAL);
    moves = driver.newStream(CudaDriver.StreamPriority.NORMAL);
    event = driver.newEvent(CudaDriver.EventTiming.OFF);
    pages = driver.allocate(4 * PAGE);
    cold = driver.allocatePinned(4 * PAGE);
  }

  @AfterEach
  void close() {
    driver.abandon();
  }

  private void order(CudaDriver.Stream first, CudaDriver.Stream then) {
    driver.record(event, first);
    driver.await(then, event);
  }

  private void finish() {
    driver.synchronize(compute);
    driver.synchronize(moves);
  }

  @Test
  void aBackupThatRacesThePagesWriteIsFound() {
    driver.fill(pages, (byte) 7, PAGE, compute);
    driver.copy(cold.address(), pages, PAGE, moves);
    finish();

    assertThat(driver.problems()).isNotEmpty();
  }

  @Test
  void anOrderedBackupIsFineAndSeesTheWrite() {
    driver.fill(pages, (byte) 7, PAGE, compute);
    order(compute, moves);
    driver.copy(cold.address(), pages, PAGE, moves);
    driver.synchronize(moves);

    assertThat(driver.problems()).isEmpty();
    assertThat(cold.view().get(PAGE - 1)).isEqualTo((byte) 7);
  }

  @Test
  void aThawIntoAPageStillBeingReadIsFound() {
    driver.copy(pages + PAGE, pages, PAGE, compute);
    driver.copy(pages, cold.address(), PAGE, moves);
    finish();

    assertThat(driver.problems()).isNotEmpty();
  }

  @Test
  void aPageReusedWhileItsCopyIsInFlightIsFound() {
    driver.copy(cold.address(), pages, PAGE, moves);
    driver.fill(pages, (byte) 1, PAGE, compute);
    finish();

    assertThat(driver.problems()).isNotEmpty();
  }

  @Test
  void waitsOfTheHostOrderToo() {
    driver.copy(cold.address(), pages, PAGE, moves);
    driver.synchronize(moves);
    driver.fill(pages, (byte) 1, PAGE, compute);
    finish();

    assertThat(driver.problems()).isEmpty();
  }

  @Test
  void useAfterFreeIsFound() {
    driver.free(pages);
    driver.fill(pages, (byte) 1, PAGE, compute);
    finish();

    assertThat(driver.problems()).anyMatch(problem -> problem.contains("was freed"));
  }

  @Test
  void pinnedMemoryFreedDuringItsCopyIsFound() {
    driver.copy(pages, cold.address(), PAGE, moves);
    while (driver.ran() == 0) {
      assertThat(driver.isDone(event)).isTrue();
      driver.record(event, compute);
      driver.synchronize(event);
    }
    driver.free(cold);

    assertThat(driver.problems()).anyMatch(problem -> problem.contains("pinned memory is freed"));
  }

  @Test
  void leaksAreFoundAtClose() {
    finish();
    driver.close();

    assertThat(driver.problems())
        .containsExactly(
            "at close there are left: 2 blocks of memory, 2 streams, 1 events, 0 graphs");
  }
}
