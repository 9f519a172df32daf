package dev.kvfreeze.device.cpu;

import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.OR;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The one vector width of this JVM, and the conversions that several kernels share. Mixing widths
 * would make the compiler's type profiles useless, and vectors would be boxed.
 */
final class Vectors {
  /** At most 512 bits: register blocks are made for 8 or 16 lanes. */
  static final VectorSpecies<Float> FLOATS =
      FloatVector.SPECIES_PREFERRED.length() > 16
          ? FloatVector.SPECIES_512
          : FloatVector.SPECIES_PREFERRED;

  static final VectorSpecies<Integer> INTS =
      IntVector.SPECIES_PREFERRED.length() > 16
          ? IntVector.SPECIES_512
          : IntVector.SPECIES_PREFERRED;

  static final int LANES = FLOATS.length();

  private Vectors() {}

  /**
   * The finite half-precision float in the low 16 bits of each lane, exactly.
   *
   * <p>Like all conversions here it ends in an operation whose receiver is not a reinterpreted
   * vector: JDK 17 boxes those in some JVM runs.
   */
  static FloatVector lowHalves(IntVector words) {
    IntVector magnitude = words.lanewise(AND, 0x7fff).lanewise(LSHL, 13);
    IntVector sign = words.lanewise(AND, 0x8000).lanewise(LSHL, 16);
    return FloatVector.broadcast(FLOATS, HalfFloats.REBIAS)
        .lanewise(MUL, magnitude.lanewise(OR, sign).reinterpretAsFloats());
  }

  /** The finite half-precision float in the high 16 bits of each lane, exactly. */
  static FloatVector highHalves(IntVector words) {
    return lowHalves(words.lanewise(LSHR, 16));
  }

  /** The floats whose bits the lanes are. */
  static FloatVector floats(IntVector bits) {
    return FloatVector.broadcast(FLOATS, 1).lanewise(MUL, bits.reinterpretAsFloats());
  }
}
