package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** RULER's variable tracking (section 3.2): one chain of four hops in repeated noise. */
public final class VariableTrackingTask implements EvaluationTask {
  private static final int HOPS = 4;
  private static final String NOISE =
      "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
  private static final String INTRO =
      "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n";

  @Override
  public String name() {
    return "vt";
  }

  @Override
  public String family() {
    return "tracing";
  }

  @Override
  public int answerTokens() {
    return 30;
  }

  @Override
  public EvaluationExample example(ExampleSize size, Haystack haystack, long seed) {
    Random random = new Random(seed * 7919 + 17);
    List<String> names = new ArrayList<>();
    while (names.size() <= HOPS) {
      String name = name(random);
      if (!names.contains(name)) {
        names.add(name);
      }
    }
    String value = Integer.toString(10_000 + random.nextInt(90_000));
    List<String> chain = new ArrayList<>();
    chain.add("VAR " + names.get(0) + " = " + value);
    for (int i = 1; i <= HOPS; i++) {
      chain.add("VAR " + names.get(i) + " = VAR " + names.get(i - 1));
    }
    long layout = random.nextLong();
    String question =
        "Question: Find all variables that are assigned the value %s in the text above."
            .formatted(value);
    String prefix =
        ("Answer: According to the chain(s) of variable assignment in the text above, %d variables"
                + " are assigned the value %s, they are:")
            .formatted(HOPS + 1, value);
    int units =
        size.mostUnits(1, 20_000, n -> INTRO + context(chain, n, layout) + question + prefix);
    return new EvaluationExample(
        INTRO + context(chain, units, layout) + "\n", question, prefix, names);
  }

  private static String name(Random random) {
    StringBuilder name = new StringBuilder();
    for (int i = 0; i < 5; i++) {
      name.append((char) ('A' + random.nextInt(26)));
    }
    return name.toString();
  }

  /** The chain's lines in their order at random places of the noise. */
  private static String context(List<String> chain, int units, long layout) {
    Random random = new Random(layout);
    List<Integer> places = new ArrayList<>();
    for (int i = 0; i < chain.size(); i++) {
      places.add(random.nextInt(units + 1));
    }
    places.sort(null);
    StringBuilder text = new StringBuilder();
    int next = 0;
    for (int i = 0; i <= units; i++) {
      while (next < chain.size() && places.get(next) == i) {
        text.append(chain.get(next++)).append('\n');
      }
      if (i < units) {
        text.append(NOISE).append('\n');
      }
    }
    return text.toString();
  }
}
