package dev.kvfreeze.device.cuda;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The launches of the compute stream, held back until something needs them done. A sequence that
 * comes again, launch for launch, is replayed as one CUDA graph: the decode steps of a batch differ
 * only in the contents of tables at fixed addresses. What goes to the stream in between (uploads,
 * waits for page moves) overtakes what is held back, so it must not touch what that uses; {@link
 * #flush} first where it might.
 */
final class LaunchQueue implements AutoCloseable {
  /** Shorter sequences gain nothing. */
  private static final int SHORTEST_GRAPH = 6;

  private static final int MOST_GRAPHS = 96;
  private static final int MOST_SEEN = 1024;

  private final CudaDriver driver;
  private final CudaDriver.Stream stream;
  private final List<Launch> pending = new ArrayList<>();
  private final Map<List<Launch>, CudaDriver.Graph> graphs = new LinkedHashMap<>(16, 0.75f, true);
  private final Map<Integer, Boolean> seen = new LinkedHashMap<>(16, 0.75f, true);
  private long replays;
  private long flushes;

  LaunchQueue(CudaDriver driver, CudaDriver.Stream stream) {
    this.driver = driver;
    this.stream = stream;
  }

  CudaDriver.Stream stream() {
    return stream;
  }

  void add(Launch launch) {
    pending.add(launch);
  }

  /** Gives everything held back to the stream. */
  void flush() {
    if (pending.isEmpty()) {
      return;
    }
    CudaDriver.Graph graph = pending.size() < SHORTEST_GRAPH ? null : graph();
    if (graph == null) {
      for (int i = 0; i < pending.size(); i++) {
        driver.launch(pending.get(i), stream);
      }
    } else {
      driver.launch(graph, stream);
      replays++;
    }
    pending.clear();
    flushes++;
  }

  /** How often something was given to the stream: what was launched before is not held back. */
  long flushes() {
    return flushes;
  }

  /** The graph of what is pending; null the first time it is seen. */
  private CudaDriver.Graph graph() {
    CudaDriver.Graph graph = graphs.get(pending);
    if (graph != null) {
      return graph;
    }
    int hash = pending.hashCode();
    if (seen.remove(hash) == null) {
      seen.put(hash, true);
      dropEldest(seen, MOST_SEEN);
      return null;
    }
    graph = driver.graph(pending, stream);
    graphs.put(List.copyOf(pending), graph);
    CudaDriver.Graph dropped = dropEldest(graphs, MOST_GRAPHS);
    if (dropped != null) {
      driver.close(dropped);
    }
    return graph;
  }

  private static <K, V> V dropEldest(Map<K, V> map, int most) {
    if (map.size() <= most) {
      return null;
    }
    K eldest = map.keySet().iterator().next();
    return map.remove(eldest);
  }

  /** How often a graph took the place of launches. */
  long replays() {
    return replays;
  }

  /** Forgets what is held back. */
  void discard() {
    pending.clear();
  }

  @Override
  public void close() {
    discard();
    graphs.values().forEach(driver::close);
    graphs.clear();
  }
}
