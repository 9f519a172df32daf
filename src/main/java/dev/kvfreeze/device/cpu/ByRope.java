package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.Rope;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Tables for each of a model's ropes; of the few that a model has, the newest are kept. */
final class ByRope<T> {
  private static final int MOST = 8;

  private record Entry<T>(Rope rope, T tables) {}

  private final Function<Rope, T> maker;
  private final List<Entry<T>> entries = new ArrayList<>();

  ByRope(Function<Rope, T> maker) {
    this.maker = maker;
  }

  T of(Rope rope) {
    for (Entry<T> entry : entries) {
      if (entry.rope() == rope || entry.rope().equals(rope)) {
        return entry.tables();
      }
    }
    if (entries.size() == MOST) {
      entries.remove(0);
    }
    Entry<T> made = new Entry<>(rope, maker.apply(rope));
    entries.add(made);
    return made.tables();
  }
}
