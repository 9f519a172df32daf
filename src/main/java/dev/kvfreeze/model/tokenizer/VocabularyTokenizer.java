package dev.kvfreeze.model.tokenizer;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A tokenizer over a model file's vocabulary. Immutable, so any number of threads may use it, and
 * closing it, which releases nothing but the heap, is safe at any time.
 */
final class VocabularyTokenizer implements Tokenizer {
  private static final byte[] NOTHING = new byte[0];

  private final Vocabulary vocabulary;
  private final TextEncoder encoder;
  private final SpecialTokenMatcher matcher;
  private final SpecialTokenIds specialIds;

  VocabularyTokenizer(Vocabulary vocabulary, TextEncoder encoder, SpecialTokenIds specialIds) {
    this.vocabulary = vocabulary;
    this.encoder = encoder;
    this.specialIds = specialIds;
    this.matcher = new SpecialTokenMatcher(vocabulary);
  }

  @Override
  public int[] encode(String text, SpecialTokens specialTokens) {
    return encode(List.of(new TextPart(text, specialTokens)));
  }

  @Override
  public int[] encode(List<TextPart> parts) {
    StringBuilder joined = new StringBuilder();
    int[] ends = new int[parts.size()];
    for (int i = 0; i < ends.length; i++) {
      joined.append(parts.get(i).text());
      ends[i] = joined.length();
    }
    String text = WellFormedText.of(joined.toString());
    IntList ids = new IntList();
    TextEncoder.Session session = encoder.session();
    matcher.split(
        text,
        (from, to) -> trusted(parts, ends, from, to),
        new SpecialTokenMatcher.Sink() {
          private boolean afterSpecial = true;

          @Override
          public void text(int from, int to) {
            if (afterSpecial && encoder.addsSpacePrefix()) {
              session.encode(" " + text.substring(from, to), 0, to - from + 1, ids);
            } else {
              session.encode(text, from, to, ids);
            }
            afterSpecial = false;
          }

          @Override
          public void token(int id) {
            ids.add(id);
            afterSpecial = true;
          }
        });
    return ids.toArray();
  }

  /** Whether every part that {@code [from, to)} touches may hold special tokens. */
  private static boolean trusted(List<TextPart> parts, int[] ends, int from, int to) {
    int start = 0;
    for (int i = 0; i < ends.length && start < to; i++) {
      if (ends[i] > from
          && ends[i] > start
          && parts.get(i).specialTokens() == SpecialTokens.AS_TEXT) {
        return false;
      }
      start = ends[i];
    }
    return true;
  }

  @Override
  public String decode(int[] ids) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    for (int id : ids) {
      bytes.writeBytes(bytes(id));
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }

  @Override
  public byte[] bytes(int id) {
    requireId(id);
    return switch (vocabulary.kind(id)) {
      case UNKNOWN, CONTROL, UNUSED -> NOTHING;
      case USER_DEFINED -> vocabulary.text(id).clone();
      case NORMAL, BYTE -> encoder.bytes(id);
    };
  }

  @Override
  public int vocabularySize() {
    return vocabulary.size();
  }

  @Override
  public boolean special(int id) {
    requireId(id);
    return vocabulary.kind(id).special();
  }

  @Override
  public int beginToken() {
    return specialIds.begin();
  }

  @Override
  public boolean addsBeginToken() {
    return specialIds.addBegin();
  }

  @Override
  public int[] endTokens() {
    return specialIds.ends().clone();
  }

  @Override
  public void close() {}

  private void requireId(int id) {
    if (id < 0 || id >= vocabulary.size()) {
      throw new IllegalArgumentException(
          "token " + id + " is outside the vocabulary of " + vocabulary.size() + " tokens");
    }
  }
}
