package dev.kvfreeze.freeze;

/** Where a policy's decisions go. Page numbers are logical, of the head being decided. */
public interface PageMover {
  /** Frees the page's device memory; a page already frozen or not yet full is left as it is. */
  void freeze(int page);

  /** Brings a frozen page back; an active page is left as it is. */
  void thaw(int page);

  /** Leaves the page out of the attention until it is included again; it stays on the device. */
  default void exclude(int page) {
    throw new UnsupportedOperationException("pages can be frozen here, not excluded");
  }

  /** Lets a page that was excluded have part in the attention again. */
  default void include(int page) {}
}
