package dev.kvfreeze.model;

import dev.kvfreeze.model.chat.ChatTemplate;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tokenizer.Tokenizer;

/**
 * A model file, opened and checked: its shape, its tensors (mapped, not copied), its tokenizer and
 * its chat template.
 */
public interface LanguageModel extends AutoCloseable {
  /** File name, for messages and result rows. */
  String name();

  /** SHA-256 of the file in hexadecimal. */
  String hash();

  ModelSpec spec();

  /**
   * A tensor by its GGUF name, for example {@code blk.0.attn_q.weight}.
   *
   * @throws ModelFileException naming file and tensor when it is missing
   */
  TensorData tensor(String name);

  Tokenizer tokenizer();

  /** The model's chat template, or null when it has none (a base model). */
  ChatTemplate chatTemplate();

  @Override
  void close();
}
