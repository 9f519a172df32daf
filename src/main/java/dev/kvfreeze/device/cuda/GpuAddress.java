package dev.kvfreeze.device.cuda;

import java.util.List;
import java.util.Locale;

/** Finds the GPU that a resource manager means by an address. */
final class GpuAddress {
  private GpuAddress() {}

  /**
   * The GPU of an address: empty for the first, a UUID, or an ordinal. Where one GPU alone is
   * visible (a container's, CUDA_VISIBLE_DEVICES) an ordinal means that one, since resource
   * managers count all of the host's.
   *
   * @throws CudaUnavailableException listing what is visible, when there is none such
   */
  static GpuProperties find(String address, List<GpuProperties> gpus) {
    String wanted = address.strip();
    if (gpus.isEmpty()) {
      throw new CudaUnavailableException(
          "the CUDA driver sees no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES", null);
    }
    if (wanted.isEmpty() || gpus.size() == 1 && wanted.matches("\\d{1,4}|MIG-.*")) {
      return gpus.get(0);
    }
    String uuid = wanted.toLowerCase(Locale.ROOT).replaceFirst("^(gpu|mig)-", "");
    for (GpuProperties gpu : gpus) {
      boolean ordinal = wanted.equals(Integer.toString(gpu.ordinal()));
      if (ordinal || gpu.uuid().equals(uuid)) {
        return gpu;
      }
    }
    StringBuilder visible = new StringBuilder();
    for (GpuProperties gpu : gpus) {
      visible.append(visible.length() == 0 ? "" : ", ");
      visible.append(gpu.ordinal()).append(": ").append(gpu.name());
      visible.append(" GPU-").append(gpu.uuid());
    }
    throw new CudaUnavailableException(
        "GPU "
            + wanted
            + " is not visible, these are: "
            + visible
            + "; check CUDA_VISIBLE_DEVICES and Spark's discovery script",
        null);
  }
}
