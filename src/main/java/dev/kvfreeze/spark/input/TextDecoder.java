package dev.kvfreeze.spark.input;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.Charset;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Bytes of a text file to text: UTF-8, or UTF-16 where a byte order mark says so. Bytes that form
 * no character become U+FFFD with a note; a file that is not text at all is a problem.
 */
final class TextDecoder {
  private static final int LOOKED_AT = 8192;

  private TextDecoder() {}

  static InputDocument decode(String id, byte[] bytes) {
    Charset charset = StandardCharsets.UTF_8;
    int start = 0;
    if (startsWith(bytes, 0xEF, 0xBB, 0xBF)) {
      start = 3;
    } else if (startsWith(bytes, 0xFF, 0xFE)) {
      charset = StandardCharsets.UTF_16LE;
      start = 2;
    } else if (startsWith(bytes, 0xFE, 0xFF)) {
      charset = StandardCharsets.UTF_16BE;
      start = 2;
    } else if (binary(bytes)) {
      return InputDocument.of(
          id,
          "",
          List.of(),
          new DocumentProblem(
              "NotText",
              "the file is not text (it has zero bytes among its first %d): convert it first"
                  .formatted(LOOKED_AT)));
    }
    List<String> notes = new ArrayList<>();
    String text = decode(ByteBuffer.wrap(bytes, start, bytes.length - start), charset, notes);
    return InputDocument.of(id, text, notes, null);
  }

  private static String decode(ByteBuffer bytes, Charset charset, List<String> notes) {
    CharsetDecoder decoder =
        charset
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    CharBuffer chars = CharBuffer.allocate(bytes.remaining() + 16);
    int replaced = 0;
    while (true) {
      CoderResult result = decoder.decode(bytes, chars, true);
      if (!result.isError()) {
        break;
      }
      // An error is a byte or more; each becomes one character, so the buffer is large enough.
      bytes.position(bytes.position() + result.length());
      chars.put('\uFFFD');
      replaced++;
    }
    decoder.flush(chars);
    if (replaced > 0) {
      notes.add(
          "not valid %s: %d byte sequence%s replaced by U+FFFD"
              .formatted(charset.name(), replaced, replaced == 1 ? "" : "s"));
    }
    return chars.flip().toString();
  }

  private static boolean startsWith(byte[] bytes, int... prefix) {
    if (bytes.length < prefix.length) {
      return false;
    }
    for (int i = 0; i < prefix.length; i++) {
      if ((bytes[i] & 0xFF) != prefix[i]) {
        return false;
      }
    }
    return true;
  }

  private static boolean binary(byte[] bytes) {
    for (int i = 0; i < Math.min(bytes.length, LOOKED_AT); i++) {
      if (bytes[i] == 0) {
        return true;
      }
    }
    return false;
  }
}
