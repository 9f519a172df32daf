// Arrays of the Java heap, held still while C works on them.

#ifndef KVFREEZE_HELD_ARRAYS_H
#define KVFREEZE_HELD_ARRAYS_H

#include <jni.h>

// As many as a call may hold; a source that holds more says so before it includes this.
#ifndef MAX_HELD
#define MAX_HELD 8
#endif

typedef struct {
  JNIEnv *env;
  int count;
  int failed;
  jarray arrays[MAX_HELD];
  void *elements[MAX_HELD];
} HeldArrays;

static inline void *hold(HeldArrays *held, jarray array) {
  void *elements = (*held->env)->GetPrimitiveArrayCritical(held->env, array, 0);
  held->failed |= !elements;
  held->arrays[held->count] = array;
  held->elements[held->count++] = elements;
  return elements;
}

// Lets them all go; with an error in Java when one was not to be had, and nothing was computed.
static inline void release(HeldArrays *held) {
  while (held->count > 0) {
    held->count--;
    if (held->elements[held->count]) {
      (*held->env)->ReleasePrimitiveArrayCritical(held->env, held->arrays[held->count],
                                                  held->elements[held->count], 0);
    }
  }
  if (held->failed) {
    jclass error = (*held->env)->FindClass(held->env, "java/lang/OutOfMemoryError");
    (*held->env)->ThrowNew(held->env, error, "the JVM could not hold an array still for a native kernel");
  }
}

#endif
