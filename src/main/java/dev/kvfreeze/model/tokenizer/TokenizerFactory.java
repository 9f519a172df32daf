package dev.kvfreeze.model.tokenizer;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.gguf.GgufMetadata;

/** Makes the tokenizer that a GGUF file describes. */
public final class TokenizerFactory {
  private static final String MODEL = "tokenizer.ggml.model";
  private static final String PRE = "tokenizer.ggml.pre";

  private TokenizerFactory() {}

  /**
   * Reads the vocabulary and its rules.
   *
   * @throws ModelFileException naming the key that is missing, wrong or not supported
   */
  public static Tokenizer create(GgufMetadata metadata) {
    String model = metadata.string(MODEL);
    return switch (model) {
      case "gpt2" -> byteLevel(metadata);
      case "llama" -> sentencePiece(metadata);
      default ->
          throw new ModelFileException(
              metadata.file()
                  + ": "
                  + MODEL
                  + " is '"
                  + model
                  + "'; gpt2 (byte-level BPE) and llama (SentencePiece BPE) are supported; take a model"
                  + " with one of these");
    };
  }

  private static Tokenizer byteLevel(GgufMetadata metadata) {
    String name = metadata.contains(PRE) ? metadata.string(PRE) : "default";
    PreTokenizer preTokenizer = PreTokenizer.of(name);
    if (preTokenizer == null) {
      throw new ModelFileException(
          metadata.file()
              + ": "
              + PRE
              + " is '"
              + name
              + "', supported are "
              + String.join(", ", PreTokenizer.names())
              + "; take a model with one of these");
    }
    Vocabulary vocabulary = Vocabulary.read(metadata);
    boolean ignoreMerges = PreTokenizer.ignoresMerges(name);
    // llama.cpp: 11 begins and ends where the file is silent; Llama 3 begins with its BOS.
    SpecialTokenIds ids = SpecialTokenIds.read(metadata, vocabulary, 11, 11, ignoreMerges);
    ByteLevelEncoder encoder =
        new ByteLevelEncoder(metadata, vocabulary, preTokenizer, ignoreMerges);
    return new VocabularyTokenizer(vocabulary, encoder, ids);
  }

  private static Tokenizer sentencePiece(GgufMetadata metadata) {
    Vocabulary vocabulary = Vocabulary.read(metadata);
    SpecialTokenIds ids = SpecialTokenIds.read(metadata, vocabulary, 1, 2, true);
    boolean addSpacePrefix = metadata.flagOr("tokenizer.ggml.add_space_prefix", true);
    long unknown = metadata.integerOr("tokenizer.ggml.unknown_token_id", 0);
    if (unknown < 0 || unknown >= vocabulary.size()) {
      throw Vocabulary.damaged(
          metadata,
          "tokenizer.ggml.unknown_token_id is "
              + unknown
              + ", the vocabulary has the ids 0 to "
              + (vocabulary.size() - 1));
    }
    return new VocabularyTokenizer(
        vocabulary, new SentencePieceEncoder(vocabulary, addSpacePrefix, (int) unknown), ids);
  }
}
