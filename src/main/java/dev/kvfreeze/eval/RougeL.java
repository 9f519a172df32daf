package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * ROUGE-L (Lin 2004): the F1 of the longest common subsequence of two texts' words, in percent.
 * Words are runs of letters and digits in lower case; nothing is stemmed.
 */
final class RougeL {
  private static final Pattern WORD = Pattern.compile("[\\p{L}\\p{N}]+");

  private RougeL() {}

  static double score(String reference, String text) {
    List<String> expected = words(reference);
    List<String> found = words(text);
    if (expected.isEmpty() || found.isEmpty()) {
      return expected.equals(found) ? 100 : 0;
    }
    return 200.0 * common(expected, found) / (expected.size() + found.size());
  }

  private static List<String> words(String text) {
    List<String> words = new ArrayList<>();
    Matcher word = WORD.matcher(text.toLowerCase(Locale.ROOT));
    while (word.find()) {
      words.add(word.group());
    }
    return words;
  }

  private static int common(List<String> a, List<String> b) {
    int[] row = new int[b.size() + 1];
    for (String word : a) {
      int diagonal = 0;
      for (int j = 1; j <= b.size(); j++) {
        int above = row[j];
        row[j] = word.equals(b.get(j - 1)) ? diagonal + 1 : Math.max(above, row[j - 1]);
        diagonal = above;
      }
    }
    return row[b.size()];
  }
}
