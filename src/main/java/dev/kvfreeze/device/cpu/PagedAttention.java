package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.ArrayList;
import java.util.List;

/** Attention over pages for the engine's one thread: sends segments to decode or to prefill. */
final class PagedAttention {
  private final KvWriter writer;
  private final DecodeAttention decode;
  private final PrefillAttention prefill;

  /** With these kernels alone, none in native code. */
  PagedAttention(WorkerPool pool, AttentionKernels kernels) {
    this(pool, kernels, NativeLevel.NONE);
  }

  PagedAttention(WorkerPool pool, AttentionKernels kernels, NativeLevel level) {
    writer = new KvWriter(pool, level);
    decode = new DecodeAttention(pool, kernels, level);
    prefill = new PrefillAttention(pool, kernels, level);
  }

  /** Whether kernels in C attend to such pages. */
  boolean knowsNatively(PageLayout layout) {
    return decode.knowsNatively(layout);
  }

  /** See {@link dev.kvfreeze.device.Device#writeKv}. */
  void writeKv(
      CpuActivations keys,
      CpuActivations values,
      AttentionShape shape,
      CpuPageMemory memory,
      List<AttentionSegment> segments) {
    checkShape(shape, memory);
    writer.write(keys, values, shape, memory, segments);
  }

  /** See {@link dev.kvfreeze.device.Device#attend}. */
  void attend(
      CpuActivations queries,
      AttentionShape shape,
      CpuPageMemory memory,
      List<AttentionSegment> segments,
      CpuActivations out) {
    checkShape(shape, memory);
    List<AttentionSegment> rows = new ArrayList<>();
    List<AttentionSegment> chunks = new ArrayList<>();
    for (AttentionSegment segment : segments) {
      (segment.rowCount() == 1 ? rows : chunks).add(segment);
    }
    if (!rows.isEmpty()) {
      decode.attend(queries, shape, memory, rows, out);
    }
    if (!chunks.isEmpty()) {
      prefill.attend(queries, shape, memory, chunks, out);
    }
  }

  private static void checkShape(AttentionShape shape, CpuPageMemory memory) {
    if (shape.headSize() != memory.layout().headSize()) {
      throw new IllegalArgumentException(
          "the layer's heads have "
              + shape.headSize()
              + " dimensions, the pages' "
              + memory.layout().headSize());
    }
    if (shape.kvHeads() < 1 || shape.heads() % shape.kvHeads() != 0) {
      throw new IllegalArgumentException(
          shape.heads() + " query heads are no multiple of " + shape.kvHeads() + " KV heads");
    }
  }
}
