package dev.kvfreeze.spark.conf;

import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A value for every knob, checked; made by {@link SettingsResolver}. */
public final class Settings implements Serializable {
  private static final long serialVersionUID = 1;

  private final TreeMap<String, String> texts;

  Settings(Map<String, String> texts) {
    this.texts = new TreeMap<>(texts);
  }

  /** The knob's value. */
  public <T> T value(Knob<T> knob) {
    return knob.parse(texts.get(knob.name()), "resolved");
  }

  /** All values as text, by full key: what travels in Spark's configuration to the executors. */
  public Map<String, String> asSparkConfiguration() {
    Map<String, String> entries = new TreeMap<>();
    texts.forEach((name, text) -> entries.put(Knob.PREFIX + name, text));
    return entries;
  }

  /**
   * SHA-256 over everything that changes a document's text or statistics, the model apart: rows
   * with the same fingerprint, model and document are the same work.
   *
   * @param more what counts besides the knobs, such as the text of the prompt
   */
  public String fingerprint(List<String> more) {
    MessageDigest digest = sha256();
    String policy = value(Knobs.POLICY);
    for (Knob<?> knob : Knobs.all()) {
      boolean read = knob.policies().isEmpty() || knob.policies().contains(policy);
      if (knob.effect() == Knob.Effect.RESULT && read) {
        // The value and not its text: 1g and 1024m are the same setting.
        add(digest, knob.name() + "=" + value(knob));
      }
    }
    more.forEach(text -> add(digest, text));
    return HexFormat.of().formatHex(digest.digest());
  }

  private static void add(MessageDigest digest, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    digest.update((bytes.length + ":").getBytes(StandardCharsets.UTF_8));
    digest.update(bytes);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
