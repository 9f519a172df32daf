package dev.kvfreeze.model.chat;

/**
 * A prompt whose document was cut, where necessary, to fit.
 *
 * @param ids the prompt's token ids
 * @param keptCharacters characters of the document in the prompt (UTF-16 units, from its beginning)
 * @param keptTokens tokens of that part
 * @param droppedTokens tokens of the rest; where {@code droppedEstimated}, by the kept part's
 *     characters a token
 */
public record FittedPrompt(
    int[] ids, int keptCharacters, int keptTokens, long droppedTokens, boolean droppedEstimated) {}
