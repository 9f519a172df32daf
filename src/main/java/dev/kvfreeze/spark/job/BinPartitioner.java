package dev.kvfreeze.spark.job;

import org.apache.spark.Partitioner;

/** Sends each document to the task that the plan gave it to. */
final class BinPartitioner extends Partitioner {
  private static final long serialVersionUID = 1;

  private final int bins;

  BinPartitioner(int bins) {
    this.bins = bins;
  }

  @Override
  public int numPartitions() {
    return bins;
  }

  @Override
  public int getPartition(Object place) {
    return ((TaskPlace) place).bin();
  }
}
