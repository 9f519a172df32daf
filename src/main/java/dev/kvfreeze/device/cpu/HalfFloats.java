package dev.kvfreeze.device.cpu;

/** Constants by which the vector kernels turn IEEE 754 binary16 into float32. */
final class HalfFloats {
  /** Turns the exponent of a shifted half into a float's; subnormal halves come out right too. */
  static final float REBIAS = 0x1p112f;

  /**
   * The bits that remain of a half in the high 16 bits of a word after an arithmetic shift by 3:
   * sign, exponent and mantissa where a float has them. Times {@link #REBIAS} they are the half.
   */
  static final int SHIFTED_HALF = 0x8fff_e000;

  private HalfFloats() {}
}
