package dev.kvfreeze.device.cpu;

/**
 * Prefill attention with AVX-512's products of 16-bit numbers ({@code prefill_attention_bf16.c}):
 * scores are nearly those of float32, weights are rounded to bfloat16, so a result is within 2^-8
 * of the mean distance between it and the values it averages.
 */
final class ShortPrefillKernels implements PrefillKernels {
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
