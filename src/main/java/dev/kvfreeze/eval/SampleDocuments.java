package dev.kvfreeze.eval;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The sample documents that travel in the jar: public domain, see {@code docs/samples.md}. */
final class SampleDocuments {
  /** Titles by file name without its ending, in the order in which they are drawn. */
  private static final Map<String, String> TITLES = new LinkedHashMap<>();

  static {
    TITLES.put("world-factbook-switzerland", "Switzerland (The World Factbook)");
    TITLES.put(
        "state-of-the-union-kennedy-1962", "John F. Kennedy, State of the Union message of 1962");
    TITLES.put(
        "state-of-the-union-lincoln-1861", "Abraham Lincoln, State of the Union message of 1861");
    TITLES.put(
        "state-of-the-union-roosevelt-1941",
        "Franklin D. Roosevelt, State of the Union message of 1941");
    TITLES.put("melville-moby-dick-loomings", "Herman Melville, Moby-Dick");
    TITLES.put("melville-moby-dick-cetology", "Herman Melville, Moby-Dick, on whales");
    TITLES.put("austen-persuasion-opening", "Jane Austen, Persuasion");
    TITLES.put("austen-northanger-abbey-opening", "Jane Austen, Northanger Abbey");
    TITLES.put("bierce-devils-dictionary-a-b", "Ambrose Bierce, The Devil's Dictionary");
  }

  private SampleDocuments() {}

  static List<String> names() {
    return List.copyOf(TITLES.keySet());
  }

  /** What the document is called in a prompt. */
  static String title(String name) {
    return TITLES.get(name);
  }

  /** The document's text. */
  static String text(String name) {
    return resource("/samples/" + name + ".txt");
  }

  /** A text file of the jar. */
  static String resource(String path) {
    try (InputStream in = SampleDocuments.class.getResourceAsStream(path)) {
      if (in == null) {
        throw new IllegalStateException("the jar lacks " + path + "; build it again");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
