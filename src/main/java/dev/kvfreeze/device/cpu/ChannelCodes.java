package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchChannels;

/** Codes of one key in the dimensions of {@link SketchChannels}: the plain form of what C does. */
final class ChannelCodes {
  /** A larger key than this is cut. */
  private static final float MOST_STEP = 1e30f;

  private ChannelCodes() {}

  /** Encodes the centred key {@code x[from..]} as that of a token. */
  static void encode(float[] x, int from, KeySketches target, int token) {
    SketchChannels channels = target.channels();
    float step = step(x, from, channels);
    target.steps[token] = (short) (Float.floatToRawIntBits(step) >>> 16);
    float inverse = 1 / step;
    int index = 0;
    int word = 0;
    for (int entry = 0; entry < channels.keptDimensions().length; entry++) {
      int codes = channels.keptCodes()[entry];
      float half = 1 << 2 * codes - 1;
      float level =
          x[from + channels.keptDimensions()[entry]] * channels.inverseWidths()[entry] * inverse
              + half;
      float top = 2 * half - 1;
      int code = (int) (level >= 0 ? (level <= top ? level : top) : 0);
      for (int place = codes - 1; place >= 0; place--, index++) {
        word |= (code >>> 2 * place & 3) << index % 16 * 2;
        if (index % 16 == 15) {
          target.bits[target.wordAt(token, index)] = word ^ Integer.MIN_VALUE;
          word = 0;
        }
      }
    }
    if (index % 16 != 0) {
      target.bits[target.wordAt(token, index)] = word;
    }
  }

  /** At least 1, and such that no dimension is cut; a bfloat16 number, rounded up. */
  private static float step(float[] x, int from, SketchChannels channels) {
    float step = 1;
    for (int entry = 0; entry < channels.keptDimensions().length; entry++) {
      float half = 1 << 2 * channels.keptCodes()[entry] - 1;
      float reach =
          Math.abs(x[from + channels.keptDimensions()[entry]])
              * channels.inverseWidths()[entry]
              * (1 / half);
      step = reach > step ? reach : step;
    }
    step = step < MOST_STEP ? step : MOST_STEP;
    return Float.intBitsToFloat(Float.floatToRawIntBits(step) + 0xffff & 0xffff0000);
  }
}
