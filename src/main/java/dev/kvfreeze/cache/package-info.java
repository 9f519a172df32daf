/**
 * The paged KV cache: page tables by layer and KV head, the page pool, the cold store. Knows no model
 * and no Spark. May import {@code device} (whose memory it hands out) and {@code freeze} (whose
 * decisions it carries out).
 */
package dev.kvfreeze.cache;
