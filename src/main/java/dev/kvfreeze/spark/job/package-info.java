/**
 * The jobs that run a model over documents: plan what is missing, spread it over the executors,
 * report, sum up. Imports the other packages of {@code dev.kvfreeze.spark}, the engine's requests
 * and the model's tokenizer.
 */
package dev.kvfreeze.spark.job;
