package dev.kvfreeze.model.tokenizer;

import dev.kvfreeze.model.gguf.GgufMetadata;
import java.util.List;
import java.util.TreeSet;

/**
 * Begin and end tokens of a model file, with the defaults and the well-known texts of llama.cpp
 * (llama-vocab.cpp, the "end of generation" set).
 *
 * @param begin the token that begins a sequence, or -1
 * @param addBegin whether prompts begin with it
 * @param ends ascending ids that end a generation
 */
record SpecialTokenIds(int begin, boolean addBegin, int[] ends) {
  private static final List<String> END_KEYS =
      List.of(
          "tokenizer.ggml.eos_token_id",
          "tokenizer.ggml.eot_token_id",
          "tokenizer.ggml.eom_token_id");

  /** Tokens that end a generation whatever the file declares; not marked special by that. */
  private static final List<String> INFILL_END_TEXTS =
      List.of(
          "<|fim_pad|>",
          "<fim-pad>",
          "<fim_pad>",
          "<PAD>",
          "[PAD]",
          "<|fim_repo|>",
          "<|repo_name|>",
          "<fim-repo>",
          "<REPO>",
          "<reponame>",
          "<|file_sep|>");

  private static final List<String> END_TEXTS =
      List.of(
          "<|eot_id|>",
          "<|im_end|>",
          "<|end|>",
          "<|return|>",
          "<|call|>",
          "<|flush|>",
          "<|calls|>",
          "<end_of_turn>",
          "<|endoftext|>",
          "</s>",
          "<|eom_id|>",
          "<EOT>",
          "_<EOT>",
          "[EOT]",
          "[EOS]",
          "<|end_of_text|>",
          "<end_of_utterance>",
          "<eos>",
          "<turn|>");

  /** Reads the ids; texts that can only be end tokens are marked special in the vocabulary. */
  static SpecialTokenIds read(
      GgufMetadata metadata,
      Vocabulary vocabulary,
      int defaultBegin,
      int defaultEnd,
      boolean defaultAddBegin) {
    TreeSet<Integer> ends = new TreeSet<>();
    for (String key : END_KEYS) {
      int id = id(metadata, vocabulary, key, -1);
      if (id >= 0) {
        ends.add(id);
      }
    }
    if (!metadata.contains(END_KEYS.get(0)) && defaultEnd < vocabulary.size()) {
      ends.add(defaultEnd);
    }
    for (String text : INFILL_END_TEXTS) {
      addIfThere(ends, vocabulary, text);
    }
    for (String text : END_TEXTS) {
      int id = addIfThere(ends, vocabulary, text);
      if (id >= 0) {
        vocabulary.markControl(id);
      }
    }
    int begin =
        id(
            metadata,
            vocabulary,
            "tokenizer.ggml.bos_token_id",
            defaultBegin < vocabulary.size() ? defaultBegin : -1);
    boolean addBegin = metadata.flagOr("tokenizer.ggml.add_bos_token", defaultAddBegin);
    return new SpecialTokenIds(
        begin, addBegin && begin >= 0, ends.stream().mapToInt(Integer::intValue).toArray());
  }

  private static int addIfThere(TreeSet<Integer> ends, Vocabulary vocabulary, String text) {
    int id = vocabulary.find(text);
    if (id >= 0) {
      ends.add(id);
    }
    return id;
  }

  private static int id(GgufMetadata metadata, Vocabulary vocabulary, String key, int fallback) {
    if (!metadata.contains(key)) {
      return fallback;
    }
    long id = metadata.integer(key);
    if (id < 0 || id >= vocabulary.size()) {
      throw Vocabulary.damaged(
          metadata,
          key + " is " + id + ", the vocabulary has the ids 0 to " + (vocabulary.size() - 1));
    }
    return (int) id;
  }
}
