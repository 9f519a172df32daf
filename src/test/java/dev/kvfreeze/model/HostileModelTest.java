package dev.kvfreeze.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.model.gguf.GgufWriter;
import dev.kvfreeze.model.tensor.Dequantizer;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Model files as bad luck and bad people make them: opened, or refused with a readable reason. */
class HostileModelTest {
  private static final int MUTATIONS = 500;

  @TempDir Path folder;

  /** Opens a model and reads all its tensors. */
  private static void openWhole(Path path) {
    try (LanguageModel model = LanguageModels.open(path)) {
      model.hash();
      readWhole(model.tensor("token_embd.weight"));
      for (int layer = 0; layer < model.spec().layers().size(); layer++) {
        readWhole(model.tensor("blk." + layer + ".attn_q.weight"));
      }
    }
  }

  private static void readWhole(TensorData tensor) {
    float[] row = new float[tensor.columns()];
    for (int r = 0; r < tensor.rows(); r++) {
      Dequantizer.dequantize(tensor, r, row, 0);
    }
  }

  @Test
  void opensTheTinyModel() {
    Path path = TinyModels.llama(1).write(folder.resolve("tiny.gguf"));
    try (LanguageModel model = LanguageModels.open(path)) {
      assertThat(model.name()).isEqualTo("tiny.gguf");
      assertThat(model.hash()).hasSize(64);
      assertThat(model.spec().layers()).hasSize(TinyModels.LAYERS);
      assertThat(model.chatTemplate()).isNotNull();
      int[] tokens =
          model.tokenizer().encode("the thin \u00e9 \ud83d\ude00", SpecialTokens.AS_TEXT);
      assertThat(model.tokenizer().decode(tokens)).isEqualTo("the thin \u00e9 \ud83d\ude00");
    }
    openWhole(path);
    assertThat(TinyModels.llama(1).toBytes()).isEqualTo(TinyModels.llama(1).toBytes());
    assertThat(TinyModels.llama(2).toBytes()).isNotEqualTo(TinyModels.llama(1).toBytes());
  }

  @ParameterizedTest
  @ValueSource(strings = {"flipped bits", "random bytes", "extreme words", "cut", "spliced"})
  void mutatedFilesOpenOrAreRefused(String kind) {
    byte[] whole = TinyModels.llama(1).toBytes();
    // The head is where structure is; most mutations go there.
    int head = whole.length / 10;
    Random random = new Random(kind.hashCode());
    UnaryOperator<byte[]> mutation = mutation(kind, head, random);
    Path path = folder.resolve("mutated.gguf");
    int refused = 0;
    for (int i = 0; i < MUTATIONS / 5; i++) {
      byte[] mutated = mutation.apply(whole.clone());
      refused += opens(path, mutated, kind + " " + i) ? 0 : 1;
    }
    assertThat(refused).as("refused of %d", MUTATIONS / 5).isPositive();
  }

  private static boolean opens(Path path, byte[] bytes, String what) {
    try {
      Files.write(path, bytes);
      Assertions.assertTimeoutPreemptively(Duration.ofSeconds(10), () -> openWhole(path), what);
      return true;
    } catch (ModelFileException e) {
      assertThat(e).as(what).hasMessageContaining("mutated.gguf").hasMessageContaining(";");
      return false;
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      throw new AssertionError(what + ": " + e, e);
    }
  }

  private static UnaryOperator<byte[]> mutation(String kind, int head, Random random) {
    return switch (kind) {
      case "flipped bits" ->
          bytes -> {
            for (int i = 0; i < 1 + random.nextInt(8); i++) {
              bytes[random.nextInt(head)] ^= (byte) (1 << random.nextInt(8));
            }
            return bytes;
          };
      case "random bytes" ->
          bytes -> {
            byte[] noise = new byte[1 + random.nextInt(64)];
            random.nextBytes(noise);
            System.arraycopy(noise, 0, bytes, random.nextInt(head - 64), noise.length);
            return bytes;
          };
      case "extreme words" ->
          bytes -> {
            int at = random.nextInt(head - 8);
            byte value = random.nextBoolean() ? (byte) 0xff : (byte) (random.nextInt(3) << 6);
            Arrays.fill(bytes, at, at + 1 + random.nextInt(8), value);
            return bytes;
          };
      case "cut" -> bytes -> Arrays.copyOf(bytes, random.nextInt(bytes.length));
      default ->
          bytes -> {
            int from = random.nextInt(head);
            int to = random.nextInt(head);
            int length = random.nextInt(head - Math.max(from, to));
            System.arraycopy(bytes.clone(), from, bytes, to, length);
            return bytes;
          };
    };
  }

  @Test
  void refusesAVocabularyOfAnotherSize() {
    GgufWriter writer = TinyModels.llama(1);
    writer.floats("token_embd.weight", new float[TinyModels.HIDDEN * 300], TinyModels.HIDDEN, 300);
    assertThatThrownBy(() -> LanguageModels.open(writer.write(folder.resolve("m.gguf"))))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContainingAll("m.gguf", "267", "300");
  }
}
