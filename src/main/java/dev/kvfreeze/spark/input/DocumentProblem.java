package dev.kvfreeze.spark.input;

import java.io.Serializable;

/**
 * Why a document cannot be used.
 *
 * @param errorClass a short fixed name to group by, such as {@code EmptyDocument}
 * @param message what is wrong and the remedy
 */
public record DocumentProblem(String errorClass, String message) implements Serializable {}
