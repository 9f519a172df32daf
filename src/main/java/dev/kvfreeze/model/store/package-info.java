/**
 * Where model files come from and how they are told apart: local paths, the cache folder, a hub;
 * sizes and hashes.
 *
 * <p>Imports nothing of ours outside {@code model}.
 */
package dev.kvfreeze.model.store;
