package dev.kvfreeze.eval;

import dev.kvfreeze.engine.PolicySetup;

/**
 * A policy under evaluation.
 *
 * @param label for result rows: the policy's name and what differs from its defaults
 */
public record NamedSetup(String label, PolicySetup setup) {}
