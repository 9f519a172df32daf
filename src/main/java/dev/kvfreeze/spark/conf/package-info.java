/**
 * The {@code spark.kvfreeze.*} settings: every knob with its type, unit, default and description in
 * {@link dev.kvfreeze.spark.conf.Knobs}, and the one precedence in {@link
 * dev.kvfreeze.spark.conf.SettingsResolver}. Reads files through Hadoop; imports nothing else of
 * Spark, nor any other package of {@code dev.kvfreeze.spark}.
 */
package dev.kvfreeze.spark.conf;
