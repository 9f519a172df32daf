package dev.kvfreeze.device.cuda;

import static jcuda.driver.JCudaDriver.*;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstreamCaptureMode;

/** The driver of the system, through JCuda. Every result is checked. */
final class JCudaDriver implements CudaDriver {
  /** The oldest driver that reads our PTX: CUDA 12.6's. */
  static final int OLDEST_DRIVER = 12060;

  private static final int MOST_ARGUMENTS = 40;

  /**
   * Looked for before JCuda is: a class of it that failed to find its library cannot be loaded
   * again in this JVM. The last one is that of Windows' subsystem for Linux.
   */
  private static final List<Path> DRIVER_FILES =
      List.of(
          Path.of("/dev/nvidiactl"), Path.of("/proc/driver/nvidia/version"), Path.of("/dev/dxg"));

  private record NativeStream(CUstream handle) implements Stream {}

  private record NativeEvent(CUevent handle) implements Event {}

  private record NativeGraph(CUgraphExec handle) implements Graph {}

  private record NativeFunction(String name, CUfunction handle) implements Function {}

  /** Opens JCuda's protected pointers. */
  private static final class Address extends CUdeviceptr {
    Address(CUdeviceptr pointer) {
      super(pointer);
    }

    long value() {
      return getNativePointer() + getByteOffset();
    }
  }

  private final List<CUmodule> modules = new ArrayList<>();
  private final ByteBuffer arguments =
      ByteBuffer.allocateDirect(8 * MOST_ARGUMENTS).order(ByteOrder.nativeOrder());

  /** By number of arguments: pointers to as many places of {@link #arguments}. */
  private final Pointer[] argumentPointers = new Pointer[MOST_ARGUMENTS + 1];

  private CUdevice device;
  private CUcontext context;
  private String newest = "none";

  private JCudaDriver() {
    for (int count = 0; count <= MOST_ARGUMENTS; count++) {
      Pointer[] places = new Pointer[count];
      for (int i = 0; i < count; i++) {
        places[i] = Pointer.to(arguments).withByteOffset(8L * i);
      }
      argumentPointers[count] = Pointer.to(places);
    }
  }

  /**
   * Loads the driver.
   *
   * @throws CudaUnavailableException when there is none, it is too old, or it sees no GPU
   */
  static JCudaDriver load() {
    if (DRIVER_FILES.stream().noneMatch(Files::exists)) {
      throw new CudaUnavailableException(
          "this machine has no NVIDIA driver (none of "
              + DRIVER_FILES
              + " exists); install driver 560 or newer, give the container its GPU, or use"
              + " engine.device=cpu",
          null);
    }
    return loadLibrary();
  }

  /** The same with whatever libcuda.so.1 the process finds or has loaded. */
  static JCudaDriver loadLibrary() {
    try {
      int result = cuInit(0);
      if (result == CUresult.CUDA_ERROR_NO_DEVICE) {
        throw new CudaUnavailableException(
            "the CUDA driver sees no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES", null);
      }
      if (result != CUresult.CUDA_SUCCESS) {
        throw new CudaUnavailableException(
            "the CUDA driver does not start: cuInit failed with "
                + CUresult.stringFor(result)
                + "; check nvidia-smi",
            null);
      }
      int[] version = new int[1];
      CudaResults.check(cuDriverGetVersion(version), "cuDriverGetVersion", "none");
      if (version[0] < OLDEST_DRIVER) {
        throw new CudaUnavailableException(
            "the NVIDIA driver supports CUDA "
                + version[0] / 1000
                + "."
                + version[0] % 1000 / 10
                + ", the kernels need 12.6: install driver 560 or newer",
            null);
      }
      return new JCudaDriver();
    } catch (UnsatisfiedLinkError | NoClassDefFoundError e) {
      throw new CudaUnavailableException(
          "no CUDA driver here (libcuda.so.1 or JCuda's library cannot be loaded, "
              + System.getProperty("os.name")
              + " "
              + System.getProperty("os.arch")
              + "); install the NVIDIA driver 560 or newer, or use engine.device=cpu",
          e);
    }
  }

  private void check(int result, String call) {
    if (result != CUresult.CUDA_SUCCESS) {
      CudaResults.check(result, call, newest);
    }
  }

  @Override
  public List<GpuProperties> gpus() {
    return VisibleGpus.read();
  }

  @Override
  public void open(int ordinal) {
    device = new CUdevice();
    check(cuDeviceGet(device, ordinal), "cuDeviceGet of GPU " + ordinal);
    CUcontext retained = new CUcontext();
    check(cuDevicePrimaryCtxRetain(retained, device), "cuDevicePrimaryCtxRetain of GPU " + ordinal);
    context = retained;
    makeCurrent();
  }

  @Override
  public void makeCurrent() {
    check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
  }

  @Override
  public MemoryInfo memoryInfo() {
    long[] free = new long[1];
    long[] total = new long[1];
    check(cuMemGetInfo(free, total), "cuMemGetInfo");
    return new MemoryInfo(free[0], total[0]);
  }

  @Override
  public List<Function> load(String moduleName, byte[] ptx, List<String> kernels) {
    CUmodule module = new CUmodule();
    byte[] terminated = Arrays.copyOf(ptx, ptx.length + 1);
    check(
        cuModuleLoadData(module, terminated),
        "cuModuleLoadData of " + moduleName + " (" + ptx.length + " bytes of PTX)");
    modules.add(module);
    List<Function> functions = new ArrayList<>();
    for (String kernel : kernels) {
      CUfunction function = new CUfunction();
      check(
          cuModuleGetFunction(function, module, kernel),
          "cuModuleGetFunction of " + kernel + " in " + moduleName);
      functions.add(new NativeFunction(kernel, function));
    }
    return functions;
  }

  @Override
  public void allowSharedMemory(Function function, int bytes) {
    check(
        cuFuncSetAttribute(
            ((NativeFunction) function).handle(),
            CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            bytes),
        "cuFuncSetAttribute of " + function.name() + " to " + bytes + " bytes of shared memory");
  }

  @Override
  public long allocate(long bytes) {
    CUdeviceptr pointer = new CUdeviceptr();
    check(cuMemAlloc(pointer, bytes), "cuMemAlloc of " + bytes + " bytes");
    return new Address(pointer).value();
  }

  @Override
  public void free(long address) {
    check(cuMemFree(at(address)), "cuMemFree");
  }

  private static CUdeviceptr at(long address) {
    return new CUdeviceptr().withByteOffset(address);
  }

  @Override
  public PinnedMemory allocatePinned(long bytes) {
    Pointer pointer = new Pointer();
    check(
        cuMemHostAlloc(pointer, bytes, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
        "cuMemHostAlloc of " + bytes + " bytes of page-locked memory");
    CUdeviceptr mapped = new CUdeviceptr();
    check(cuMemHostGetDevicePointer(mapped, pointer, 0), "cuMemHostGetDevicePointer");
    int pieces = (int) ((bytes + PinnedMemory.PIECE_BYTES - 1) / PinnedMemory.PIECE_BYTES);
    ByteBuffer[] buffers = new ByteBuffer[pieces];
    for (int i = 0; i < pieces; i++) {
      long offset = i * PinnedMemory.PIECE_BYTES;
      long length = Math.min(PinnedMemory.PIECE_BYTES, bytes - offset);
      buffers[i] = pointer.getByteBuffer(offset, length);
    }
    return new PinnedMemory(new Address(mapped).value(), bytes, buffers, pointer);
  }

  @Override
  public void free(PinnedMemory memory) {
    check(cuMemFreeHost((Pointer) memory.handle()), "cuMemFreeHost");
  }

  @Override
  public Stream newStream(StreamPriority priority) {
    CUstream stream = new CUstream();
    int[] least = new int[1];
    int[] greatest = new int[1];
    check(cuCtxGetStreamPriorityRange(least, greatest), "cuCtxGetStreamPriorityRange");
    check(
        cuStreamCreateWithPriority(
            stream,
            jcuda.driver.CUstream_flags.CU_STREAM_NON_BLOCKING,
            priority == StreamPriority.HIGH ? greatest[0] : least[0]),
        "cuStreamCreateWithPriority");
    return new NativeStream(stream);
  }

  private static CUstream of(Stream stream) {
    return ((NativeStream) stream).handle();
  }

  @Override
  public void close(Stream stream) {
    check(cuStreamDestroy(of(stream)), "cuStreamDestroy");
  }

  @Override
  public void synchronize(Stream stream) {
    check(cuStreamSynchronize(of(stream)), "cuStreamSynchronize");
  }

  @Override
  public Event newEvent(EventTiming timing) {
    CUevent event = new CUevent();
    int flags =
        timing == EventTiming.ON
            ? jcuda.driver.CUevent_flags.CU_EVENT_DEFAULT
            : jcuda.driver.CUevent_flags.CU_EVENT_DISABLE_TIMING;
    check(cuEventCreate(event, flags), "cuEventCreate");
    return new NativeEvent(event);
  }

  private static CUevent of(Event event) {
    return ((NativeEvent) event).handle();
  }

  @Override
  public void close(Event event) {
    check(cuEventDestroy(of(event)), "cuEventDestroy");
  }

  @Override
  public void record(Event event, Stream stream) {
    check(cuEventRecord(of(event), of(stream)), "cuEventRecord");
  }

  @Override
  public void await(Stream stream, Event event) {
    check(cuStreamWaitEvent(of(stream), of(event), 0), "cuStreamWaitEvent");
  }

  @Override
  public boolean isDone(Event event) {
    int result = cuEventQuery(of(event));
    if (result == CUresult.CUDA_ERROR_NOT_READY) {
      return false;
    }
    check(result, "cuEventQuery");
    return true;
  }

  @Override
  public void synchronize(Event event) {
    check(cuEventSynchronize(of(event)), "cuEventSynchronize");
  }

  @Override
  public float millisBetween(Event from, Event to) {
    float[] millis = new float[1];
    check(cuEventElapsedTime(millis, of(from), of(to)), "cuEventElapsedTime");
    return millis[0];
  }

  @Override
  public void copy(long to, long from, long bytes, Stream stream) {
    int result = cuMemcpyAsync(at(to), at(from), bytes, of(stream));
    if (result != CUresult.CUDA_SUCCESS) {
      check(result, "cuMemcpyAsync of " + bytes + " bytes");
    }
  }

  @Override
  public void fill(long address, byte value, long bytes, Stream stream) {
    int result = cuMemsetD8Async(at(address), value, bytes, of(stream));
    if (result != CUresult.CUDA_SUCCESS) {
      check(result, "cuMemsetD8Async of " + bytes + " bytes");
    }
  }

  @Override
  public void launch(Launch launch, Stream stream) {
    long[] values = launch.arguments();
    for (int i = 0; i < values.length; i++) {
      arguments.putLong(8 * i, values[i]);
    }
    newest = launch.function().name();
    int result =
        cuLaunchKernel(
            ((NativeFunction) launch.function()).handle(),
            launch.gridX(),
            launch.gridY(),
            launch.gridZ(),
            launch.blockX(),
            launch.blockY(),
            1,
            launch.sharedBytes(),
            of(stream),
            argumentPointers[values.length],
            null);
    if (result != CUresult.CUDA_SUCCESS) {
      check(result, "cuLaunchKernel of " + launch);
    }
  }

  @Override
  public Graph graph(List<Launch> launches, Stream stream) {
    check(
        cuStreamBeginCapture(of(stream), CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        "cuStreamBeginCapture");
    CUgraph graph = new CUgraph();
    try {
      launches.forEach(launch -> launch(launch, stream));
    } finally {
      check(cuStreamEndCapture(of(stream), graph), "cuStreamEndCapture");
    }
    CUgraphExec executable = new CUgraphExec();
    try {
      check(
          cuGraphInstantiate(executable, graph, 0),
          "cuGraphInstantiate of " + launches.size() + " launches");
    } finally {
      check(cuGraphDestroy(graph), "cuGraphDestroy");
    }
    return new NativeGraph(executable);
  }

  @Override
  public void launch(Graph graph, Stream stream) {
    newest = "a graph's";
    check(cuGraphLaunch(((NativeGraph) graph).handle(), of(stream)), "cuGraphLaunch");
  }

  @Override
  public void close(Graph graph) {
    check(cuGraphExecDestroy(((NativeGraph) graph).handle()), "cuGraphExecDestroy");
  }

  @Override
  public void abandon() {
    if (context != null) {
      context = null;
      modules.clear();
      // Results are of no use: the context is broken or has not been made as a whole.
      int unusedReset = cuDevicePrimaryCtxReset(device);
      int unusedRelease = cuDevicePrimaryCtxRelease(device);
    }
  }

  @Override
  public void close() {
    if (context == null) {
      return;
    }
    context = null;
    for (CUmodule module : modules) {
      check(cuModuleUnload(module), "cuModuleUnload");
    }
    modules.clear();
    check(cuDevicePrimaryCtxRelease(device), "cuDevicePrimaryCtxRelease");
  }
}
