/**
 * Programs that measure the engine on a real model in a plain JVM. May import everything below
 * {@code spark}; nothing imports it.
 */
package dev.kvfreeze.benchmark;
