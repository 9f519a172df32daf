package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.tensor.TensorType;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Watches one device for kernels that the JVM compiled badly: a {@link KernelSelfCheck} at the
 * start, and again and again the bytes that the threads of real decode steps allocate, since a
 * kernel can turn bad later than the check. Engine thread only, but for {@link #verdict}.
 */
final class KernelWatch {
  /** For all operations together; what is not compiled by then is judged by the decode steps. */
  private static final long START_MILLIS = 800;

  /** The same between two steps, where nearly all are compiled. */
  private static final long CONFIRM_MILLIS = 300;

  /** Decode products until kernels are compiled as a rule, a hundred steps of a small model. */
  static final int WARM_PRODUCTS = 15_000;

  /** From a first window that was bad to the next: by then all kernels must be compiled. */
  static final int PRODUCTS_TO_SECOND_LOOK = 25_000;

  static final int WINDOW_PRODUCTS = 10_000;
  private static final int PRODUCTS_BETWEEN_WINDOWS = 200_000;

  /**
   * Of a decode product and all that follows until the next; boxes of a kernel are many times it.
   */
  private static final long ALLOWED_BYTES_PER_PRODUCT = 2048;

  /** The engine's own thread makes lists and rows besides, so that it may allocate more. */
  private static final long ALLOWED_BYTES_ALONE = 16_384;

  private static final String REMEDY =
      "Results are right, but slow. Start the JVM again; if it lasts, see that the C2 compiler is on"
          + " (no -Xint, no -XX:TieredStopAtLevel) and the code cache large enough"
          + " (-XX:ReservedCodeCacheSize=240m), or take another Java version: 17 and 25 are measured.";

  private static final System.Logger LOGGER = System.getLogger(KernelWatch.class.getName());

  private final KernelProvider provider;
  private final WorkerPool pool;
  private final KeptChecks kept;
  private final Set<TensorType> types = EnumSet.noneOf(TensorType.class);
  private ModelSpec spec;
  private PageLayout layout;
  private int sketchPlanes;
  private int untilWindow = WARM_PRODUCTS;
  private int leftInWindow;
  private boolean first = true;
  private long bytesBefore;

  /** Allocated when products of many rows began within a window; below 0 outside of them. */
  private long bytesBeforePrefill = -1;

  private volatile String verdict;

  /**
   * @param kept earlier checks, or null to check at every start
   */
  KernelWatch(KernelProvider provider, WorkerPool pool, KeptChecks kept) {
    this.provider = provider;
    this.pool = pool;
    this.kept = kept;
    this.verdict = vectors() ? "not checked yet" : "good: scalar kernels need no check";
  }

  private boolean vectors() {
    return !provider.name().equals("scalar");
  }

  /** A matrix of this type is on the device. */
  void uses(TensorType type) {
    types.add(type);
  }

  /** Begins with {@code good}, or names the kernels and the remedy; any thread. */
  String verdict() {
    return verdict;
  }

  /** Checks every operation of the model for a moment, unless that is known to be well. */
  void start(ModelSpec spec, PageLayout layout, int sketchPlanes) {
    this.spec = spec;
    this.layout = layout;
    this.sketchPlanes = sketchPlanes;
    if (!vectors()) {
      return;
    }
    Optional<LocalDate> before = kept == null ? Optional.empty() : kept.passed(checked());
    if (before.isPresent()) {
      verdict = "good when checked on " + before.get();
      LOGGER.log(System.Logger.Level.DEBUG, "Kernels were " + verdict);
      return;
    }
    List<KernelSelfCheck.Finding> pending = boxed(START_MILLIS);
    if (kept != null && pending.isEmpty()) {
      kept.keep(checked());
    }
    verdict =
        pending.isEmpty()
            ? "good"
            : "good so far, not compiled within "
                + START_MILLIS
                + " ms: "
                + pending.stream().map(f -> f.kernel()).collect(Collectors.joining(", "));
    LOGGER.log(System.Logger.Level.DEBUG, "Kernels at the start: " + verdict);
  }

  /** What the candidates are made from. */
  private String checked() {
    ModelSpec.LayerSpec layer = spec.layers().get(0);
    return String.join(
        "\n",
        "matrices " + types,
        "attention " + layer.attention(),
        "pages " + layout,
        "sketches " + sketchPlanes,
        "activation " + spec.activation(),
        "rope " + layer.rope().pairing() + " " + layer.rope().inverseFrequencies().length);
  }

  private List<KernelSelfCheck.Finding> boxed(long limitMillis) {
    try (KernelCandidates candidates = new KernelCandidates(provider)) {
      candidates
          .products(types)
          .attention(spec.layers().get(0).attention(), layout)
          .elementwise(spec.activation(), spec.layers().get(0).rope());
      if (sketchPlanes > 0) {
        candidates.sketches(spec.layers().get(0).attention(), layout, sketchPlanes);
      }
      return KernelSelfCheck.run(candidates.all(), limitMillis).stream()
          .filter(KernelSelfCheck.Finding::boxed)
          .toList();
    }
  }

  /** A prompt is read: what that allocates, such as room for a longer one, is not counted. */
  void prefillProduct() {
    if (leftInWindow > 0 && bytesBeforePrefill < 0) {
      bytesBeforePrefill = allocatedBytes();
    }
  }

  /** One more decode product was computed. Costs a subtraction, but for the ends of a window. */
  void decodeProduct() {
    if (bytesBeforePrefill >= 0) {
      bytesBefore += allocatedBytes() - bytesBeforePrefill;
      bytesBeforePrefill = -1;
    }
    if (leftInWindow > 0) {
      if (--leftInWindow == 0) {
        closeWindow((allocatedBytes() - bytesBefore) / WINDOW_PRODUCTS);
      }
    } else if (--untilWindow == 0) {
      bytesBefore = allocatedBytes();
      leftInWindow = WINDOW_PRODUCTS;
    }
  }

  private void closeWindow(long bytesPerProduct) {
    // A busy machine may not have compiled all by the first window.
    boolean tooEarly = first && bytesPerProduct > allowedBytes();
    first = false;
    untilWindow = tooEarly ? PRODUCTS_TO_SECOND_LOOK : PRODUCTS_BETWEEN_WINDOWS;
    if (!tooEarly) {
      judge(bytesPerProduct);
    }
  }

  private long allowedBytes() {
    return pool.threads() > 1 ? ALLOWED_BYTES_PER_PRODUCT : ALLOWED_BYTES_ALONE;
  }

  private long allocatedBytes() {
    return pool.threads() > 1
        ? pool.allocatedBytes()
        : KernelSelfCheck.allocatedBytes(Thread.currentThread().getId());
  }

  void judge(long bytesPerProduct) {
    if (!vectors() || spec == null) {
      return;
    }
    if (bytesPerProduct <= allowedBytes()) {
      // Decode steps do not show the kernels of prefill; all are compiled by now.
      if (kept != null && !verdict.equals("good") && boxed(CONFIRM_MILLIS).isEmpty()) {
        kept.keep(checked());
      }
      verdict = "good";
      return;
    }
    List<String> names = new ArrayList<>();
    // By now they are compiled, well or badly: a moment of each is enough.
    boxed(START_MILLIS).forEach(finding -> names.add(finding.toString()));
    if (kept != null) {
      kept.forget(checked());
    }
    String before = verdict;
    verdict =
        String.format(
            Locale.ROOT,
            "compiled badly: decode allocates %,d bytes a product; %s. %s",
            bytesPerProduct,
            names.isEmpty() ? "which kernel does is not known" : String.join(", ", names),
            REMEDY);
    if (before.startsWith("good")) {
      LOGGER.log(System.Logger.Level.WARNING, "Kernels were " + verdict);
    }
  }
}
