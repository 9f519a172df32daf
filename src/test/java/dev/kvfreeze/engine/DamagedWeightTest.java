package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.TinyModels;
import dev.kvfreeze.model.gguf.GgufWriter;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A weight that is not a number would turn every text into nonsense; it is refused at load. */
class DamagedWeightTest {
  @TempDir private Path folder;

  @Test
  void aNanWeightIsRefusedByFileAndTensor() throws Exception {
    GgufWriter writer = TinyModels.llama(3);
    byte[] bytes = writer.tensorBytes("blk.0.attn_q.weight");
    bytes[0] = (byte) 0xff;
    bytes[1] = 0x7f;
    Path file = folder.resolve("damaged.gguf");
    writer.write(file);

    try (LanguageModel model = LanguageModels.open(file)) {
      assertThatThrownBy(() -> RealModels.engine(model, "full", RealModels.options(16, 1)))
          .isInstanceOf(ModelFileException.class)
          .hasMessageContaining("damaged.gguf")
          .hasMessageContaining("blk.0.attn_q.weight");
    }
  }
}
