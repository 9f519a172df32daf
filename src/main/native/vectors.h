// The vectors of 512 bits that the kernels are written in: registers of AVX-512, or pairs of registers of AVX2.

#ifndef KVFREEZE_VECTORS_H
#define KVFREEZE_VECTORS_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#ifndef __AVX512F__
#include "vector_names_avx2.h"
#endif

#endif
