// What this processor can do, and the permission to use its matrix unit.

#include <cpuid.h>
#include <jni.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// As in NativeLibrary.java.
enum { FEATURE_AVX2 = 1, FEATURE_AVX512 = 2, FEATURE_BF16 = 4, FEATURE_AMX = 8 };

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

static int has(uint32_t register_bits, uint32_t wanted) { return (register_bits & wanted) == wanted; }

// The features of x86-64-v3, of which the compiler may use all.
static int has_avx2(uint64_t state, uint32_t ecx1, uint32_t ebx7) {
  uint32_t a, b, c, d;
  const uint64_t avx_state = 0x6;
  return (state & avx_state) == avx_state && has(ecx1, bit_FMA | bit_F16C | bit_AVX | bit_MOVBE | bit_POPCNT)
         && has(ebx7, bit_AVX2 | bit_BMI | bit_BMI2) && __get_cpuid(0x80000001, &a, &b, &c, &d) && has(c, bit_LZCNT);
}

static int has_avx512(uint64_t state, uint32_t ebx7, uint32_t ecx7) {
  const uint64_t avx512_state = 0xe6;
  return (state & avx512_state) == avx512_state && has(ebx7, bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL)
         && has(ecx7, bit_AVX512VNNI | bit_AVX512VBMI | bit_AVX512VBMI2 | bit_AVX512BITALG | bit_AVX512VPOPCNTDQ);
}

static int has_bf16(void) {
  uint32_t a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, bit_AVX512BF16);
}

static int has_amx(uint64_t state, uint32_t edx7) {
  const uint64_t tile_state = 0x60000;
  return has(edx7, AMX_TILE | AMX_BF16 | AMX_INT8) && (state & tile_state) == tile_state && amx_permitted();
}

static int detect(void) {
  uint32_t a, b, c, d, ecx1;
  if (!__get_cpuid(1, &a, &b, &ecx1, &d) || !has(ecx1, bit_OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    return 0;
  }
  const uint64_t state = enabled_state();
  if (!has_avx2(state, ecx1, b)) {
    return 0;
  }
  if (!has_avx512(state, b, c)) {
    return FEATURE_AVX2;
  }
  if (!has_bf16()) {
    return FEATURE_AVX2 | FEATURE_AVX512;
  }
  return FEATURE_AVX2 | FEATURE_AVX512 | FEATURE_BF16 | (has_amx(state, d) ? FEATURE_AMX : 0);
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
