package dev.kvfreeze.device;

/**
 * What computes: named in every result row.
 *
 * @param device for example {@code cpu: AMD EPYC, 2 threads}
 * @param provider the kernels in use, for example {@code vector-512} or {@code scalar}
 * @param threads threads that compute
 */
public record DeviceInfo(String device, String provider, int threads) {}
