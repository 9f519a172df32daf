package dev.kvfreeze.spark.job;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * A document's prompt.
 *
 * @param documentTokens of the whole document, estimated when it was cut far
 * @param notes what was done to make it fit
 */
record DocumentPrompt(int[] tokens, int documentTokens, List<String> notes) {
  /** SHA-256 of the tokens, four bytes each, lowest first: equal hashes are equal prompts. */
  String hash() {
    ByteBuffer bytes =
        ByteBuffer.allocate(Math.multiplyExact(4, tokens.length)).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asIntBuffer().put(tokens);
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.array()));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
