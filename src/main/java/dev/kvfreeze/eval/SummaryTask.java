package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * A summary of a stretch of a sample document. Its score is ROUGE-L with the full cache's summary;
 * {@link #reference}, beside it, is ROUGE-L with the stretch's own beginning, its lead, which says
 * whether a summary is about the text at all.
 */
public final class SummaryTask implements EvaluationTask {
  static final String NAME = "summary";

  private static final int ANSWER_TOKENS = 160;

  /** A lead is as long as a summary may be, at about three words of four tokens. */
  private static final int LEAD_WORDS = ANSWER_TOKENS * 3 / 4;

  private static final String INTRO = "Read the following text.\n\n";
  private static final String QUESTION = "Summarize the text above in a few sentences.";
  private static final String PREFIX = "Summary:";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String family() {
    return "summary";
  }

  @Override
  public int answerTokens() {
    return ANSWER_TOKENS;
  }

  /** {@code answers} has the lead. */
  @Override
  public EvaluationExample example(ExampleSize size, Haystack haystack, long seed) {
    List<String> names = SampleDocuments.names();
    int document = (int) Math.floorMod(seed, (long) names.size());
    List<Passage> passages = new ArrayList<>();
    for (int i = 0; i < names.size(); i++) {
      String name = names.get((document + i) % names.size());
      passages.addAll(Passage.of(name, SampleDocuments.text(name)));
    }
    // The first seeds begin where their document does; later ones somewhere in its first half.
    int own = Passage.of(names.get(document), SampleDocuments.text(names.get(document))).size();
    int first =
        seed < names.size() ? 0 : new Random(seed * 7919 + 61).nextInt(Math.max(1, own / 2));
    List<Passage> shown = passages.subList(first, passages.size());
    int units = size.mostUnits(3, shown.size(), n -> INTRO + text(shown, n) + QUESTION + PREFIX);
    String text = text(shown, units);
    String[] words = text.split("\\s+", LEAD_WORDS + 1);
    String lead = String.join(" ", List.of(words).subList(0, Math.min(words.length, LEAD_WORDS)));
    return new EvaluationExample(INTRO + text, QUESTION, PREFIX, List.of(lead));
  }

  private static String text(List<Passage> passages, int count) {
    StringBuilder text = new StringBuilder();
    passages.subList(0, count).forEach(passage -> text.append(passage.text()).append("\n\n"));
    return text.toString();
  }

  @Override
  public double score(EvaluationExample example, String output) {
    return RougeL.score(example.answers().get(0), output);
  }

  @Override
  public double score(EvaluationExample example, String output, String control) {
    return RougeL.score(control, output);
  }

  @Override
  public double reference(EvaluationExample example, String output) {
    return RougeL.score(example.answers().get(0), output);
  }
}
