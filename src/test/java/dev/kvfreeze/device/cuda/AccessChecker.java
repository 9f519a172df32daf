package dev.kvfreeze.device.cuda;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Whether accesses to memory are ordered: for each piece of memory the last write and the reads
 * since, with the vector clocks of the work that made them.
 */
final class AccessChecker {
  /** Accesses are told apart by pieces of this size. */
  private static final int PIECE = 256;

  private static final int MOST_PROBLEMS = 50;

  private record Access(String work, int stream, int at) {
    /** Whether work with this clock comes after. */
    boolean before(int[] clock) {
      return clock[stream] >= at;
    }
  }

  private static final class Piece {
    Access write;
    final Map<Integer, Access> reads = new HashMap<>();
  }

  private final Map<Long, Piece> pieces = new HashMap<>();
  private final List<String> problems = new ArrayList<>();
  private String work;
  private int stream;
  private int[] clock;

  List<String> problems() {
    return List.copyOf(problems);
  }

  void report(String problem) {
    if (problems.size() < MOST_PROBLEMS) {
      problems.add(problem);
    }
  }

  /** The accesses that follow are those of this work. */
  void begin(String name, int onStream, int[] at) {
    work = name;
    stream = onStream;
    clock = at;
  }

  void reads(long address, long bytes) {
    for (long key = address / PIECE; key <= (address + bytes - 1) / PIECE; key++) {
      Piece piece = pieces.computeIfAbsent(key, k -> new Piece());
      if (piece.write != null && !piece.write.before(clock)) {
        report(work + " reads what " + piece.write.work() + " may still write");
      }
      piece.reads.put(stream, new Access(work, stream, clock[stream]));
    }
  }

  void writes(long address, long bytes) {
    for (long key = address / PIECE; key <= (address + bytes - 1) / PIECE; key++) {
      Piece piece = pieces.computeIfAbsent(key, k -> new Piece());
      if (piece.write != null && !piece.write.before(clock)) {
        report(work + " writes what " + piece.write.work() + " may still write");
      }
      for (Access read : piece.reads.values()) {
        if (!read.before(clock)) {
          report(work + " writes what " + read.work() + " may still read");
        }
      }
      piece.reads.clear();
      piece.write = new Access(work, stream, clock[stream]);
    }
  }

  /** Memory is given back by the host, which knows that work of this clock is done. */
  void freed(String what, long address, long bytes, int[] hostClock) {
    long first = address / PIECE;
    long last = (address + bytes - 1) / PIECE;
    pieces
        .entrySet()
        .removeIf(
            entry -> {
              if (entry.getKey() < first || entry.getKey() > last) {
                return false;
              }
              Piece piece = entry.getValue();
              if (piece.write != null && !piece.write.before(hostClock)) {
                report(what + " is freed while " + piece.write.work() + " may still write it");
              }
              for (Access read : piece.reads.values()) {
                if (!read.before(hostClock)) {
                  report(what + " is freed while " + read.work() + " may still read it");
                }
              }
              return true;
            });
  }
}
