package dev.kvfreeze.device.cpu;

/** Prefill attention in float32 ({@code prefill_attention.c}), with AVX2 or AVX-512. */
final class FloatPrefillKernels implements PrefillKernels {
  @Override
  public native int scratchFloats(int headSize, int rows);

  @Override
  public native void begin(
      int[] call, float[] scratch, float[] x, int offset, int stride, float scale);

  @Override
  public native void attend(int[] call, float[] scratch, int[][] slabs, int slabCount);

  @Override
  public native void addMass(
      int[] call, float[] scratch, int[][] slabs, int slabCount, float[] masses, int firstPage);

  @Override
  public native void finish(int[] call, float[] scratch, float[] results);
}
