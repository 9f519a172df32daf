package dev.kvfreeze.freeze;

import java.util.Arrays;

/** The state of {@link AdaptivePolicy} for one sequence. */
final class AdaptiveSequence implements SequencePolicy {
  /** Decode steps between two looks at how much of a head's attention its pages cover. */
  private static final int COVER_INTERVAL = 16;

  /** How far above the level a page must be to be thawed before its hold has ended. */
  private static final float BREAKS_HOLD = 4;

  /** Most pages that a head thaws in one step: more would be noise of the sketches. */
  private static final int RECALLS_PER_STEP = 4;

  /** Looks after which every page is scored again. */
  private static final int MOST_LOOKS = 16;

  /** Most of the attention that pages not looked at are taken to get. */
  private static final float MOST_UNASKED = 0.5f;

  /** Share of a page's importance that outlasts a chunk of a prompt. */
  private static final float CHUNK_CARRY = 0.5f;

  private final PolicyOptions options;
  private final CacheShape shape;
  private final FreezeSchedule schedule;
  private final float carry;
  private final boolean exactPrefill;
  private final float thawFactor;
  private final float readAhead;
  private final AdaptiveHead[] heads;
  private final MassHistogram importances = new MassHistogram();
  private final BestPages wanted = new BestPages(RECALLS_PER_STEP);
  private float[] sorted = {};

  /** Importance below which the cap has no room. */
  private float level;

  /** Active pages that may be frozen, and those that may not, counted while heads are observed. */
  private long freezable;

  private long kept;
  private int step;

  AdaptiveSequence(PolicyOptions options, CacheShape shape) {
    this.options = options;
    this.shape = shape;
    this.schedule = new FreezeSchedule(options.softness());
    this.carry = (float) options.adaptive().carry();
    this.exactPrefill = options.adaptive().prefill() == PrefillMode.EXACT;
    this.thawFactor = 1 + (float) options.adaptive().margin();
    this.readAhead = (float) options.adaptive().readAhead();
    this.heads = new AdaptiveHead[shape.heads()];
    for (int i = 0; i < heads.length; i++) {
      heads[i] = new AdaptiveHead();
    }
  }

  /** Active tokens that the cap allows, mean over the heads; never less than what must stay. */
  static double budgetTokens(PolicyOptions options, CacheShape shape, int length) {
    double needed = options.sinkTokens() + options.recentTokens() + 3.0 * shape.pageTokens();
    double least = Math.max(needed, options.adaptive().leastTokens());
    return Math.max(least, options.adaptive().cap().activeTokens(length, shape));
  }

  /** The same where short contexts are left whole, unless there is no memory for that. */
  static double allowedTokens(PolicyOptions options, CacheShape shape, int length) {
    int whole = options.adaptive().wholeTokens();
    double capped = budgetTokens(options, shape, length);
    boolean sparing = length <= whole && options.adaptive().cap().share() == 1;
    return sparing ? Math.max(whole, capped) : capped;
  }

  /** Whether so many tokens are allowed, with room for as many as shall be observed before. */
  static boolean sleeps(PolicyOptions options, CacheShape shape, int tokens) {
    return options.adaptive().keepMass() == 1
        && tokens + AdaptivePolicy.OBSERVED_TOKENS + shape.pageTokens()
            <= allowedTokens(options, shape, tokens);
  }

  @Override
  public boolean sleeps(int tokens) {
    return sleeps(options, shape, tokens);
  }

  /** Pages of all heads together. */
  private long budgetPages(int length) {
    return (long) (allowedTokens(options, shape, length) * heads.length / shape.pageTokens());
  }

  /** While more of the prompt is to come nothing is decided: all of it passes through. */
  private boolean reads(StepKind kind) {
    return exactPrefill && (kind == StepKind.PREFILL || kind == StepKind.CONTEXT);
  }

  /** All pages had part in this step, so that it chooses anew. */
  private boolean chooses(StepKind kind) {
    return exactPrefill && kind == StepKind.QUESTION;
  }

  @Override
  public boolean streams(int tokens) {
    return exactPrefill
        && !(options.adaptive().cap() instanceof FreezeCap.None)
        && tokens + shape.pageTokens() > allowedTokens(options, shape, tokens);
  }

  @Override
  public boolean wantsEstimates(int layer, StepKind kind) {
    if (kind != StepKind.DECODE) {
      return !exactPrefill;
    }
    return (step + layer) % options.adaptive().recallInterval() == 0;
  }

  private boolean asksSome() {
    return options.adaptive().lookSpacing() > 0;
  }

  @Override
  public void ask(int index, StepKind kind, HeadView view, PageQuestions questions) {
    AdaptiveHead head = heads[index];
    int pages = view.pageCount();
    head.ensure(pages);
    if (kind != StepKind.DECODE || !asksSome()) {
      questions.askAll();
      head.askAll();
      return;
    }
    head.listDue(step, pages);
    questions.ask(head.due, head.dueCount, Math.min(MOST_UNASKED, head.unasked));
  }

  /**
   * Steps until a frozen page is scored again. The square root is that of the schedule by which the
   * paper freezes: what is ignored is left alone for longer, though not in proportion.
   */
  private int stepsToNextLook(int page, boolean first, float importance, float bar) {
    double spacing = options.adaptive().lookSpacing();
    if (!(importance < bar)) {
      return 1;
    }
    int looks = (int) Math.min(MOST_LOOKS, spacing * Math.sqrt(bar / importance));
    // Pages looked at together at first would be so for ever.
    int spread = first && looks > 1 ? 1 + page % looks : looks;
    return Math.max(1, spread * options.adaptive().recallInterval());
  }

  @Override
  public void recall(int index, HeadView view, PageMover mover) {
    AdaptiveHead head = heads[index];
    FreezablePages range = FreezablePages.of(view, options);
    head.ensure(view.pageCount());
    float bar = Math.max(level, head.cover) * thawFactor;
    wanted.clear();
    int count = head.dueCount == AdaptiveHead.ALL ? view.pageCount() : head.dueCount;
    for (int i = 0; i < count; i++) {
      int page = head.dueCount == AdaptiveHead.ALL ? i : head.due[i];
      if (page < range.first() || page >= range.end() || view.active(page)) {
        continue;
      }
      float estimate = view.estimate(page);
      float importance = head.importance[page];
      importance =
          estimate > importance
              ? (importance + estimate) / 2
              : carry * importance + (1 - carry) * estimate;
      head.importance[page] = importance;
      head.nextLook[page] = step + stepsToNextLook(page, head.nextLook[page] == 0, importance, bar);
      if (importance > bar && (importance > BREAKS_HOLD * bar || head.heldUntil[page] <= step)) {
        wanted.offer(page, importance);
      }
    }
    long budget = budgetPages(view.length());
    for (int i = 0; i < wanted.count(); i++) {
      int page = wanted.page(i);
      if (view.activePages() < budget
          || makeRoom(head, range, head.importance[page], view, mover)) {
        mover.thaw(page);
        head.nextLook[page] = step;
      }
    }
  }

  /** Freezes the least important page of a head, if it is clearly less than the one to come. */
  private boolean makeRoom(
      AdaptiveHead head, FreezablePages range, float importance, HeadView view, PageMover mover) {
    int least = -1;
    // Pages of the present chunk are not judged before they were seen.
    int end = Math.min(range.end(), head.known);
    // Of those that came back in this very step none is the least.
    for (int i = 0; i < view.listedCount(); i++) {
      int page = view.listedPage(i);
      boolean judged = page >= range.first() && page < end && view.active(page);
      if (judged && (least < 0 || head.importance[page] < head.importance[least])) {
        least = page;
      }
    }
    if (least < 0 || head.importance[least] * thawFactor >= importance) {
      return false;
    }
    freeze(head, least, view, mover);
    return !view.active(least);
  }

  @Override
  public void observe(int index, StepKind kind, HeadView view) {
    if (reads(kind)) {
      return;
    }
    AdaptiveHead head = heads[index];
    head.ensure(view.pageCount());
    FreezablePages range = FreezablePages.of(view, options);
    if (chooses(kind)) {
      choose(head, range, view);
    } else {
      follow(head, range, view, kind == StepKind.DECODE ? carry : CHUNK_CARRY);
    }
    head.known = view.pageCount();
    if (kind != StepKind.DECODE || (step + index) % COVER_INTERVAL == 0) {
      head.cover = cover(head, range);
    }
  }

  /** The last tokens of a prompt, or a full reset, saw all pages. */
  private void choose(AdaptiveHead head, FreezablePages range, HeadView view) {
    float[] importance = head.importance;
    for (int page = 0; page < view.pageCount(); page++) {
      // A full reset asks with one token; what was known before counts as much.
      importance[page] =
          head.known == 0 ? view.mass(page) : (importance[page] + view.mass(page)) / 2;
    }
    // From the end, so that what a page lends is its own.
    for (int page = view.pageCount() - 1; page > 0; page--) {
      importance[page] = Math.max(importance[page], readAhead * importance[page - 1]);
    }
    for (int page = 0; page < view.pageCount(); page++) {
      count(range, page, importance[page]);
    }
  }

  private void follow(AdaptiveHead head, FreezablePages range, HeadView view, float carried) {
    float bar = Math.max(level, head.cover) * thawFactor;
    for (int i = 0; i < view.listedCount(); i++) {
      int page = view.listedPage(i);
      float mass = view.mass(page);
      head.importance[page] =
          page < head.known ? carried * head.importance[page] + (1 - carried) * mass : mass;
      count(range, page, head.importance[page]);
      float lent = readAhead * head.importance[page];
      if (lent > bar) {
        lend(head, range, view, page + 1, lent);
      }
    }
  }

  /** A frozen page behind an important one is looked at in the next step, and thawed. */
  private void lend(AdaptiveHead head, FreezablePages range, HeadView view, int page, float lent) {
    if (page < range.end() && !view.active(page) && lent > head.importance[page]) {
      head.importance[page] = lent;
      head.nextLook[page] = step;
    }
  }

  private void count(FreezablePages range, int page, float importance) {
    if (page < range.first() || page >= range.end()) {
      kept++;
    } else {
      importances.add(importance);
      freezable++;
    }
  }

  /** The importance below which a head's pages together get no more than may be left out. */
  private float cover(AdaptiveHead head, FreezablePages range) {
    double spare = 1 - options.adaptive().keepMass();
    int count = range.end() - range.first();
    if (spare == 0 || count <= 0) {
      return 0;
    }
    if (sorted.length < count) {
      sorted = new float[2 * count];
    }
    System.arraycopy(head.importance, range.first(), sorted, 0, count);
    Arrays.sort(sorted, 0, count);
    double sum = 0;
    for (int i = 0; i < count; i++) {
      sum += sorted[i];
      if (sum > spare) {
        return sorted[i];
      }
    }
    return Float.MAX_VALUE;
  }

  @Override
  public void balance(StepKind kind, HeadView view) {
    if (reads(kind)) {
      return;
    }
    // The next step may begin a page in every head, and recall needs some room as well.
    long room = budgetPages(view.length()) - kept - heads.length;
    boolean fits = options.adaptive().cap() instanceof FreezeCap.None || freezable <= room;
    level = fits ? 0 : importances.levelOfTop(Math.max(0, room));
    importances.clear();
    freezable = 0;
    kept = 0;
    step++;
  }

  @Override
  public void step(int index, StepKind kind, HeadView view, PageMover mover) {
    if (reads(kind)) {
      return;
    }
    AdaptiveHead head = heads[index];
    FreezablePages range = FreezablePages.of(view, options);
    float bar = Math.max(level, head.cover);
    if (chooses(kind)) {
      // While the prompt streamed, sinks and recent tokens passed through as well.
      thaw(0, Math.min(range.first(), view.pageCount()), mover);
      thaw(range.end(), view.pageCount(), mover);
      for (int page = range.first(); page < range.end(); page++) {
        if (head.importance[page] >= bar) {
          mover.thaw(page);
        }
      }
    }
    for (int i = 0; i < view.listedCount(); i++) {
      int page = view.listedPage(i);
      boolean freezable = page >= range.first() && page < range.end();
      if (freezable && head.importance[page] < bar && view.active(page)) {
        freeze(head, page, view, mover);
      }
    }
    if (asksSome() && wantsEstimates(view.layer(), StepKind.DECODE)) {
      // Now, while the head's numbers are in the caches: until its turn in the next step the
      // weights push them out.
      head.listDue(step, view.pageCount());
    }
  }

  private static void thaw(int from, int to, PageMover mover) {
    for (int page = from; page < to; page++) {
      mover.thaw(page);
    }
  }

  private void freeze(AdaptiveHead head, int page, HeadView view, PageMover mover) {
    mover.freeze(page);
    if (!view.active(page)) {
      int detections = ++head.detections[page];
      head.heldUntil[page] = step + schedule.duration(detections);
      head.nextLook[page] = Math.min(head.nextLook[page], step + 1);
      head.frozenAt[page] = step;
    }
  }

  @Override
  public void recover(int index, RecoveryLevel level, HeadView view, PageMover mover) {
    AdaptiveHead head = heads[index];
    FreezablePages range = FreezablePages.of(view, options);
    head.ensure(view.pageCount());
    head.forgetDue();
    long budget = budgetPages(view.length());
    for (int page = range.first(); page < range.end(); page++) {
      head.heldUntil[page] = 0;
      head.nextLook[page] = Math.min(head.nextLook[page], step);
      if (level.compareTo(RecoveryLevel.FULL_RESET) >= 0) {
        head.detections[page] = 0;
      } else if (level == RecoveryLevel.WINDOW_RESET
          && !view.active(page)
          && head.frozenAt[page] > step - options.guard().windowSteps()
          && view.activePages() < budget) {
        mover.thaw(page);
      }
    }
  }

  @Override
  public void truncate(int pageCount) {
    for (AdaptiveHead head : heads) {
      head.known = Math.min(head.known, pageCount);
      head.forgetDue();
      if (pageCount < head.importance.length) {
        Arrays.fill(head.importance, pageCount, head.importance.length, 0);
        Arrays.fill(head.detections, pageCount, head.detections.length, 0);
        Arrays.fill(head.heldUntil, pageCount, head.heldUntil.length, 0);
        Arrays.fill(head.nextLook, pageCount, head.nextLook.length, 0);
      }
    }
  }
}
