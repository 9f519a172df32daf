// Kernels by name, launched with cuLaunchKernel's array of pointers to arguments.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "fibers.h"

namespace kvhost {
using Launcher = void (*)(void** parameters);

/// Number of parameters by name; filled likewise.
std::map<std::string, int>& parameter_counts();

/// Filled by static initialisers, in the sources that build.sh writes.
std::map<std::string, Launcher>& kernels();

/// Runs a kernel; returns kvfreeze_host_launch's result and leaves the reason in launch_error().
int launch(const std::string& kernel, Index3 grid, Index3 block, unsigned sharedBytes,
           void** parameters, bool reversed);
const std::string& launch_error();

template <typename... Arguments, size_t... kIndex>
void call(void (*kernel)(Arguments...), void** parameters, std::index_sequence<kIndex...>) {
  kernel(*static_cast<std::remove_reference_t<Arguments>*>(parameters[kIndex])...);
}

template <auto kKernel>
struct Entry;
template <typename... Arguments, void (*kKernel)(Arguments...)>
struct Entry<kKernel> {
  static constexpr int kParameters = sizeof...(Arguments);
  static void launch(void** parameters) {
    call(kKernel, parameters, std::index_sequence_for<Arguments...>{});
  }
};

struct Registration {
  Registration(const char* name, Launcher launcher, int parameters) {
    kernels()[name] = launcher;
    parameter_counts()[name] = parameters;
  }
};
}  // namespace kvhost

#define KVHOST_REGISTER(name) \
  static const kvhost::Registration registration_##name(#name, kvhost::Entry<&name>::launch, \
                                                        kvhost::Entry<&name>::kParameters)
