// What this processor can do, and the permission to use its matrix unit.

#include <cpuid.h>
#include <jni.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// As in NativeLibrary.java.
enum { FEATURE_AVX512 = 1, FEATURE_AMX = 2 };

// CPUID leaf 7, register EDX; the compiler's header has no names for them.
enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

static uint64_t enabled_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

// Linux lets a process use tiles only after it has asked, once for all of its threads.
static int amx_permitted(void) {
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static int detect(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) {
    return 0;
  }
  const uint32_t wanted = bit_OSXSAVE | bit_FMA | bit_F16C | bit_AVX;
  if ((c & wanted) != wanted) {
    return 0;
  }
  const uint64_t state = enabled_state();
  const uint64_t avx512_state = 0xe6;
  if ((state & avx512_state) != avx512_state || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    return 0;
  }
  const uint32_t avx512 = bit_AVX2 | bit_BMI2 | bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  const uint32_t more = bit_AVX512VNNI | bit_AVX512VBMI | bit_AVX512VBMI2 | bit_AVX512BITALG | bit_AVX512VPOPCNTDQ;
  if ((b & avx512) != avx512 || (c & more) != more) {
    return 0;
  }
  int features = FEATURE_AVX512;
  const uint32_t amx = AMX_TILE | AMX_BF16 | AMX_INT8;
  const uint64_t tile_state = 0x60000;
  uint32_t a1, b1, c1, d1;
  if ((d & amx) == amx && (state & tile_state) == tile_state && __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1)
      && (a1 & bit_AVX512BF16) && amx_permitted()) {
    features |= FEATURE_AMX;
  }
  return features;
}

JNIEXPORT jint JNICALL Java_dev_kvfreeze_device_cpu_NativeLibrary_features(JNIEnv *env, jclass owner) {
  return detect();
}

// Several threads write into one array at a time: a JVM that gives copies, and writes them back, would lose some.
JNIEXPORT jboolean JNICALL Java_dev_kvfreeze_device_cpu_NativeLibrary_holdsArraysThemselves(JNIEnv *env, jclass owner,
                                                                                           jintArray array) {
  jboolean copy = JNI_TRUE;
  void *elements = (*env)->GetPrimitiveArrayCritical(env, array, &copy);
  if (!elements) {
    return JNI_FALSE;
  }
  (*env)->ReleasePrimitiveArrayCritical(env, array, elements, JNI_ABORT);
  return !copy;
}
