/**
 * Text to token ids and back, as the vocabulary inside a GGUF file says: byte-level BPE and
 * SentencePiece-style BPE, special tokens, end tokens, streaming decode. Ids are those of llama.cpp
 * on the same file.
 *
 * <p>May import {@code model.gguf} and {@code model} only.
 */
package dev.kvfreeze.model.tokenizer;
