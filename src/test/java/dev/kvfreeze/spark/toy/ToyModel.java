package dev.kvfreeze.spark.toy;

import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.chat.ChatTemplate;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tokenizer.Tokenizer;

/** A base model without weights, for tests of the jobs. */
public final class ToyModel implements LanguageModel {
  static final String HASH = "0".repeat(64);
  static final int CONTEXT = 2048;

  private final Tokenizer tokenizer = new ToyTokenizer();

  @Override
  public String name() {
    return "toy";
  }

  @Override
  public String hash() {
    return HASH;
  }

  @Override
  public ModelSpec spec() {
    throw new UnsupportedOperationException();
  }

  @Override
  public TensorData tensor(String name) {
    throw new ModelFileException("toy: it has no tensor " + name);
  }

  @Override
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  @Override
  public ChatTemplate chatTemplate() {
    return null;
  }

  @Override
  public void close() {}
}
