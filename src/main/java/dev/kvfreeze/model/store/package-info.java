/**
 * From the name of a model to a checked local file: the catalogue, plain paths, a hub with the URL
 * and cache layout of {@code huggingface_hub}, and copies of files that others fetched. Imports
 * nothing of ours but {@code model}'s exception.
 */
package dev.kvfreeze.model.store;
