package dev.kvfreeze.engine;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.freeze.FreezePolicy;

/**
 * A policy and the cache it works on.
 *
 * @param format of the pages
 * @param pageTokens tokens a page
 */
public record PolicySetup(FreezePolicy policy, KvFormat format, int pageTokens) {}
