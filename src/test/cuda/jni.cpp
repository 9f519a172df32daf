// The natives of dev.kvfreeze.device.cuda.HostKernels.
#include <jni.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "registry.h"

namespace {
void fail(JNIEnv* env, const std::string& message) {
  env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), message.c_str());
}
}  // namespace

extern "C" {
JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cuda_HostKernels_launchNative(
    JNIEnv* env, jclass, jstring kernel, jint gridX, jint gridY, jint gridZ, jint blockX,
    jint blockY, jint blockZ, jint sharedBytes, jobject arguments, jintArray offsets) {
  auto* bytes = static_cast<char*>(env->GetDirectBufferAddress(arguments));
  if (bytes == nullptr) {
    fail(env, "the arguments are not in a direct buffer");
    return;
  }
  const jsize count = env->GetArrayLength(offsets);
  std::vector<jint> at(count);
  env->GetIntArrayRegion(offsets, 0, count, at.data());
  std::vector<void*> parameters(count);
  for (jsize i = 0; i < count; i++) parameters[i] = bytes + at[i];
  const char* characters = env->GetStringUTFChars(kernel, nullptr);
  const std::string name(characters);
  env->ReleaseStringUTFChars(kernel, characters);
  const auto size = [](jint value) { return static_cast<unsigned>(value); };
  if (kvhost::launch(name, {size(gridX), size(gridY), size(gridZ)},
                     {size(blockX), size(blockY), size(blockZ)}, size(sharedBytes),
                     parameters.data(), false) != 0) {
    fail(env, kvhost::launch_error());
  }
}

JNIEXPORT jlong JNICALL Java_dev_kvfreeze_device_cuda_HostKernels_allocateNative(JNIEnv*, jclass,
                                                                                 jlong bytes) {
  const size_t rounded = (static_cast<size_t>(bytes) + 255) / 256 * 256;
  void* memory = std::aligned_alloc(256, rounded == 0 ? 256 : rounded);
  if (memory != nullptr) std::memset(memory, 0xcb, rounded);
  return reinterpret_cast<jlong>(memory);
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cuda_HostKernels_freeNative(JNIEnv*, jclass,
                                                                            jlong address) {
  std::free(reinterpret_cast<void*>(address));
}

JNIEXPORT jobject JNICALL Java_dev_kvfreeze_device_cuda_HostKernels_viewNative(JNIEnv* env, jclass,
                                                                               jlong address,
                                                                               jlong bytes) {
  return env->NewDirectByteBuffer(reinterpret_cast<void*>(address), bytes);
}

JNIEXPORT jlong JNICALL Java_dev_kvfreeze_device_cuda_HostKernels_addressNative(JNIEnv* env, jclass,
                                                                                jobject buffer) {
  return reinterpret_cast<jlong>(env->GetDirectBufferAddress(buffer));
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cuda_HostKernels_copyNative(JNIEnv*, jclass,
                                                                            jlong to, jlong from,
                                                                            jlong bytes) {
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from),
               static_cast<size_t>(bytes));
}

JNIEXPORT jobjectArray JNICALL Java_dev_kvfreeze_device_cuda_HostKernels_namesNative(JNIEnv* env,
                                                                                     jclass) {
  const auto& all = kvhost::kernels();
  jobjectArray names = env->NewObjectArray(static_cast<jsize>(all.size()),
                                           env->FindClass("java/lang/String"), nullptr);
  jsize index = 0;
  for (const auto& entry : all) {
    env->SetObjectArrayElement(names, index++, env->NewStringUTF(entry.first.c_str()));
  }
  return names;
}
}
