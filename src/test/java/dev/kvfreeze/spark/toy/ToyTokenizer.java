package dev.kvfreeze.spark.toy;

import dev.kvfreeze.model.tokenizer.Tokenizer;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** A token a byte of UTF-8; 256 begins, 257 ends. */
final class ToyTokenizer implements Tokenizer {
  @Override
  public int[] encode(String text, SpecialTokens specialTokens) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int[] ids = new int[bytes.length];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = bytes[i] & 0xFF;
    }
    return ids;
  }

  @Override
  public String decode(int[] ids) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    for (int id : ids) {
      if (id < 256) {
        bytes.write(id);
      }
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }

  @Override
  public byte[] bytes(int id) {
    return id < 256 ? new byte[] {(byte) id} : new byte[0];
  }

  @Override
  public int vocabularySize() {
    return 258;
  }

  @Override
  public boolean special(int id) {
    return id >= 256;
  }

  @Override
  public int beginToken() {
    return 256;
  }

  @Override
  public boolean addsBeginToken() {
    return true;
  }

  @Override
  public int[] endTokens() {
    return new int[] {257};
  }

  @Override
  public void close() {}
}
