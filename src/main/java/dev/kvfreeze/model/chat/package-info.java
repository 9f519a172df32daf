/**
 * Conversations to prompts: the model file's own Jinja template, rendered without access to
 * anything but its messages and within limits, and prompts as token ids in which a document's text
 * can never become a special token.
 *
 * <p>May import {@code model}, {@code model.gguf} and {@code model.tokenizer}; Jinjava only here.
 */
package dev.kvfreeze.model.chat;
