// The functions of a class that implements PrefillKernels.java, for the source that includes this last: it names the class
// as OWNER and has a Tile with lay_out, begin_tile, finish_tile, attend and add_mass.

#include <xmmintrin.h>

// Arrays of the heap begin anywhere modulo 64 bytes, and the collector may have moved the scratch since the last call:
// its first word says how far from it the state lies.
static Tile open_tile(const Call *call, float *scratch, int fresh) {
  Tile tile = {.call = call, .rows = call->rows};
  int32_t *last_shift = (int32_t *)scratch;
  uint8_t *base = (uint8_t *)(((uintptr_t)scratch + sizeof(int32_t) + 63) & ~(uintptr_t)63);
  const int32_t shift = (int32_t)(base - (uint8_t *)scratch);
  uint8_t *state_end, *end;
  lay_out(&tile, call->head_size, base, &state_end, &end);
  if (!fresh && *last_shift != shift) {
    memmove(base, (uint8_t *)scratch + *last_shift, state_end - base);
  }
  *last_shift = shift;
  return tile;
}

static unsigned int begin_arithmetic(void) {
  const unsigned int mode = _mm_getcsr();
  // Tiny weights are zeros, as the matrix unit takes them: numbers below the normal ones are slow.
  _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | 0x0040);
  return mode;
}

#define FUNCTION(owner, name) JNICALL Java_dev_kvfreeze_device_cpu_##owner##_##name
#define FUNCTION_OF(owner, name) FUNCTION(owner, name)
#define NATIVE(name) FUNCTION_OF(OWNER, name)

JNIEXPORT jint NATIVE(scratchFloats)(JNIEnv *env, jobject owner, jint head_size, jint rows) {
  Tile tile = {.rows = rows};
  // Measured from an address that is not null, which is never read.
  uint8_t *base = (uint8_t *)(uintptr_t)64, *state_end, *end;
  lay_out(&tile, head_size, base, &state_end, &end);
  return (jint)((end - base + sizeof(int32_t) + 64) / sizeof(float) + 1);
}

JNIEXPORT void NATIVE(begin)(
    JNIEnv *env, jobject owner, jintArray call, jfloatArray scratch, jfloatArray x, jint offset, jint stride,
    jfloat scale) {
  HeldArrays held = {.env = env};
  const Call *about = hold(&held, call);
  float *memory = hold(&held, scratch);
  const float *queries = hold(&held, x);
  if (!held.failed) {
    const unsigned int mode = begin_arithmetic();
    Tile tile = open_tile(about, memory, 1);
    begin_tile(&tile, queries + offset, stride, scale);
    _mm_setcsr(mode);
  }
  release(&held);
}

// Attends or, with masses, adds masses.
static void run(
    JNIEnv *env, jintArray call, jfloatArray scratch, jobjectArray slabs, jint slab_count, jfloatArray masses,
    jint first_page) {
  jarray arrays[MAX_SLABS];
  uint32_t *words[MAX_SLABS];
  if ((*env)->EnsureLocalCapacity(env, slab_count + 8) != 0) {
    return;
  }
  for (int i = 0; i < slab_count; i++) {
    arrays[i] = (*env)->GetObjectArrayElement(env, slabs, i);
  }
  HeldArrays held = {.env = env};
  for (int i = 0; i < slab_count; i++) {
    words[i] = hold(&held, arrays[i]);
  }
  const Call *about = hold(&held, call);
  float *memory = hold(&held, scratch);
  float *sums = masses ? hold(&held, masses) : NULL;
  if (!held.failed) {
    const unsigned int mode = begin_arithmetic();
    const Tile tile = open_tile(about, memory, 0);
    if (sums) {
      add_mass(&tile, words, sums + first_page);
    } else {
      attend(&tile, words);
    }
    _mm_setcsr(mode);
  }
  release(&held);
}

JNIEXPORT void NATIVE(attend)(
    JNIEnv *env, jobject owner, jintArray call, jfloatArray scratch, jobjectArray slabs, jint slab_count) {
  run(env, call, scratch, slabs, slab_count, NULL, 0);
}

JNIEXPORT void NATIVE(addMass)(
    JNIEnv *env, jobject owner, jintArray call, jfloatArray scratch, jobjectArray slabs, jint slab_count,
    jfloatArray masses, jint first_page) {
  run(env, call, scratch, slabs, slab_count, masses, first_page);
}

JNIEXPORT void NATIVE(finish)(
    JNIEnv *env, jobject owner, jintArray call, jfloatArray scratch, jfloatArray results) {
  HeldArrays held = {.env = env};
  const Call *about = hold(&held, call);
  float *memory = hold(&held, scratch);
  float *to = hold(&held, results);
  if (!held.failed) {
    const Tile tile = open_tile(about, memory, 0);
    finish_tile(&tile, to);
  }
  release(&held);
}
