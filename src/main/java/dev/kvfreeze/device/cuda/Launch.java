package dev.kvfreeze.device.cuda;

import java.util.Arrays;

/**
 * One kernel launch. Equal launches do the same to the same memory, so a sequence of them may be
 * replayed.
 *
 * @param arguments in the kernel's order; an int or a float lies in the low 32 bits
 */
record Launch(
    CudaDriver.Function function,
    int gridX,
    int gridY,
    int gridZ,
    int blockX,
    int blockY,
    int sharedBytes,
    long[] arguments) {

  @Override
  public boolean equals(Object other) {
    return other instanceof Launch o
        && function == o.function
        && gridX == o.gridX
        && gridY == o.gridY
        && gridZ == o.gridZ
        && blockX == o.blockX
        && blockY == o.blockY
        && sharedBytes == o.sharedBytes
        && Arrays.equals(arguments, o.arguments);
  }

  @Override
  public int hashCode() {
    int shape = ((gridX * 31 + gridY) * 31 + gridZ) * 31 + blockX * 7 + blockY;
    return (System.identityHashCode(function) * 31 + shape) * 31 + Arrays.hashCode(arguments);
  }

  @Override
  public String toString() {
    return "%s<<<(%d, %d, %d), (%d, %d), %d bytes>>>"
        .formatted(function.name(), gridX, gridY, gridZ, blockX, blockY, sharedBytes);
  }
}
