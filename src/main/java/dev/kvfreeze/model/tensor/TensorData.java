package dev.kvfreeze.model.tensor;

import java.nio.ByteBuffer;

/**
 * One tensor as the model file stores it: a matrix of {@code rows} output rows by {@code columns}
 * input columns, row-major; a vector has one row. {@code bytes} is little-endian, read-only, its
 * position 0 and its limit {@code type.bytes(rows * columns)}.
 */
public record TensorData(String name, TensorType type, int rows, int columns, ByteBuffer bytes) {}
