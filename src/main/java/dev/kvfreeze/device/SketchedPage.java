package dev.kvfreeze.device;

/**
 * A full page whose keys are to be sketched.
 *
 * @param target with room for it ({@link KeySketches#ensure})
 * @param page number in the sequence
 * @param slot where its keys lie
 */
public record SketchedPage(KeySketches target, int page, int slot) {}
