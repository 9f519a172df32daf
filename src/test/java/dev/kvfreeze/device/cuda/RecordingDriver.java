package dev.kvfreeze.device.cuda;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/**
 * A driver that checks what its user relies on. It keeps the work of each stream in a queue, does
 * it through another driver as late and in as unlucky an order as events and waits allow (seeded),
 * and compares each access to pages, tables and pinned memory with those before: two accesses of
 * which one writes must be ordered by streams, events or waits of the host (vector clocks),
 * whatever order they happened to run in. Freed memory may not be in use or be used; at close
 * nothing may be left.
 */
final class RecordingDriver implements CudaDriver {
  private static final int MOST_STREAMS = 8;

  private final CudaDriver driver;
  private final Random random;
  private final double eagerness;
  private final AccessChecker checker = new AccessChecker();
  private final List<QueuedStream> streams = new ArrayList<>();
  private final int[] hostClock = new int[MOST_STREAMS];
  private final TreeMap<Long, Long> live = new TreeMap<>();
  private final Map<Long, PinnedMemory> pinned = new HashMap<>();
  private int openEvents;
  private int openGraphs;
  private int openStreams;
  private int ran;

  /** One piece of work with what happens before it. */
  private record Work(String name, Runnable body, int[] clock, Ticket waitsFor, Ticket completes) {}

  /** A record of an event. */
  private static final class Ticket {
    final QueuedStream stream;
    final int[] clock;
    boolean done;

    Ticket(QueuedStream stream, int[] clock) {
      this.stream = stream;
      this.clock = clock;
    }
  }

  private final class QueuedStream implements Stream {
    final Stream real;
    final int index;
    final int[] clock = new int[MOST_STREAMS];
    final Deque<Work> queue = new ArrayDeque<>();

    QueuedStream(Stream real, int index) {
      this.real = real;
      this.index = index;
    }

    void add(String name, Runnable body) {
      tick();
      queue.add(new Work(name, body, clock.clone(), null, null));
      runSome();
    }

    void tick() {
      merge(clock, hostClock);
      clock[index]++;
    }

    /** Does the first piece of work; false when there is none or it must wait. */
    boolean step() {
      Work work = queue.peek();
      if (work == null || work.waitsFor() != null && !work.waitsFor().done) {
        return false;
      }
      queue.poll();
      if (work.completes() != null) {
        work.completes().done = true;
      }
      if (work.body() != null) {
        checker.begin(work.name(), index, work.clock());
        work.body().run();
        ran++;
      }
      return true;
    }

    /** Does work until a ticket is done, or all of it, and what it waits for. */
    void runUntil(Ticket ticket) {
      while (ticket == null ? !queue.isEmpty() : !ticket.done) {
        if (!step()) {
          Work work = queue.peek();
          if (work == null) {
            throw new IllegalStateException("an event is waited for that is never reached");
          }
          work.waitsFor().stream.runUntil(work.waitsFor());
        }
      }
    }
  }

  private static final class TicketEvent implements Event {
    final Event real;
    Ticket newest;

    TicketEvent(Event real) {
      this.real = real;
    }
  }

  private record RecordedGraph(List<Launch> launches) implements Graph {}

  /**
   * @param eagerness how likely work is done before anyone waits for it, 0 to 1
   */
  RecordingDriver(CudaDriver driver, long seed, double eagerness) {
    this.driver = driver;
    this.random = new Random(seed);
    this.eagerness = eagerness;
  }

  private static void merge(int[] into, int[] from) {
    for (int i = 0; i < into.length; i++) {
      into[i] = Math.max(into[i], from[i]);
    }
  }

  private void runSome() {
    while (!streams.isEmpty() && random.nextDouble() < eagerness) {
      streams.get(random.nextInt(streams.size())).step();
    }
  }

  /** Races and misuse found so far, in the order they were found. */
  List<String> problems() {
    return checker.problems();
  }

  /** Copies, fills and launches done so far. */
  int ran() {
    return ran;
  }

  @Override
  public List<GpuProperties> gpus() {
    return driver.gpus();
  }

  @Override
  public void open(int ordinal) {
    driver.open(ordinal);
  }

  @Override
  public void makeCurrent() {
    driver.makeCurrent();
  }

  @Override
  public MemoryInfo memoryInfo() {
    return driver.memoryInfo();
  }

  @Override
  public List<Function> load(String moduleName, byte[] ptx, List<String> kernels) {
    return driver.load(moduleName, ptx, kernels);
  }

  @Override
  public void allowSharedMemory(Function function, int bytes) {
    driver.allowSharedMemory(function, bytes);
  }

  @Override
  public long allocate(long bytes) {
    long address = driver.allocate(bytes);
    live.put(address, bytes);
    return address;
  }

  @Override
  public void free(long address) {
    Long bytes = live.remove(address);
    if (bytes == null) {
      checker.report("device memory is freed that was not allocated, or twice");
      return;
    }
    checker.freed("device memory", address, bytes, hostClock);
    driver.free(address);
  }

  @Override
  public PinnedMemory allocatePinned(long bytes) {
    PinnedMemory memory = driver.allocatePinned(bytes);
    live.put(memory.address(), bytes);
    pinned.put(memory.address(), memory);
    return memory;
  }

  @Override
  public void free(PinnedMemory memory) {
    if (pinned.remove(memory.address()) == null) {
      checker.report("pinned memory is freed that was not allocated, or twice");
      return;
    }
    checker.freed("pinned memory", memory.address(), memory.bytes(), hostClock);
    live.remove(memory.address());
    driver.free(memory);
  }

  @Override
  public Stream newStream(StreamPriority priority) {
    if (streams.size() == MOST_STREAMS) {
      throw new IllegalStateException("more streams than are recorded");
    }
    QueuedStream stream = new QueuedStream(driver.newStream(priority), streams.size());
    streams.add(stream);
    openStreams++;
    return stream;
  }

  @Override
  public void close(Stream stream) {
    QueuedStream queued = (QueuedStream) stream;
    queued.runUntil(null);
    driver.close(queued.real);
    openStreams--;
  }

  @Override
  public void synchronize(Stream stream) {
    QueuedStream queued = (QueuedStream) stream;
    queued.runUntil(null);
    merge(hostClock, queued.clock);
  }

  @Override
  public Event newEvent(EventTiming timing) {
    openEvents++;
    return new TicketEvent(driver.newEvent(timing));
  }

  @Override
  public void close(Event event) {
    openEvents--;
    driver.close(((TicketEvent) event).real);
  }

  @Override
  public void record(Event event, Stream stream) {
    QueuedStream queued = (QueuedStream) stream;
    queued.tick();
    Ticket ticket = new Ticket(queued, queued.clock.clone());
    ((TicketEvent) event).newest = ticket;
    queued.queue.add(new Work("record", null, ticket.clock, null, ticket));
    runSome();
  }

  @Override
  public void await(Stream stream, Event event) {
    Ticket ticket = ((TicketEvent) event).newest;
    if (ticket == null) {
      return;
    }
    QueuedStream queued = (QueuedStream) stream;
    queued.tick();
    merge(queued.clock, ticket.clock);
    queued.queue.add(new Work("wait", null, queued.clock.clone(), ticket, null));
    runSome();
  }

  @Override
  public boolean isDone(Event event) {
    Ticket ticket = ((TicketEvent) event).newest;
    if (ticket != null && ticket.done) {
      merge(hostClock, ticket.clock);
    }
    return ticket == null || ticket.done;
  }

  @Override
  public void synchronize(Event event) {
    Ticket ticket = ((TicketEvent) event).newest;
    if (ticket != null) {
      ticket.stream.runUntil(ticket);
      merge(hostClock, ticket.clock);
    }
  }

  @Override
  public float millisBetween(Event from, Event to) {
    return 0;
  }

  private boolean alive(String what, long address, long bytes) {
    Map.Entry<Long, Long> block = live.floorEntry(address);
    boolean inside = block != null && address + bytes <= block.getKey() + block.getValue();
    if (!inside) {
      checker.report(what + " uses memory that is not allocated, or was freed");
    }
    return inside;
  }

  @Override
  public void copy(long to, long from, long bytes, Stream stream) {
    QueuedStream queued = (QueuedStream) stream;
    queued.add(
        "copy",
        () -> {
          if (alive("a copy", from, bytes) && alive("a copy", to, bytes)) {
            checker.reads(from, bytes);
            checker.writes(to, bytes);
            driver.copy(to, from, bytes, queued.real);
          }
        });
  }

  @Override
  public void fill(long address, byte value, long bytes, Stream stream) {
    QueuedStream queued = (QueuedStream) stream;
    queued.add(
        "fill",
        () -> {
          if (alive("a fill", address, bytes)) {
            checker.writes(address, bytes);
            driver.fill(address, value, bytes, queued.real);
          }
        });
  }

  @Override
  public void launch(Launch launch, Stream stream) {
    QueuedStream queued = (QueuedStream) stream;
    queued.add(
        launch.function().name(),
        () -> {
          KernelAccesses.of(launch, checker);
          driver.launch(launch, queued.real);
        });
  }

  @Override
  public Graph graph(List<Launch> launches, Stream stream) {
    openGraphs++;
    return new RecordedGraph(List.copyOf(launches));
  }

  @Override
  public void launch(Graph graph, Stream stream) {
    ((RecordedGraph) graph).launches().forEach(launch -> launch(launch, stream));
  }

  @Override
  public void close(Graph graph) {
    openGraphs--;
  }

  @Override
  public void abandon() {
    driver.abandon();
  }

  @Override
  public void close() {
    if (!live.isEmpty() || openEvents != 0 || openGraphs != 0 || openStreams != 0) {
      checker.report(
          "at close there are left: %d blocks of memory, %d streams, %d events, %d graphs"
              .formatted(live.size(), openStreams, openEvents, openGraphs));
    }
    driver.close();
  }
}
