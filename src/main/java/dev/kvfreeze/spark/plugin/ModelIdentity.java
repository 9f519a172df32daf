package dev.kvfreeze.spark.plugin;

/**
 * What the driver knows of a model.
 *
 * @param name file name
 * @param hash SHA-256 of the file in hexadecimal
 * @param contextLength tokens it was trained for
 */
public record ModelIdentity(String name, String hash, int contextLength) {}
