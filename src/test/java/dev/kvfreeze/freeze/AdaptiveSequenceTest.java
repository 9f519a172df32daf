package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The joint choice, the cap and the recall, on tables without a model. */
class AdaptiveSequenceTest {
  private static final int PAGE = 4;
  private static final CacheShape SHAPE = new CacheShape(1, 2, PAGE, 1024, 0);

  @Test
  void theSharpHeadKeepsLittleAndTheDiffuseOneTheRest() {
    Sequence sequence = new Sequence("160", 400);
    // Head 0 looks at one page, head 1 at all alike.
    sequence.mass(0, 30, 0.9f);
    for (int page = 0; page < 100; page++) {
      sequence.mass(1, page, 0.01f + 0.00001f * (page % 17));
    }
    sequence.step(StepKind.QUESTION);
    assertThat(sequence.active(0, 30)).isTrue();
    assertThat(sequence.activePages(0)).isLessThan(20);
    assertThat(sequence.activePages(1)).isGreaterThan(50);
    assertThat(sequence.activePages(0) + sequence.activePages(1)).isLessThanOrEqualTo(80);
  }

  @Test
  void aFrozenPageThatItsSketchPraisesComesBackAtOnceEvenWhenTheCapIsReached() {
    Sequence sequence = new Sequence("80", 400);
    for (int page = 0; page < 100; page++) {
      sequence.mass(0, page, page < 50 ? 0.015f : 0.001f);
      sequence.mass(1, page, page < 50 ? 0.015f : 0.001f);
    }
    sequence.step(StepKind.QUESTION);
    assertThat(sequence.active(0, 70)).isFalse();
    int before = sequence.activePages(0) + sequence.activePages(1);
    sequence.estimates[0][70] = 0.4f;
    sequence.recall();
    assertThat(sequence.active(0, 70)).isTrue();
    sequence.recall();
    assertThat(sequence.activePages(0) + sequence.activePages(1)).isBetween(before, 40);
  }

  @Test
  void thePageBehindAnImportantOneIsThereBeforeItIsAskedFor() {
    for (double readAhead : new double[] {0, 0.5}) {
      Sequence sequence = new Sequence("80", 400, 1, readAhead);
      for (int page = 0; page < 100; page++) {
        sequence.mass(0, page, page % 2 == 0 ? 0.01f : 0.001f);
        sequence.mass(1, page, page % 2 == 0 ? 0.01f : 0.001f);
      }
      sequence.mass(0, 40, 0.3f);
      sequence.step(StepKind.QUESTION);
      assertThat(sequence.active(0, 40)).isTrue();
      assertThat(sequence.active(0, 41)).isEqualTo(readAhead > 0);
      assertThat(sequence.active(0, 42)).as("lends no further").isFalse();
    }
  }

  @Test
  void aPageThatBecomesImportantBringsTheNextOneWithinTwoSteps() {
    Sequence sequence = new Sequence("80", 400, 1, 0.5);
    for (int page = 0; page < 100; page++) {
      sequence.mass(0, page, page < 50 ? 0.015f : 0.001f);
      sequence.mass(1, page, page < 50 ? 0.015f : 0.001f);
    }
    sequence.step(StepKind.QUESTION);
    assertThat(sequence.active(0, 71)).isFalse();
    sequence.estimates[0][70] = 0.6f;
    sequence.mass(0, 70, 0.6f);
    sequence.recall();
    sequence.step(StepKind.DECODE);
    sequence.recall();
    assertThat(sequence.active(0, 71)).isTrue();
    assertThat(sequence.activePages(0) + sequence.activePages(1)).isLessThanOrEqualTo(40);
  }

  @Test
  void neverExceedsTheCapNorFreezesSinksAndRecentTokensWhateverComes() {
    Random random = new Random(5);
    for (int round = 0; round < 20; round++) {
      int length = 100 + random.nextInt(400);
      Sequence sequence = new Sequence("100", length, 1, round % 2 * 0.5);
      randomMass(sequence, random);
      sequence.step(StepKind.QUESTION);
      for (int i = 0; i < 60; i++) {
        sequence.append();
        for (int head = 0; head < 2; head++) {
          for (int page = 0; page < sequence.pages(); page++) {
            sequence.estimates[head][page] = (float) Math.pow(random.nextDouble(), 6);
          }
        }
        sequence.recall();
        // 100 tokens, of 4 a page, in each of two heads.
        assertThat(sequence.activePages(0) + sequence.activePages(1)).isLessThanOrEqualTo(50);
        randomMass(sequence, random);
        sequence.step(StepKind.DECODE);
        for (int head = 0; head < 2; head++) {
          assertThat(sequence.active(head, 0)).isTrue();
          for (int back = 1; back <= 16; back++) {
            assertThat(sequence.active(head, (sequence.length - back) / PAGE)).isTrue();
          }
        }
      }
    }
  }

  @Test
  void keepMassFreezesBelowTheCapWhatNobodyLooksAt() {
    Sequence sequence = new Sequence("none", 400, 0.95);
    for (int page = 0; page < 10; page++) {
      sequence.mass(0, page, 0.1f);
    }
    for (int page = 0; page < 100; page++) {
      sequence.mass(1, page, 0.01f + 0.00001f * (page % 17));
    }
    sequence.step(StepKind.QUESTION);
    assertThat(sequence.activePages(0)).isLessThan(20);
    assertThat(sequence.activePages(1)).isBetween(93, 97);
  }

  @Test
  void pagesFarFromBeingWantedAreScoredRarelyButNeverForgotten() {
    Sequence sequence = new Sequence("80", 400);
    for (int head = 0; head < 2; head++) {
      for (int page = 0; page < 100; page++) {
        sequence.mass(head, page, page < 50 ? 0.015f + 1e-4f * page : 1e-7f * page);
        sequence.estimates[head][page] = sequence.masses[head][page];
      }
    }
    sequence.step(StepKind.QUESTION);
    int[] last = new int[100];
    int asked = 0;
    int steps = 200;
    for (int step = 1; step <= steps; step++) {
      for (int page : sequence.recall().get(0)) {
        last[page] = step;
        asked += page >= 55 && page < 90 ? 1 : 0;
      }
      for (int page = 0; page < 100; page++) {
        assertThat(step - last[page]).as("page %d", page).isLessThanOrEqualTo(16);
      }
      sequence.step(StepKind.DECODE);
    }
    assertThat(asked / 35.0 / steps).isBetween(0.05, 0.1);
    assertThat(sequence.unasked[0]).isBetween(0f, 0.01f);
    // What becomes important is found at its next look, and then looked at in every step.
    sequence.estimates[0][70] = 0.4f;
    for (int step = 0; step < 16; step++) {
      sequence.recall();
      sequence.step(StepKind.DECODE);
    }
    assertThat(sequence.active(0, 70)).isTrue();
    assertThat(sequence.recall().get(0)).contains(70);
  }

  private static void randomMass(Sequence sequence, Random random) {
    for (int head = 0; head < 2; head++) {
      for (int page = 0; page < sequence.pages(); page++) {
        sequence.mass(head, page, (float) Math.pow(random.nextDouble(), 8));
      }
    }
  }

  /** Two heads whose pages move at once. */
  private static final class Sequence {
    final AdaptiveSequence policy;
    final boolean[][] active = new boolean[2][200];
    final float[][] masses = new float[2][200];
    final float[][] estimates = new float[2][200];
    final float[] unasked = new float[2];
    int length;

    Sequence(String cap, int length) {
      this(cap, length, 1);
    }

    Sequence(String cap, int length, double keepMass) {
      this(cap, length, keepMass, 0);
    }

    Sequence(String cap, int length, double keepMass, double readAhead) {
      AdaptiveOptions adaptive =
          new AdaptiveOptions(
              FreezeCap.parse(cap),
              0,
              0,
              keepMass,
              1,
              1,
              1,
              0.9,
              0.25,
              readAhead,
              PrefillMode.EXACT);
      policy =
          new AdaptiveSequence(
              new PolicyOptions(PAGE, 4, 16, 0.1, 64, 1, adaptive, GuardOptions.OFF), SHAPE);
      for (boolean[] head : active) {
        Arrays.fill(head, true);
      }
      this.length = length;
    }

    int pages() {
      return (length + PAGE - 1) / PAGE;
    }

    void append() {
      length++;
    }

    void mass(int head, int page, float mass) {
      masses[head][page] = mass;
    }

    boolean active(int head, int page) {
      return active[head][page];
    }

    int activePages(int head) {
      return (int) IntStream.range(0, pages()).filter(page -> active[head][page]).count();
    }

    /** Returns the pages asked for, by head. */
    List<List<Integer>> recall() {
      List<List<Integer>> asked = new ArrayList<>();
      for (int head = 0; head < 2; head++) {
        View view = new View(head);
        asked.add(new ArrayList<>());
        policy.ask(head, StepKind.DECODE, view, new Questions(head, asked.get(head)));
        policy.recall(head, view, view);
      }
      return asked;
    }

    void step(StepKind kind) {
      for (int head = 0; head < 2; head++) {
        policy.observe(head, kind, new View(head));
      }
      policy.balance(kind, new View(0));
      for (int head = 0; head < 2; head++) {
        View view = new View(head);
        policy.step(head, kind, view, view);
      }
    }

    private final class Questions implements PageQuestions {
      private final int head;
      private final List<Integer> asked;

      Questions(int head, List<Integer> asked) {
        this.head = head;
        this.asked = asked;
      }

      @Override
      public void askAll() {
        throw new AssertionError("all pages");
      }

      @Override
      public void ask(int[] pages, int count, float share) {
        unasked[head] = share;
        Arrays.stream(pages, 0, count).forEach(asked::add);
      }
    }

    private final class View implements HeadView, PageMover {
      private final int head;
      private final int[] listed;

      View(int head) {
        this.head = head;
        this.listed =
            IntStream.range(0, pages()).filter(page -> Sequence.this.active[head][page]).toArray();
      }

      @Override
      public int listedCount() {
        return listed.length;
      }

      @Override
      public int listedPage(int index) {
        return listed[index];
      }

      @Override
      public int layer() {
        return 0;
      }

      @Override
      public int pageCount() {
        return pages();
      }

      @Override
      public int pageTokens() {
        return PAGE;
      }

      @Override
      public long activePages() {
        return Sequence.this.activePages(0) + Sequence.this.activePages(1);
      }

      @Override
      public int length() {
        return length;
      }

      @Override
      public int activeTokens() {
        return Sequence.this.activePages(head) * PAGE;
      }

      @Override
      public boolean active(int page) {
        return active[head][page];
      }

      @Override
      public float mass(int page) {
        return active[head][page] ? masses[head][page] : 0;
      }

      @Override
      public float estimate(int page) {
        return estimates[head][page];
      }

      @Override
      public void freeze(int page) {
        if ((page + 1) * PAGE <= length) {
          active[head][page] = false;
        }
      }

      @Override
      public void thaw(int page) {
        active[head][page] = true;
      }
    }
  }
}
