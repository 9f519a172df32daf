package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * RULER's question answering (arXiv 2404.06654, section 3.4): the passages that answer a question
 * among others, in any order. {@code qa_1} needs one passage, as SQuAD; {@code qa_2} two, as
 * HotpotQA, with titles. Questions and passages are those of {@link QuestionSet} instead of these
 * two, which do not ship with the project.
 */
public final class QuestionAnsweringTask implements EvaluationTask {
  private static final String INTRO =
      "Answer the question based on the given documents. Only give me the answer and do not output"
          + " any other words.\n\nThe following are given documents.\n\n";
  private static final String ASK =
      "Answer the question based on the given documents. Only give me the answer and do not output"
          + " any other words.\n\nQuestion: ";
  private static final String PREFIX = "Answer:";

  private final String name;
  private final boolean titles;
  private final QuestionSet set;

  private QuestionAnsweringTask(String name, boolean titles) {
    this.name = name;
    this.titles = titles;
    this.set = QuestionSet.read(name);
  }

  static QuestionAnsweringTask onePassage() {
    return new QuestionAnsweringTask("qa_1", false);
  }

  static QuestionAnsweringTask twoPassages() {
    return new QuestionAnsweringTask("qa_2", true);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String family() {
    return "question";
  }

  @Override
  public int answerTokens() {
    return 32;
  }

  @Override
  public boolean answersAreAliases() {
    return true;
  }

  @Override
  public EvaluationExample example(ExampleSize size, Haystack haystack, long seed) {
    QuestionSet.Item item =
        set.questions().get((int) Math.floorMod(seed, (long) set.questions().size()));
    List<Passage> others = new ArrayList<>(set.passages());
    others.removeAll(item.evidence());
    Random random = new Random(seed * 7919 + 53);
    Collections.shuffle(others, random);
    long order = random.nextLong();
    String question = ASK + item.question();
    int units =
        size.mostUnits(
            item.evidence().size(),
            set.passages().size(),
            n -> INTRO + documents(item, others, n, order) + question + PREFIX);
    String context = INTRO + documents(item, others, units, order);
    return new EvaluationExample(context, question, PREFIX, item.answers());
  }

  private String documents(QuestionSet.Item item, List<Passage> others, int count, long order) {
    List<Passage> shown = new ArrayList<>(item.evidence());
    shown.addAll(others.subList(0, count - shown.size()));
    Collections.shuffle(shown, new Random(order));
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < shown.size(); i++) {
      Passage passage = shown.get(i);
      text.append("Document ").append(i + 1).append(":\n");
      if (titles) {
        text.append(SampleDocuments.title(passage.document())).append('\n');
      }
      text.append(passage.text()).append("\n\n");
    }
    return text.toString();
  }
}
