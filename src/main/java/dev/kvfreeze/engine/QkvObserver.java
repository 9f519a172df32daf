package dev.kvfreeze.engine;

import dev.kvfreeze.device.QkvRows;

/** Sees the queries and keys of each layer of a pass as the attention sees them. */
interface QkvObserver {
  void observe(int layer, QkvRows rows);
}
