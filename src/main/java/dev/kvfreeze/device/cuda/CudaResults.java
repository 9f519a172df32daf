package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.DeviceLostError;
import java.util.Set;
import jcuda.driver.CUresult;

/** Turns result codes of the driver into exceptions that say what was asked. */
final class CudaResults {
  /** After these the context answers every call with the same error, or cannot be trusted. */
  private static final Set<Integer> FATAL =
      Set.of(
          CUresult.CUDA_ERROR_DEINITIALIZED,
          CUresult.CUDA_ERROR_ECC_UNCORRECTABLE,
          CUresult.CUDA_ERROR_NVLINK_UNCORRECTABLE,
          CUresult.CUDA_ERROR_CONTEXT_IS_DESTROYED,
          CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,
          CUresult.CUDA_ERROR_LAUNCH_TIMEOUT,
          CUresult.CUDA_ERROR_ASSERT,
          CUresult.CUDA_ERROR_HARDWARE_STACK_ERROR,
          CUresult.CUDA_ERROR_ILLEGAL_INSTRUCTION,
          CUresult.CUDA_ERROR_MISALIGNED_ADDRESS,
          CUresult.CUDA_ERROR_INVALID_ADDRESS_SPACE,
          CUresult.CUDA_ERROR_INVALID_PC,
          CUresult.CUDA_ERROR_LAUNCH_FAILED,
          CUresult.CUDA_ERROR_EXTERNAL_DEVICE,
          CUresult.CUDA_ERROR_UNKNOWN);

  private CudaResults() {}

  static boolean fatal(int result) {
    return FATAL.contains(result);
  }

  /**
   * Does nothing for success.
   *
   * @param call the driver's function and what it was to do, with sizes
   * @param newest the kernel launched last: errors of kernels show in later calls
   */
  static void check(int result, String call, String newest) {
    if (result == CUresult.CUDA_SUCCESS) {
      return;
    }
    String what = call + " failed with " + CUresult.stringFor(result) + " (" + result + ")";
    if (fatal(result)) {
      throw new DeviceLostError(
          "the GPU is lost: "
              + what
              + "; newest kernel "
              + newest
              + ". Kernels run beside the program, so an earlier one may be at fault;"
              + " CUDA_LAUNCH_BLOCKING=1 finds which. nvidia-smi and dmesg (Xid) tell of faults of"
              + " the hardware");
    }
    throw new CudaException(result, what);
  }
}
