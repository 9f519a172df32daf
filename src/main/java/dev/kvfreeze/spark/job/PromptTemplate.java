package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.conf.ConfFiles;
import dev.kvfreeze.spark.conf.ConfigurationException;
import java.io.Serializable;

/**
 * What is asked of each document.
 *
 * @param name for result rows
 * @param system the system message, or empty for none
 * @param beforeDocument of the user message
 * @param afterDocument of the user message
 */
record PromptTemplate(String name, String system, String beforeDocument, String afterDocument)
    implements Serializable {
  private static final String DOCUMENT = "{document}";
  private static final String SYSTEM = "[system]";
  private static final String USER = "[user]";

  /** The text of the document and nothing else. */
  static final PromptTemplate VERBATIM = new PromptTemplate("none", "", "", "");

  /** Finds a file of {@code conf/prompts} by its name or path, and reads it. */
  static PromptTemplate find(String value, ConfFiles files) {
    ConfFiles.Found found =
        files
            .find("prompts", value, ".txt")
            .orElseThrow(
                () ->
                    new ConfigurationException(
                        "prompt %s: there is no conf/prompts/%s.txt; name one of that folder, or give"
                                .formatted(value, value)
                            + " the path of a file"));
    String name = value.substring(value.lastIndexOf('/') + 1).replaceFirst("\\.txt$", "");
    return parse(name, found);
  }

  /** An optional part after a line {@code [system]}, and the user's after a line {@code [user]}. */
  private static PromptTemplate parse(String name, ConfFiles.Found file) {
    String text = file.text().replace("\r\n", "\n").strip();
    String system = "";
    if (text.startsWith(SYSTEM)) {
      int user = text.indexOf("\n" + USER);
      if (user < 0) {
        throw new ConfigurationException(
            "%s: it has %s but no line %s after it".formatted(file.source(), SYSTEM, USER));
      }
      system = text.substring(SYSTEM.length(), user).strip();
      text = text.substring(user + 1);
    }
    if (text.startsWith(USER)) {
      text = text.substring(USER.length()).strip();
    }
    int document = text.indexOf(DOCUMENT);
    if (document < 0 || text.indexOf(DOCUMENT, document + 1) >= 0) {
      throw new ConfigurationException(
          "%s: the user's part must have %s once, where the text goes"
              .formatted(file.source(), DOCUMENT));
    }
    return new PromptTemplate(
        name, system, text.substring(0, document), text.substring(document + DOCUMENT.length()));
  }

  /** The whole prompt as text, for the table of runs and the fingerprint. */
  String text() {
    String user = beforeDocument + DOCUMENT + afterDocument;
    return system.isEmpty() ? user : SYSTEM + "\n" + system + "\n" + USER + "\n" + user;
  }
}
