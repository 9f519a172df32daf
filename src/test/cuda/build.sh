#!/usr/bin/env bash
# Compiles the kernels for the host: build.sh OUTPUT_FOLDER [library | tests]
# library: libkvfreeze_host_kernels.so, with the natives of HostKernels if JAVA_HOME has jni.h.
# tests: the program kernel_tests. Both when nothing is said. Compiles only what has changed.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
sources="$here/../../main/cuda"
out="$(mkdir -p "$1" && cd "$1" && pwd)"
what="${2:-all}"
# -ffp-contract=off: a product's rounding must not depend on how g++ schedules it.
flags=(-std=c++17 -O2 -ffp-contract=off -fno-strict-aliasing -fPIC -pthread -Wall -Wextra -Werror
  -Wno-unused-variable -Wno-unknown-pragmas -DKVFREEZE_HOST -I"$sources" -I"$here")
${CXX_FLAGS:+eval flags+=(${CXX_FLAGS})}

jobs=()
compile() { # source object
  local stamp
  stamp="$( (cat "$1" "$sources"/*.cuh "$sources"/*.cu "$here"/*.h; echo "${flags[*]}") | sha256sum)"
  if [[ -f $2 && -f $2.stamp && $(<"$2.stamp") == "$stamp" ]]; then
    return
  fi
  (g++ "${flags[@]}" "${@:3}" -c "$1" -o "$2" && echo "$stamp" >"$2.stamp") &
  jobs+=($!)
  if ((${#jobs[@]} >= 2)); then
    wait "${jobs[0]}"
    jobs=("${jobs[@]:1}")
  fi
}

objects=()
for family in "$sources"/*.cu; do
  name="$(basename "$family" .cu)"
  {
    echo "#include \"$family\""
    echo '#include "registry.h"'
    tr -s '\n ' '  ' <"$family" |
      grep -oE 'extern "C" __global__ void (__launch_bounds__\([^)]*\) )?[a-z0-9_]+' |
      sed 's/.* //; s/.*/KVHOST_REGISTER(&);/'
  } >"$out/$name.new"
  cmp -s "$out/$name.new" "$out/$name.cpp" 2>/dev/null || mv "$out/$name.new" "$out/$name.cpp"
  rm -f "$out/$name.new"
  compile "$out/$name.cpp" "$out/$name.o"
  objects+=("$out/$name.o")
done
for name in fibers registry; do
  compile "$here/$name.cpp" "$out/$name.o"
  objects+=("$out/$name.o")
done
library=()
if [[ $what != tests && -n ${JAVA_HOME:-} && -f $JAVA_HOME/include/jni.h ]]; then
  compile "$here/jni.cpp" "$out/jni.o" -I"$JAVA_HOME/include" -I"$JAVA_HOME/include/linux"
  library+=("$out/jni.o")
fi
tests=()
if [[ $what != library ]]; then
  for test in "$here"/*_test.cpp "$here/kernel_tests.cpp"; do
    name="$(basename "$test" .cpp)"
    compile "$test" "$out/$name.o"
    tests+=("$out/$name.o")
  done
fi
for job in "${jobs[@]}"; do wait "$job"; done
if [[ $what != tests ]]; then
  g++ "${flags[@]}" -shared "${objects[@]}" "${library[@]}" -o "$out/libkvfreeze_host_kernels.so"
fi
if [[ $what != library ]]; then
  g++ "${flags[@]}" "${objects[@]}" "${tests[@]}" -o "$out/kernel_tests"
fi
