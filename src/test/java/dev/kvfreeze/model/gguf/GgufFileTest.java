package dev.kvfreeze.model.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Random;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class GgufFileTest {
  private static final int F32 = TensorType.F32.ggmlId();

  @TempDir Path folder;

  private Path file() {
    return folder.resolve("model.gguf");
  }

  private static GgufWriter sample() {
    return new GgufWriter()
        .put("text", "h\u00e9llo")
        .put("count", 7)
        .put("large", 1L << 40)
        .put("fraction", 0.5f)
        .put("precise", 0.1)
        .put("flag", true)
        .put("tokens", new byte[][] {{(byte) 0xff, 'a'}, {}})
        .put("scores", new float[] {1, -2})
        .put("types", new int[] {3, -1})
        .put("pattern", new boolean[] {true, false})
        .floats("a.weight", new float[] {1, 2, 3, 4, 5, 6}, 3, 2)
        .floats("b.weight", new float[] {7}, 1);
  }

  private AbstractThrowableAssert<?, ? extends Throwable> assertRefused(byte[] bytes) {
    try {
      Files.write(file(), bytes);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    return assertThatThrownBy(() -> GgufFile.open(file()).close())
        .isInstanceOf(ModelFileException.class)
        .hasMessageContaining("model.gguf")
        .hasMessageContaining("; ");
  }

  private AbstractThrowableAssert<?, ? extends Throwable> assertRefused(GgufWriter writer) {
    return assertRefused(writer.toBytes());
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void readsWhatIsWritten(int version) {
    try (GgufFile file = GgufFile.open(sample().version(version).write(file()))) {
      GgufMetadata metadata = file.metadata();
      assertThat(metadata.keys())
          .containsExactly(
              "text",
              "count",
              "large",
              "fraction",
              "precise",
              "flag",
              "tokens",
              "scores",
              "types",
              "pattern");
      assertThat(metadata.string("text")).isEqualTo("h\u00e9llo");
      assertThat(metadata.stringOrNull("absent")).isNull();
      assertThat(metadata.integer("count")).isEqualTo(7);
      assertThat(metadata.integer("large")).isEqualTo(1L << 40);
      assertThat(metadata.integerOr("absent", -5)).isEqualTo(-5);
      assertThat(metadata.number("fraction")).isEqualTo(0.5);
      assertThat(metadata.number("precise")).isEqualTo(0.1);
      assertThat(metadata.number("count")).isEqualTo(7);
      assertThat(metadata.flagOr("flag", false)).isTrue();
      assertThat(metadata.byteStrings("tokens"))
          .isDeepEqualTo(new byte[][] {{(byte) 0xff, 'a'}, {}});
      assertThat(metadata.strings("tokens")).containsExactly("\ufffda", "");
      assertThat(metadata.floats("scores")).containsExactly(1, -2);
      assertThat(metadata.integers("types")).containsExactly(3, -1);
      assertThat(metadata.flags("pattern")).containsExactly(true, false);

      assertThat(file.tensorNames()).containsExactly("a.weight", "b.weight");
      TensorData tensor = file.tensor("a.weight");
      assertThat(tensor.rows()).isEqualTo(2);
      assertThat(tensor.columns()).isEqualTo(3);
      assertThat(tensor.bytes().order()).isEqualTo(ByteOrder.LITTLE_ENDIAN);
      assertThat(tensor.bytes().isReadOnly()).isTrue();
      assertThat(tensor.bytes().limit()).isEqualTo(24);
      assertThat(tensor.bytes().getFloat(20)).isEqualTo(6);
      assertThat(file.tensor("b.weight").rows()).isEqualTo(1);
      assertThat(file.tensor("b.weight").bytes().getFloat(0)).isEqualTo(7);
    }
  }

  @Test
  void namesWhatIsMissingOrOfAnotherType() {
    try (GgufFile file = GgufFile.open(sample().write(file()))) {
      assertThatThrownBy(() -> file.metadata().string("absent"))
          .isInstanceOf(ModelFileException.class)
          .hasMessageContainingAll("model.gguf", "absent", "missing", "a string");
      assertThatThrownBy(() -> file.metadata().integer("text"))
          .isInstanceOf(ModelFileException.class)
          .hasMessageContainingAll("model.gguf", "text", "a string", "an integer");
      assertThatThrownBy(() -> file.metadata().boundedInteger("large", 1, 99))
          .isInstanceOf(ModelFileException.class)
          .hasMessageContainingAll("large", "1099511627776", "1 to 99");
      assertThatThrownBy(() -> file.metadata().uniformInteger("types", -5, 99))
          .isInstanceOf(ModelFileException.class)
          .hasMessageContainingAll("types", "3", "-1");
      assertThatThrownBy(() -> file.tensor("blk.3.attn_q.weight"))
          .isInstanceOf(ModelFileException.class)
          .hasMessageContainingAll("model.gguf", "blk.3.attn_q.weight", "missing");
    }
  }

  @Test
  void refusesEveryTruncation() {
    byte[] whole = sample().toBytes();
    for (int bytes = 0; bytes < whole.length; bytes++) {
      assertRefused(Arrays.copyOf(whole, bytes));
    }
  }

  @Test
  void refusesWhatIsNoGguf() throws IOException {
    assertThatThrownBy(() -> GgufFile.open(folder.resolve("absent.gguf")))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContainingAll("absent.gguf", "does not exist");
    assertThatThrownBy(() -> GgufFile.open(folder))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContaining("not a regular file");
    assertRefused(new byte[0]).hasMessageContaining("truncated");
    assertRefused("PK\u0003\u0004 a zip file, for instance".getBytes("UTF-8"))
        .hasMessageContaining("not a GGUF file");
    byte[] random = new byte[4096];
    new Random(1).nextBytes(random);
    assertRefused(random).hasMessageContaining("not a GGUF file");
    System.arraycopy("GGUF\u0003\0\0\0".getBytes("UTF-8"), 0, random, 0, 8);
    assertRefused(random);
  }

  @Test
  void refusesOtherVersionsAndByteOrders() {
    assertRefused(sample().version(1)).hasMessageContainingAll("version 1", "allowed 2 and 3");
    assertRefused(sample().version(4)).hasMessageContaining("version 4");
    assertRefused(sample().version(Integer.reverseBytes(3))).hasMessageContaining("big-endian");
  }

  /** Positions: 8 the tensors, 16 the entries, 24 the first key's length. */
  @ParameterizedTest
  @CsvSource({"8", "16", "24"})
  void refusesLengthsBeyondTheFile(int position) {
    for (long length : new long[] {1 << 20, Integer.MAX_VALUE, 1L << 60, -1, Long.MIN_VALUE}) {
      byte[] bytes = sample().toBytes();
      ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(position, length);
      assertRefused(bytes).hasMessageContaining(Long.toUnsignedString(length));
    }
  }

  @Test
  void refusesArraysBeyondTheFile() {
    // The key "s" (8 + 1 bytes at 24), the type of the value and of the elements, then the count.
    int position = 24 + 9 + 4 + 4;
    byte[] bytes = new GgufWriter().put("s", new float[] {1, 2}).toBytes();
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(position, 1L << 33);
    assertRefused(bytes).hasMessageContainingAll("metadata s", "8589934592");
  }

  @Test
  void refusesUnknownValueTypes() {
    byte[] bytes = new GgufWriter().put("s", 1).put("t", 2).toBytes();
    bytes[24 + 9] = 13;
    assertRefused(bytes).hasMessageContainingAll("metadata s", "13", "0 to 12");
    byte[] nested = new GgufWriter().put("s", new float[] {1, 2, 3}).toBytes();
    nested[24 + 9 + 4] = 9;
    assertRefused(nested).hasMessageContainingAll("metadata s", "arrays of arrays");
  }

  @Test
  void refusesDuplicates() {
    byte[] keys = new GgufWriter().put("same1", 1).put("same2", 2).toBytes();
    keys[24 + 8 + 4 + 8 + 8 + 5] = '1';
    assertRefused(keys).hasMessageContainingAll("same1", "twice");
    byte[] tensors =
        new GgufWriter().floats("w1", new float[1], 1).floats("w2", new float[1], 1).toBytes();
    tensors[24 + 8 + 2 + 4 + 8 + 4 + 8 + 8 + 1] = '1';
    assertRefused(tensors).hasMessageContainingAll("w1", "twice");
  }

  @ParameterizedTest
  @CsvSource({"10, Q2_K", "11, Q3_K", "20, IQ4_NL", "26, I32", "39, MXFP4", "12345, unknown"})
  void namesUnsupportedTypes(int id, String name) {
    assertRefused(new GgufWriter().falseTensor("w", id, -1, new byte[256], 256))
        .hasMessageContainingAll("tensor w", name, "type " + id, "Q4_K");
  }

  @Test
  void refusesImpossibleShapes() {
    byte[] bytes = new byte[64];
    assertRefused(new GgufWriter().falseTensor("w", F32, -1, bytes))
        .hasMessageContainingAll("tensor w", "0 dimensions");
    assertRefused(new GgufWriter().falseTensor("w", F32, -1, bytes, 1, 1, 1, 1, 1))
        .hasMessageContaining("5 dimensions");
    for (long dimension : new long[] {0, -1, 1L << 31, Long.MIN_VALUE}) {
      assertRefused(new GgufWriter().falseTensor("w", F32, -1, bytes, dimension))
          .hasMessageContainingAll("dimension 0", Long.toUnsignedString(dimension));
    }
    long most = Integer.MAX_VALUE;
    assertRefused(new GgufWriter().falseTensor("w", F32, -1, bytes, 1, most, most, most))
        .hasMessageContaining("rows");
    assertRefused(new GgufWriter().falseTensor("w", F32, -1, bytes, most, most))
        .hasMessageContaining("more than any file");
    assertRefused(new GgufWriter().falseTensor("w", F32, -1, bytes, most, 1 << 24))
        .hasMessageContaining("truncated");
    int q80 = TensorType.Q8_0.ggmlId();
    assertRefused(new GgufWriter().falseTensor("w", q80, -1, bytes, 33))
        .hasMessageContainingAll("33 columns", "multiple of the 32");
  }

  @Test
  void refusesTensorsOutsideTheFileOrOnEachOther() {
    byte[] bytes = new byte[64];
    assertRefused(new GgufWriter().falseTensor("w", F32, 32, bytes, 16))
        .hasMessageContainingAll("tensor w", "64 bytes", "the file ends");
    assertRefused(new GgufWriter().falseTensor("w", F32, Long.MAX_VALUE - 31, bytes, 16))
        .hasMessageContaining("the file ends");
    assertRefused(new GgufWriter().falseTensor("w", F32, 4, bytes, 8))
        .hasMessageContainingAll("offset 4", "alignment, 32");
    assertRefused(
            new GgufWriter()
                .falseTensor("first", F32, 0, bytes, 16)
                .falseTensor("second", F32, 32, bytes, 16))
        .hasMessageContainingAll("first", "second", "overlap");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -32, 33, 1 << 30})
  void refusesImpossibleAlignments(int alignment) {
    GgufWriter writer = new GgufWriter().floats("w", new float[] {1}, 1);
    byte[] bytes = writer.put("general.alignment", 32).toBytes();
    ByteBuffer.wrap(bytes)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt(24 + 8 + "general.alignment".length() + 4, alignment);
    assertRefused(bytes).hasMessageContainingAll("general.alignment", "powers of two");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8, 64, 4096})
  void followsTheAlignmentOfTheFile(int alignment) {
    GgufWriter writer =
        new GgufWriter()
            .put("general.alignment", alignment)
            .floats("a", new float[] {1, 2, 3}, 3)
            .floats("b", new float[] {4}, 1);
    try (GgufFile file = GgufFile.open(writer.write(file()))) {
      assertThat(file.tensor("b").bytes().getFloat(0)).isEqualTo(4);
    }
  }

  @Test
  void readsTensorsBeyondTwoGibibytes() throws IOException {
    long size = 3L << 30;
    int rows = 1 << 21;
    byte[] head =
        new GgufWriter()
            .falseTensor("first", F32, 0, new byte[0], 255, rows)
            .falseTensor("last", F32, size - 32, new byte[0], 8)
            .toBytes();
    int dataStart = (head.length + 31) / 32 * 32;
    try (FileChannel channel =
        FileChannel.open(
            file(),
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.SPARSE)) {
      channel.write(ByteBuffer.wrap(head));
      ByteBuffer last = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, 42);
      channel.write(last, dataStart + size - 4);
    }
    try (GgufFile file = GgufFile.open(file())) {
      assertThat(file.tensor("last").bytes().getFloat(28)).isEqualTo(42);
      assertThat(file.tensor("first").bytes().limit()).isEqualTo(4 * 255 * rows);
    }
  }

  @Test
  void keepsHostileNamesOutOfMessages() {
    String name = "w\u001b[31m\n" + "x".repeat(500);
    assertRefused(new GgufWriter().falseTensor(name, 99, -1, new byte[4], 1))
        .extracting(Throwable::getMessage)
        .asString()
        .doesNotContain("\u001b", "\n")
        .hasSizeLessThan(400);
  }
}
