package dev.kvfreeze.spark.input;

import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * One document of the input.
 *
 * @param id as in the input, or made up from the text where it is missing
 * @param text empty when there is none
 * @param hash SHA-256 of id and text in hexadecimal: the document's identity
 * @param notes what was done to read it, for its row
 * @param problem why it cannot be used, or null
 */
public record InputDocument(
    String id, String text, String hash, List<String> notes, DocumentProblem problem)
    implements Serializable {

  /** From a row: either may be null. */
  static InputDocument of(String id, String text, List<String> notes, DocumentProblem problem) {
    String content = text == null ? "" : text;
    String hash = hash(id == null ? "" : id, content);
    if (id == null || id.isBlank()) {
      return new InputDocument(
          "missing-id-" + hash.substring(0, 8),
          content,
          hash,
          notes,
          new DocumentProblem(
              "MissingDocumentId", "the row has no id; give every document an id of its own"));
    }
    DocumentProblem found = problem;
    if (found == null && text == null) {
      found =
          new DocumentProblem(
              "MissingText", "the text is null, or the row could not be parsed; mend or remove it");
    } else if (found == null && text.isBlank()) {
      found = new DocumentProblem("EmptyDocument", "the document has no text; fill or remove it");
    }
    return new InputDocument(id, content, hash, notes, found);
  }

  private static String hash(String id, String text) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(id.getBytes(StandardCharsets.UTF_8));
      digest.update((byte) 0);
      digest.update(text.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
