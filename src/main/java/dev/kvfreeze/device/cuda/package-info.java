/**
 * The device for NVIDIA GPUs: JCuda's driver API and the kernels of {@code src/main/cuda}, which
 * travel in the jar as PTX, so that a host needs the driver (560 or newer) and nothing else. The
 * only package that may mention {@code jcuda}. {@link dev.kvfreeze.device.cuda.DeviceMemory} is the
 * one owner of device memory.
 */
package dev.kvfreeze.device.cuda;
