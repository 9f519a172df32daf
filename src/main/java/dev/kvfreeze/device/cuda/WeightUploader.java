package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.tensor.Dequantizer;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.stream.IntStream;

/**
 * Makes a model file's tensors resident: matrices in tiles that keep their quantised bits, packed
 * on all cores into one half of pinned memory while the other half is copied; vectors as floats.
 */
final class WeightUploader implements AutoCloseable {
  private static final long HALF_BYTES = 32L << 20;

  private final GpuWork work;
  private final PinnedMemory[] pinned = new PinnedMemory[2];
  private final CudaDriver.Event[] copied = new CudaDriver.Event[2];
  private int half;

  WeightUploader(GpuWork work) {
    this.work = work;
    for (int i = 0; i < 2; i++) {
      pinned[i] = work.driver.allocatePinned(HALF_BYTES);
      copied[i] = work.driver.newEvent(CudaDriver.EventTiming.OFF);
    }
  }

  /** See {@link dev.kvfreeze.device.Device#weight}. */
  Weight upload(TensorData tensor) {
    return tensor.rows() == 1 ? vector(tensor) : matrix(tensor);
  }

  private CudaWeight vector(TensorData tensor) {
    float[] values = new float[tensor.columns()];
    Dequantizer.dequantize(tensor, 0, values, 0);
    for (float value : values) {
      if (!Float.isFinite(value)) {
        throw new IllegalArgumentException(
            "tensor "
                + tensor.name()
                + ": a value is not a finite number; the model file is damaged, download it again");
      }
    }
    long bytes = 4L * values.length;
    long address = work.memory.take("weights", bytes);
    for (int from = 0; from < values.length; ) {
      int count = (int) Math.min(values.length - from, HALF_BYTES / 4);
      FloatBuffer target = free().asFloatBuffer();
      target.put(values, from, count);
      send(address + 4L * from, 4L * count);
      from += count;
    }
    return new CudaWeight(tensor.name(), 1, tensor.columns(), TensorType.F32, address, bytes);
  }

  private CudaWeight matrix(TensorData tensor) {
    int columns = WeightTiles.recordColumns(tensor.type());
    if (tensor.columns() % columns != 0) {
      throw new IllegalArgumentException(
          "tensor "
              + tensor.name()
              + " has "
              + tensor.columns()
              + " columns; the GPU's kernels take multiples of "
              + columns
              + ", use engine.device=cpu");
    }
    int tiles = WeightTiles.tiles(tensor);
    long tileBytes = WeightTiles.tileBytes(tensor);
    long address = work.memory.take("weights", tiles * tileBytes);
    int together = (int) (HALF_BYTES / tileBytes);
    if (together == 0) {
      throw new IllegalArgumentException(
          "tensor " + tensor.name() + " has rows of " + tensor.columns() + " values, too long");
    }
    for (int from = 0; from < tiles; from += together) {
      int first = from;
      int count = Math.min(together, tiles - from);
      ByteBuffer target = free();
      int chunks = Math.min(count, 4 * Runtime.getRuntime().availableProcessors());
      IntStream.range(0, chunks)
          .parallel()
          .forEach(
              chunk -> {
                WeightTiles packer = new WeightTiles(tensor);
                int end = (int) ((chunk + 1L) * count / chunks);
                for (int i = (int) ((long) chunk * count / chunks); i < end; i++) {
                  packer.pack(first + i, target, (int) (i * tileBytes));
                }
              });
      send(address + first * tileBytes, count * tileBytes);
    }
    return new CudaWeight(
        tensor.name(), tensor.rows(), tensor.columns(), tensor.type(), address, tiles * tileBytes);
  }

  /** The half that is not on its way. */
  private ByteBuffer free() {
    half = 1 - half;
    work.driver.synchronize(copied[half]);
    return pinned[half].view();
  }

  private void send(long address, long bytes) {
    work.driver.copy(address, pinned[half].address(), bytes, work.computeStream);
    work.driver.record(copied[half], work.computeStream);
  }

  @Override
  public void close() {
    for (int i = 0; i < 2; i++) {
      work.driver.synchronize(copied[i]);
      work.driver.close(copied[i]);
      work.driver.free(pinned[i]);
    }
  }
}
