package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.stream.Collectors;

/**
 * RULER's needle in a haystack (arXiv 2404.06654, section 3.1): "One of the special magic numbers
 * for KEY is: VALUE." hidden among sentences, or among other needles.
 */
public final class NeedleTask implements EvaluationTask {
  /** What the needles are hidden in. */
  enum Filling {
    NOISE,
    PROSE,
    NEEDLES
  }

  /** What a key or a value looks like. */
  enum Kind {
    WORDS("word"),
    NUMBERS("number"),
    UUIDS("uuid");

    private final String noun;

    Kind(String noun) {
      this.noun = noun;
    }
  }

  private static final int DEPTHS = 40;
  private static final String NOISE =
      "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

  private final String name;
  private final Filling filling;
  private final Kind keyKind;
  private final Kind valueKind;
  private final int keys;
  private final int values;
  private final int queries;

  NeedleTask(
      String name,
      Filling filling,
      Kind keyKind,
      Kind valueKind,
      int keys,
      int values,
      int queries) {
    this.name = name;
    this.filling = filling;
    this.keyKind = keyKind;
    this.valueKind = valueKind;
    this.keys = Math.max(keys, queries);
    this.values = values;
    this.queries = queries;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String family() {
    return "retrieval";
  }

  @Override
  public int answerTokens() {
    return 128;
  }

  @Override
  public EvaluationExample example(ExampleSize size, Haystack haystack, long seed) {
    Random random = new Random(seed * 7919 + name.hashCode());
    List<String> keyNames = new ArrayList<>();
    List<List<String>> valuesOfKey = new ArrayList<>();
    List<String> needles = new ArrayList<>();
    for (int k = 0; k < keys; k++) {
      String key = make(keyKind, random);
      List<String> own = new ArrayList<>();
      for (int v = 0; v < values; v++) {
        String value = make(valueKind, random);
        own.add(value);
        needles.add(needle(key, value));
      }
      keyNames.add(key);
      valuesOfKey.add(own);
    }
    List<String> asked = keyNames.subList(0, queries);
    List<String> answers = valuesOfKey.subList(0, queries).stream().flatMap(List::stream).toList();
    long layout = random.nextLong();
    String question = question(asked, answers.size());
    String intro = intro(answers.size());
    int units =
        size.mostUnits(
            1,
            20_000,
            n ->
                intro
                    + context(haystack, needles, n, layout)
                    + question
                    + prefix(asked, answers.size()));
    return new EvaluationExample(
        intro + context(haystack, needles, units, layout) + "\n",
        question,
        prefix(asked, answers.size()),
        answers);
  }

  private String needle(String key, String value) {
    return "One of the special magic %ss for %s is: %s.".formatted(valueKind.noun, key, value);
  }

  private String intro(int answers) {
    return answers == 1
        ? ("A special magic %s is hidden within the following text. Make sure to memorize it. I will"
                + " quiz you about the %s afterwards.\n")
            .formatted(valueKind.noun, valueKind.noun)
        : ("Some special magic %ss are hidden within the following text. Make sure to memorize it. I"
                + " will quiz you about the %ss afterwards.\n")
            .formatted(valueKind.noun, valueKind.noun);
  }

  private String question(List<String> asked, int answers) {
    return answers == 1
        ? "What is the special magic %s for %s mentioned in the provided text?"
            .formatted(valueKind.noun, listed(asked))
        : "What are all the special magic %ss for %s mentioned in the provided text?"
            .formatted(valueKind.noun, listed(asked));
  }

  private String prefix(List<String> asked, int answers) {
    return answers == 1
        ? "The special magic %s for %s mentioned in the provided text is"
            .formatted(valueKind.noun, listed(asked))
        : "The special magic %ss for %s mentioned in the provided text are"
            .formatted(valueKind.noun, listed(asked));
  }

  private static String listed(List<String> names) {
    return names.size() == 1
        ? names.get(0)
        : String.join(", ", names.subList(0, names.size() - 1))
            + ", and "
            + names.get(names.size() - 1);
  }

  private String context(Haystack haystack, List<String> needles, int units, long layout) {
    Random random = new Random(layout);
    List<String> sentences = new ArrayList<>(units + needles.size());
    int first = filling == Filling.PROSE ? random.nextInt(haystack.sentenceCount()) : 0;
    for (int i = 0; i < units; i++) {
      sentences.add(
          switch (filling) {
            case NOISE -> NOISE;
            case PROSE -> haystack.sentence(first + i);
            case NEEDLES -> needle(make(keyKind, random), make(valueKind, random));
          });
    }
    Random places = new Random(layout ^ 0x5DEECE66DL);
    for (String needle : needles) {
      double depth = places.nextInt(DEPTHS) / (DEPTHS - 1.0);
      sentences.add((int) Math.round(depth * sentences.size()), needle);
    }
    return String.join(filling == Filling.PROSE ? " " : "\n", sentences);
  }

  static String make(Kind kind, Random random) {
    return switch (kind) {
      case WORDS -> Words.adjective(random) + "-" + Words.noun(random);
      case NUMBERS -> Integer.toString(1_000_000 + random.nextInt(9_000_000));
      case UUIDS ->
          new java.util.UUID(random.nextLong(), random.nextLong())
              .toString()
              .toLowerCase(Locale.ROOT);
    };
  }

  @Override
  public String toString() {
    return List.of(name, filling, keyKind, valueKind).stream()
        .map(Object::toString)
        .collect(Collectors.joining(" "));
  }
}
