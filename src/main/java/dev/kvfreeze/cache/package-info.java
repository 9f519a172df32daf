/**
 * The paged KV cache: page tables by layer and KV head, the page pool, the cold store. Decides who
 * owns which slot of the device's page memory and moves pages as the freeze policy asks. Imports
 * {@code device} and {@code freeze}; knows no model's layers beyond their number and no Spark. One
 * thread, the engine's, uses everything here.
 */
package dev.kvfreeze.cache;
