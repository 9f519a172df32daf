package dev.kvfreeze.device.cuda;

import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
import static jcuda.driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
import static jcuda.driver.JCudaDriver.*;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import jcuda.driver.CUdevice;
import jcuda.driver.CUuuid;

/** Asks the driver about its GPUs. */
final class VisibleGpus {
  private VisibleGpus() {}

  static List<GpuProperties> read() {
    int[] count = new int[1];
    check(cuDeviceGetCount(count), "cuDeviceGetCount");
    int[] version = new int[1];
    check(cuDriverGetVersion(version), "cuDriverGetVersion");
    List<GpuProperties> gpus = new ArrayList<>();
    for (int ordinal = 0; ordinal < count[0]; ordinal++) {
      gpus.add(properties(ordinal, version[0]));
    }
    return gpus;
  }

  private static void check(int result, String call) {
    CudaResults.check(result, call, "none");
  }

  private static GpuProperties properties(int ordinal, int version) {
    CUdevice gpu = new CUdevice();
    check(cuDeviceGet(gpu, ordinal), "cuDeviceGet of GPU " + ordinal);
    byte[] name = new byte[256];
    check(cuDeviceGetName(name, name.length, gpu), "cuDeviceGetName of GPU " + ordinal);
    int end = 0;
    while (end < name.length && name[end] != 0) {
      end++;
    }
    long[] bytes = new long[1];
    check(cuDeviceTotalMem(bytes, gpu), "cuDeviceTotalMem of GPU " + ordinal);
    return new GpuProperties(
        ordinal,
        new String(name, 0, end, StandardCharsets.UTF_8),
        attribute(gpu, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
        attribute(gpu, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        attribute(gpu, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        bytes[0],
        attribute(gpu, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
        uuid(gpu, ordinal),
        version);
  }

  private static int attribute(CUdevice gpu, int attribute) {
    int[] value = new int[1];
    check(cuDeviceGetAttribute(value, attribute, gpu), "cuDeviceGetAttribute " + attribute);
    return value[0];
  }

  private static String uuid(CUdevice gpu, int ordinal) {
    CUuuid uuid = new CUuuid();
    check(cuDeviceGetUuid(uuid, gpu), "cuDeviceGetUuid of GPU " + ordinal);
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 16; i++) {
      text.append(i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "");
      text.append(String.format(Locale.ROOT, "%02x", uuid.bytes[i]));
    }
    return text.toString();
  }
}
