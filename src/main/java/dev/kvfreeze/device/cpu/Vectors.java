package dev.kvfreeze.device.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The one vector width of this JVM. Mixing widths would make the compiler's type profiles useless,
 * and vectors would be boxed.
 *
 * <p>There are no helpers here that take or return vectors, on purpose: once such a helper has been
 * compiled by itself, a caller that is compiled later may call it instead of inlining it, and boxes
 * whatever passes between them. Which comes first differs from one JVM run to the next.
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

  /** Two shorts where {@link #INTS} has one lane. */
  static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class, FLOATS.vectorShape());

  static final int LANES = FLOATS.length();

  private Vectors() {}
}
