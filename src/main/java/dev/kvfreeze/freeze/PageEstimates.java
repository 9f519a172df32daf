package dev.kvfreeze.freeze;

/** What {@link HeadView#estimate} is made of in decode steps. */
public enum PageEstimates {
  /** There are none: the policy looks at what was attended to only. */
  NONE,
  /** A sketch of every key. */
  SKETCHES,
  /** The smallest and largest value of each dimension of a page's keys. */
  BOXES,
  /** The attention itself, computed over all pages first; needs all of them on the device. */
  ATTENTION
}
