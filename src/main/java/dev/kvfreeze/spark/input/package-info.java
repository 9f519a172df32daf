/**
 * Documents in: the formats, the decoding of text, and what makes a row unusable. Nothing here
 * throws because of one bad document: it becomes a {@link
 * dev.kvfreeze.spark.input.DocumentProblem}. Imports Spark and the settings, not the engine.
 */
package dev.kvfreeze.spark.input;
