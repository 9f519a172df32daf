package dev.kvfreeze.device.cuda;

import java.nio.IntBuffer;

/**
 * Which memory a launch touches that other streams touch too: pages, and what pages are moved
 * through. Reads the launch's tables where they lie, at the time it runs.
 */
final class KernelAccesses {
  private final Launch launch;
  private final AccessChecker checker;

  private KernelAccesses(Launch launch, AccessChecker checker) {
    this.launch = launch;
    this.checker = checker;
  }

  static void of(Launch launch, AccessChecker checker) {
    new KernelAccesses(launch, checker).report();
  }

  private void report() {
    switch (launch.function().name()) {
      case "write_kv" -> writeKv(2, 5);
      case "finish_qkv" -> writeKv(14, 17);
      case "attend_decode" -> attendDecode();
      case "attend_prefill", "mass_prefill" -> attendPrefill();
      case "sketch_keys" -> sketchKeys();
      case "sketch_centre" -> sketchCentre();
      case "gather_pages" -> {
        pages(address(0), address(1), number(2), false);
        checker.reads(address(1), 4L * launch.gridX());
        checker.writes(address(3), (long) launch.gridX() * number(2));
      }
      case "scatter_pages" -> {
        checker.reads(address(0), (long) launch.gridX() * number(2));
        checker.reads(address(1), 4L * launch.gridX());
        pages(address(3), address(1), number(2), true);
      }
      default -> {
        // Stays on the compute stream, in memory of its own.
      }
    }
  }

  private long address(int argument) {
    return launch.arguments()[argument];
  }

  private int number(int argument) {
    return (int) launch.arguments()[argument];
  }

  private static IntBuffer ints(long address, long count) {
    return HostKernels.load().view(address, Math.max(1, count) * 4).asIntBuffer();
  }

  private void pages(long pool, long slots, int pageBytes, boolean write) {
    IntBuffer table = ints(slots, launch.gridX());
    for (int i = 0; i < launch.gridX(); i++) {
      page(pool, table.get(i), pageBytes, write);
    }
  }

  private void page(long pool, int slot, int pageBytes, boolean write) {
    long address = pool + (long) slot * pageBytes;
    if (write) {
      checker.writes(address, pageBytes);
    } else {
      checker.reads(address, pageBytes);
    }
  }

  /** Where the shape's arguments begin, and those of the tables. */
  private void writeKv(int shape, int tables) {
    int kvHeads = number(shape);
    int pageTokens = number(shape + 2);
    int pageBytes = 4 * pageTokens * number(shape + 1);
    int segments = number(tables + 1);
    IntBuffer segmentTable = ints(address(tables), 4L * segments);
    IntBuffer heads = ints(address(tables + 2), 2L * segments * kvHeads);
    for (int segment = 0; segment < segments; segment++) {
      int first = segmentTable.get(4 * segment + 2);
      int end = first + segmentTable.get(4 * segment + 1);
      for (int head = segment * kvHeads; head < (segment + 1) * kvHeads; head++) {
        IntBuffer entries = entries(address(tables + 3), heads, head);
        for (int i = 0; i < heads.get(2 * head + 1); i++) {
          int position = entries.get(2 * i + 1);
          if (position < end && position + pageTokens > first) {
            page(address(tables + 4), entries.get(2 * i), pageBytes, true);
          }
        }
      }
    }
  }

  private static IntBuffer entries(long pages, IntBuffer heads, int head) {
    return ints(pages + 8L * heads.get(2 * head), 2L * heads.get(2 * head + 1));
  }

  private void attendDecode() {
    int pageBytes = 4 * number(6) * number(3);
    IntBuffer parts = ints(address(10), 4L * launch.gridX());
    int heads = 0;
    for (int i = 0; i < launch.gridX(); i++) {
      heads = Math.max(heads, parts.get(4 * i) + 1);
    }
    IntBuffer headTable = ints(address(8), 2L * heads);
    for (int i = 0; i < launch.gridX(); i++) {
      IntBuffer entries = entries(address(9), headTable, parts.get(4 * i));
      for (int page = parts.get(4 * i + 1); page < parts.get(4 * i + 2); page++) {
        page(address(11), entries.get(2 * page), pageBytes, false);
      }
    }
  }

  private void attendPrefill() {
    int pageBytes = 4 * number(6) * number(3);
    int heads = launch.gridY() * launch.gridZ();
    IntBuffer headTable = ints(address(8), 2L * heads);
    for (int head = 0; head < heads; head++) {
      IntBuffer entries = entries(address(9), headTable, head);
      for (int page = 0; page < headTable.get(2 * head + 1); page++) {
        page(address(10), entries.get(2 * page), pageBytes, false);
      }
    }
  }

  private void sketchKeys() {
    int pageBytes = 4 * number(1) * number(2);
    IntBuffer jobs = ints(address(7), 4L * launch.gridX());
    for (int i = 0; i < launch.gridX(); i++) {
      page(address(0), jobs.get(4 * i + 2), pageBytes, false);
    }
  }

  private void sketchCentre() {
    int pageBytes = 4 * number(1) * number(2);
    IntBuffer ranges = ints(address(4), 2L * launch.gridX() + 2);
    int slots = ranges.get(2 * launch.gridX() + 1);
    IntBuffer table = ints(address(5), 2L * slots);
    for (int i = 0; i < slots; i++) {
      page(address(0), table.get(2 * i), pageBytes, false);
    }
  }
}
