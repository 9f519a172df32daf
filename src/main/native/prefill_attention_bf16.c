// Prefill attention with products of 16-bit numbers and a softmax that is kept running over blocks of keys, so that no
// matrix of scores is ever in memory (FlashAttention, arXiv 2205.14135).

// The slabs of a call, and three arrays more.
#define MAX_HELD 131

#include "held_arrays.h"
#include "prefill_bf16.h"
#include "prefill_rows.h"

#define OWNER ShortPrefillKernels
#include "prefill_entry.h"
