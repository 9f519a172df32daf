package dev.kvfreeze.spark.conf;

import java.util.function.Function;

/**
 * How a knob's text becomes a value.
 *
 * @param allowed what is accepted, in words, for the table and for messages
 * @param parser throws {@link IllegalArgumentException} for text that is not accepted
 */
public record KnobType<T>(String allowed, Function<String, T> parser) {}
