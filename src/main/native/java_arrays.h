// Arrays of the Java heap, held still.

#ifndef KVFREEZE_JAVA_ARRAYS_H
#define KVFREEZE_JAVA_ARRAYS_H

#include <jni.h>

static inline void *hold(JNIEnv *env, jarray array) {
  return (*env)->GetPrimitiveArrayCritical(env, array, NULL);
}

static inline void release(JNIEnv *env, jarray array, const void *held, jint mode) {
  if (held) {
    (*env)->ReleasePrimitiveArrayCritical(env, array, (void *)held, mode);
  }
}

#endif
