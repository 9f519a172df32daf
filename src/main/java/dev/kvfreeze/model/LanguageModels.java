package dev.kvfreeze.model;

import dev.kvfreeze.model.chat.ChatTemplate;
import dev.kvfreeze.model.chat.ChatTemplates;
import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.store.FileHash;
import dev.kvfreeze.model.store.StoreSettings;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.model.tokenizer.TokenizerFactory;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** Opens model files. */
public final class LanguageModels {
  private LanguageModels() {}

  /**
   * Opens a GGUF file and checks it; the hash is computed (once for each state of the file) beside
   * the rest.
   *
   * @throws ModelFileException naming the file, what is wrong and the remedy
   */
  public static LanguageModel open(Path path) {
    GgufFile file = GgufFile.open(path);
    try {
      CompletableFuture<String> hash =
          CompletableFuture.supplyAsync(
              () -> FileHash.cachedSha256(path, StoreSettings.environmentCacheFolder()));
      ModelSpec spec = Architectures.read(file);
      Tokenizer tokenizer = TokenizerFactory.create(file.metadata());
      requireSameVocabulary(file, spec, tokenizer);
      ChatTemplate template = ChatTemplates.create(file.metadata(), tokenizer);
      return new GgufLanguageModel(file, hash, spec, tokenizer, template);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  private static void requireSameVocabulary(GgufFile file, ModelSpec spec, Tokenizer tokenizer) {
    if (tokenizer.vocabularySize() != spec.vocabulary()) {
      throw new ModelFileException(
          "%s: the vocabulary has %d tokens and token_embd.weight %d rows, allowed the same number; convert the model again"
              .formatted(file.metadata().file(), tokenizer.vocabularySize(), spec.vocabulary()));
    }
  }

  private record GgufLanguageModel(
      GgufFile file,
      CompletableFuture<String> hashing,
      ModelSpec spec,
      Tokenizer tokenizer,
      ChatTemplate chatTemplate)
      implements LanguageModel {
    @Override
    public String name() {
      return file.path().getFileName().toString();
    }

    @Override
    public String hash() {
      try {
        return hashing.join();
      } catch (CompletionException e) {
        throw new ModelFileException(
            file.path() + ": cannot be hashed: " + e.getCause().getMessage(), e);
      }
    }

    @Override
    public TensorData tensor(String name) {
      return file.tensor(name);
    }

    @Override
    public void close() {
      tokenizer.close();
      file.close();
    }
  }
}
