package dev.kvfreeze.engine;

import dev.kvfreeze.device.KeySmoothing;
import dev.kvfreeze.device.SketchCalibration;

/**
 * What {@link KeyCalibrator} finds for pages of a format.
 *
 * @param sketches of the keys as they are in the pages, or {@link SketchCalibration#NONE}
 * @param smoothing of the keys before they come into the pages, or {@link KeySmoothing#NONE}
 */
public record KeyCalibration(SketchCalibration sketches, KeySmoothing smoothing) {
  static final KeyCalibration NONE = new KeyCalibration(SketchCalibration.NONE, KeySmoothing.NONE);
}
