/**
 * The dozen operations that a forward pass asks of a device, and the memory in which KV pages lie
 * there. Interfaces and shapes only: each device is a package below this one.
 *
 * <p>Imports {@code model}, for tensor types and attention shapes.
 */
package dev.kvfreeze.device;
