package dev.kvfreeze.model.tokenizer;

import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Cuts text into the stretches that byte-level BPE may not merge across. Patterns apply one after
 * another, each to the stretches of the one before; what a pattern leaves out is a stretch too.
 */
final class PreTokenizer {
  /** Receives the stretches in order. */
  interface Sink {
    void stretch(int from, int to);
  }

  /** Unicode white space; Java's own class of that letter is ASCII only. */
  private static final String SPACE = "\\p{IsWhite_Space}";

  private static final String GPT2 =
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^_\\p{L}\\p{N}]+|[_]+(?![^_])";

  private static final String CASELESS_CONTRACTIONS =
      "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";

  private static final String TIKTOKEN_TAIL =
      "| ?[^_\\p{L}\\p{N}]+[\\r\\n]*|[_]*[\\r\\n]+|[_]+(?![^_])|[_]+";

  private static final List<String> QWEN2 =
      List.of(CASELESS_CONTRACTIONS + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" + TIKTOKEN_TAIL);

  private static final List<String> LLAMA3 =
      List.of(CASELESS_CONTRACTIONS + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" + TIKTOKEN_TAIL);

  /** Names of {@code tokenizer.ggml.pre} and their patterns; {@code _} stands for white space. */
  private static final Map<String, List<String>> KNOWN =
      Map.ofEntries(
          Map.entry("gpt-2", List.of(GPT2)),
          Map.entry("smollm", List.of("\\p{N}", GPT2)),
          Map.entry("qwen2", QWEN2),
          Map.entry("deepseek-r1-qwen", QWEN2),
          Map.entry("llama-bpe", LLAMA3),
          Map.entry("llama3", LLAMA3),
          Map.entry("llama-v3", LLAMA3),
          Map.entry("default", List.of("[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]")));

  private final List<Pattern> patterns;

  private PreTokenizer(List<Pattern> patterns) {
    this.patterns = patterns;
  }

  /** The pre-tokenizer of a name, or null when it is not known. */
  static PreTokenizer of(String name) {
    List<String> known = KNOWN.get(name);
    return known == null
        ? null
        : new PreTokenizer(
            known.stream().map(text -> Pattern.compile(text.replace("_", SPACE))).toList());
  }

  static List<String> names() {
    return KNOWN.keySet().stream().sorted().toList();
  }

  /** Whether whole stretches that are tokens are taken without merging, as Llama 3's files ask. */
  static boolean ignoresMerges(String name) {
    return KNOWN.get(name) == LLAMA3;
  }

  void split(String text, int from, int to, Sink sink) {
    Matcher[] matchers =
        patterns.stream().map(pattern -> pattern.matcher(text)).toArray(Matcher[]::new);
    split(matchers, 0, from, to, sink);
  }

  /** Matcher bounds are opaque: a look-ahead sees the end of its stretch as the end of the text. */
  private static void split(Matcher[] matchers, int depth, int from, int to, Sink sink) {
    if (depth == matchers.length) {
      sink.stretch(from, to);
      return;
    }
    Matcher matcher = matchers[depth].region(from, to);
    int done = from;
    while (matcher.find()) {
      if (done < matcher.start()) {
        split(matchers, depth + 1, done, matcher.start(), sink);
      }
      split(matchers, depth + 1, matcher.start(), matcher.end(), sink);
      done = matcher.end();
    }
    if (done < to) {
      split(matchers, depth + 1, done, to, sink);
    }
  }
}
