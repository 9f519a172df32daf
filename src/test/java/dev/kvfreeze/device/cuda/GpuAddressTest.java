package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.DeviceLostError;
import java.util.List;
import jcuda.driver.CUresult;
import org.junit.jupiter.api.Test;

class GpuAddressTest {
  private static GpuProperties gpu(int ordinal, String uuid) {
    return new GpuProperties(ordinal, "card", 9, 0, 132, 1, 1, uuid, 12060);
  }

  private static final List<GpuProperties> TWO = List.of(gpu(0, "aa-0"), gpu(1, "aa-1"));

  @Test
  void ordinalsUuidsAndNothing() {
    assertThat(GpuAddress.find("1", TWO).ordinal()).isEqualTo(1);
    assertThat(GpuAddress.find("GPU-AA-1", TWO).ordinal()).isEqualTo(1);
    assertThat(GpuAddress.find("", TWO).ordinal()).isZero();
  }

  @Test
  void theOnlyVisibleOneIsMeantWhateverItsNumberOnTheHost() {
    assertThat(GpuAddress.find("3", TWO.subList(0, 1)).ordinal()).isZero();
  }

  @Test
  void anUnknownOneIsRefusedWithWhatIsVisible() {
    assertThatThrownBy(() -> GpuAddress.find("2", TWO))
        .isInstanceOf(CudaUnavailableException.class)
        .hasMessageContaining("GPU-aa-1");
  }

  @Test
  void aClaimIsForOneEngineUntilItIsClosed() {
    GpuClaim first = GpuClaim.of("test-of-claims");
    assertThatThrownBy(() -> GpuClaim.of("test-of-claims"))
        .isInstanceOf(CudaUnavailableException.class)
        .hasMessageContaining("spark.executor.resource.gpu.amount");
    first.close();
    GpuClaim.of("test-of-claims").close();
  }

  @Test
  void faultsOfKernelsLoseTheDeviceAndOthersDoNot() {
    assertThatThrownBy(
            () -> CudaResults.check(CUresult.CUDA_ERROR_ILLEGAL_ADDRESS, "cuEventQuery", "rope"))
        .isInstanceOf(DeviceLostError.class)
        .hasMessageContaining("cuEventQuery")
        .hasMessageContaining("newest kernel rope");
    assertThatThrownBy(
            () -> CudaResults.check(CUresult.CUDA_ERROR_OUT_OF_MEMORY, "cuMemAlloc of 9 bytes", ""))
        .isInstanceOf(CudaException.class)
        .hasMessageContaining("cuMemAlloc of 9 bytes failed with CUDA_ERROR_OUT_OF_MEMORY");
  }
}
