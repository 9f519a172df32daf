package dev.kvfreeze.engine;

import dev.kvfreeze.device.KvFormat;
import java.nio.file.Path;

/**
 * The engine's sizes.
 *
 * @param kvFormat of the pages
 * @param pageTokens tokens a page
 * @param poolBytes most bytes of KV pages on the device; 0 for what is usual on it
 * @param coldBytes most bytes of the cold store
 * @param spillDirectory where the cold store spills to a file, or null to keep it in host memory
 * @param prefillChunk tokens of a prompt read in one forward pass
 * @param maxBatch most documents decoded together
 * @param contextLimit most tokens of a sequence; 0 for the model's own context length
 */
public record EngineOptions(
    KvFormat kvFormat,
    int pageTokens,
    long poolBytes,
    long coldBytes,
    Path spillDirectory,
    int prefillChunk,
    int maxBatch,
    int contextLimit) {}
