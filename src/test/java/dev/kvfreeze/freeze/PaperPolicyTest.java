package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PaperPolicyTest {
  private static final CacheShape SHAPE = new CacheShape(1, 1, 1, 256, 0);

  /**
   * The paper's algorithm written down again, from its text, with sets of step numbers: when each
   * page was detected, and when it comes back. Knows nothing of timers or buckets' counters.
   */
  private static final class Naive {
    private final PolicyOptions options;
    private final Map<Integer, List<Integer>> detectedAt = new HashMap<>();
    private final Map<Integer, Integer> backAfter = new HashMap<>();
    private int step = -1;

    Naive(PolicyOptions options) {
      this.options = options;
    }

    void decode(TableHead head) {
      step++;
      int attended = head.length();
      for (int page : backAfter.keySet()) {
        attended -= head.tokens(page);
      }
      List<Integer> scored = new ArrayList<>();
      for (int page = 0; page < head.pageCount(); page++) {
        boolean sink = page * head.pageTokens() < options.sinkTokens();
        boolean recent = (page + 1) * head.pageTokens() > head.length() - options.recentTokens();
        if (!sink && !recent && !backAfter.containsKey(page)) {
          scored.add(page);
        }
      }
      backAfter.values().removeIf(last -> last == step);
      for (int page : scored) {
        double sum = 0;
        for (int token = 0; token < head.pageTokens(); token++) {
          sum += head.tokenMass.get(page * head.pageTokens() + token);
        }
        double relevance = sum / head.pageTokens() * attended;
        if (relevance < options.threshold()) {
          detectedAt.computeIfAbsent(page, p -> new ArrayList<>()).add(step);
          int steps = (int) Math.floor(Math.sqrt(count(page)) / options.softness());
          if (steps > 0) {
            backAfter.put(page, step + steps);
          }
        }
      }
    }

    /** Detections since the bucket began, and the share of the bucket before that is left. */
    private int count(int page) {
      int w = options.historySteps();
      int begin = step / w * w;
      long now = detectedAt.get(page).stream().filter(s -> s >= begin).count();
      long before = detectedAt.get(page).stream().filter(s -> s < begin && s >= begin - w).count();
      return (int) (now + Math.floor(before * (1 - (step - begin) / (double) w) + 1e-9));
    }

    List<Integer> active(TableHead head) {
      List<Integer> pages = new ArrayList<>();
      for (int page = 0; page < head.pageCount(); page++) {
        if (!backAfter.containsKey(page)) {
          pages.add(page);
        }
      }
      return pages;
    }
  }

  /** The rows with W of 1000 never leave the first bucket: there c is the paper's exactly. */
  @ParameterizedTest
  @CsvSource({
    "1, 0, 32, 0.5, 1000, 1.0, 1",
    "1, 0, 1, 1.0, 1000, 0.3, 2",
    "1, 4, 7, 0.7, 64, 1.0, 3",
    "1, 0, 16, 2.0, 10, 0.25, 4",
    "8, 4, 54, 0.9, 32, 0.5, 5",
    "16, 16, 97, 1.0, 7, 1.0, 6",
    "3, 1, 5, 0.8, 1, 0.5, 7",
    "1, 0, 8, 0.5, 50, 2.0, 8",
  })
  void doesWhatThePaperSays(
      int pageTokens, int sinks, int recent, double tau, int history, double k, long seed) {
    PolicyOptions options = new PolicyOptions(pageTokens, sinks, recent, tau, history, k);
    HeadPolicy policy = new PaperPolicy(options).head(SHAPE);
    TableHead head = new TableHead(pageTokens);
    Naive naive = new Naive(options);
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < 60; i++) {
      head.append();
    }
    policy.step(StepKind.PREFILL, head, head);
    assertThat(head.freezes).as("prefill is exact").isZero();
    for (int step = 0; step < 400; step++) {
      head.append();
      attend(head, random);
      policy.step(StepKind.DECODE, head, head);
      naive.decode(head);
      assertThat(head.activePageNumbers()).as("after step %s", step).isEqualTo(naive.active(head));
    }
    assertThat(head.freezes).isPositive();
    assertThat(head.thaws).isPositive();
  }

  /** Attention of the active tokens: a few favourites, and a random rest. */
  private static void attend(TableHead head, SplittableRandom random) {
    double sum = 0;
    double[] weight = new double[head.length()];
    for (int token = 0; token < weight.length; token++) {
      boolean favourite = token % 13 == 0;
      weight[token] = random.nextDouble() * random.nextDouble() * (favourite ? 9 : 1);
      if (head.active(token / head.pageTokens())) {
        sum += weight[token];
      } else {
        weight[token] = 0;
      }
    }
    for (int token = 0; token < weight.length; token++) {
      head.tokenMass.set(token, weight[token] / sum);
    }
  }

  private static TableHead ignored(int tokens) {
    TableHead head = new TableHead(1);
    for (int i = 0; i < tokens; i++) {
      head.append();
    }
    return head;
  }

  @Test
  void durationGrowsWithTheRootOfTheCount() {
    FreezeSchedule one = new FreezeSchedule(1);
    assertThat(one.duration(0)).isZero();
    assertThat(one.duration(1)).isEqualTo(1);
    assertThat(one.duration(3)).isEqualTo(1);
    assertThat(one.duration(4)).isEqualTo(2);
    assertThat(one.duration(99)).isEqualTo(9);
    assertThat(one.duration(100)).isEqualTo(10);
    assertThat(new FreezeSchedule(2).duration(3)).isZero();
    assertThat(new FreezeSchedule(2).duration(4)).isEqualTo(1);
    assertThat(new FreezeSchedule(0.5).duration(1)).isEqualTo(2);
  }

  @Test
  void aThawThatFailsIsAskedForAgain() {
    HeadPolicy policy = new PaperPolicy(new PolicyOptions(1, 0, 1, 0.5, 64, 1)).head(SHAPE);
    TableHead head = ignored(3);
    policy.step(StepKind.DECODE, head, head);
    assertThat(head.activePageNumbers()).containsExactly(2);
    head.refuseThaw = true;
    for (int i = 0; i < 5; i++) {
      policy.step(StepKind.DECODE, head, head);
    }
    assertThat(head.activePageNumbers()).containsExactly(2);
    head.refuseThaw = false;
    policy.step(StepKind.DECODE, head, head);
    assertThat(head.activePageNumbers()).containsExactly(0, 1, 2);
  }

  @Test
  void aFreezeThatFailsLeavesThePageScored() {
    HeadPolicy policy = new PaperPolicy(new PolicyOptions(1, 0, 1, 0.5, 64, 1)).head(SHAPE);
    TableHead head = ignored(3);
    head.refuseFreeze = true;
    for (int i = 0; i < 3; i++) {
      policy.step(StepKind.DECODE, head, head);
    }
    head.refuseFreeze = false;
    policy.step(StepKind.DECODE, head, head);
    assertThat(head.activePageNumbers()).containsExactly(2);
    policy.step(StepKind.DECODE, head, head);
    assertThat(head.activePageNumbers())
        .as("the fourth detection holds for two steps")
        .containsExactly(2);
    policy.step(StepKind.DECODE, head, head);
    assertThat(head.activePageNumbers()).containsExactly(0, 1, 2);
  }

  @Test
  void aRewindForgetsThePagesItDrops() {
    PolicyOptions options = new PolicyOptions(4, 0, 1, 0.5, 64, 0.1);
    HeadPolicy policy = new PaperPolicy(options).head(SHAPE);
    TableHead head = new TableHead(4);
    for (int i = 0; i < 20; i++) {
      head.append();
    }
    policy.step(StepKind.DECODE, head, head);
    assertThat(head.activePageNumbers()).containsExactly(4);
    head.truncate(6);
    policy.truncate(1);
    for (int i = 6; i < 20; i++) {
      head.append();
    }
    policy.step(StepKind.DECODE, head, head);
    assertThat(head.activePageNumbers()).containsExactly(4);
    for (int i = 0; i < 10; i++) {
      assertThat(head.active(0)).isEqualTo(i >= 9);
      assertThat(head.active(1)).as("its timer began anew").isFalse();
      policy.step(StepKind.DECODE, head, head);
    }
    assertThat(head.active(1)).isTrue();
  }

  @Test
  void countsFollowTheWindow() {
    int window = 20;
    DetectionHistory history = new DetectionHistory(window);
    SplittableRandom random = new SplittableRandom(9);
    List<Integer> steps = new ArrayList<>();
    double worst = 0;
    for (int step = 0; step < 2000; step++) {
      history.advance(3);
      if (random.nextInt(2) == 0) {
        steps.add(step);
        int now = step;
        long exact = steps.stream().filter(s -> s > now - window).count();
        int counted = history.detect(2);
        if (step < window) {
          assertThat(counted).isEqualTo((int) exact);
        }
        worst = Math.max(worst, Math.abs(counted - exact));
      }
    }
    assertThat(worst).as("off by part of a bucket at most").isLessThanOrEqualTo(window / 4.0 + 1);
  }
}
