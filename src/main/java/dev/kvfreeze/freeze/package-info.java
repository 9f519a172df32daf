/**
 * The algorithm (arXiv 2512.11221): which pages are active. Small state and arithmetic, readable
 * beside the paper. No I/O, no device, no Spark; imports nothing of the project.
 */
package dev.kvfreeze.freeze;
