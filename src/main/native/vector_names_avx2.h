// The names of AVX-512 for vector_pairs_avx2.h; the compiler has macros of its own for some of them.

#ifndef KVFREEZE_VECTOR_NAMES_AVX2_H
#define KVFREEZE_VECTOR_NAMES_AVX2_H

#include "vector_pairs_avx2.h"

#undef _cvtu32_mask16
#undef _cvtu32_mask32
#undef _kor_mask16
#undef _mm256_maskz_loadu_ps
#undef _mm512_abs_ps
#undef _mm512_add_epi32
#undef _mm512_add_ps
#undef _mm512_and_si512
#undef _mm512_castpd_ps
#undef _mm512_castps256_ps512
#undef _mm512_castps512_ps256
#undef _mm512_castps_pd
#undef _mm512_castps_si512
#undef _mm512_castsi512_ps
#undef _mm512_cmp_ps_mask
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtpd_ps
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtps_pd
#undef _mm512_cvttps_epi32
#undef _mm512_div_ps
#undef _mm512_dpbusd_epi32
#undef _mm512_dpwssd_epi32
#undef _mm512_extractf32x8_ps
#undef _mm512_fmadd_ps
#undef _mm512_fmsub_ps
#undef _mm512_fnmadd_ps
#undef _mm512_insertf32x8
#undef _mm512_loadu_ps
#undef _mm512_loadu_si512
#undef _mm512_mask_blend_epi16
#undef _mm512_mask_cvtepi32_storeu_epi16
#undef _mm512_mask_div_ps
#undef _mm512_mask_i32gather_ps
#undef _mm512_mask_i32scatter_epi32
#undef _mm512_mask_loadu_ps
#undef _mm512_mask_or_epi32
#undef _mm512_mask_set1_epi32
#undef _mm512_mask_storeu_epi32
#undef _mm512_mask_storeu_ps
#undef _mm512_mask_sub_ps
#undef _mm512_maskz_loadu_epi32
#undef _mm512_maskz_loadu_ps
#undef _mm512_maskz_set1_epi32
#undef _mm512_max_epi32
#undef _mm512_max_ps
#undef _mm512_min_pd
#undef _mm512_min_ps
#undef _mm512_mul_pd
#undef _mm512_mul_ps
#undef _mm512_mullo_epi32
#undef _mm512_or_si512
#undef _mm512_permute_ps
#undef _mm512_permutexvar_epi8
#undef _mm512_permutexvar_ps
#undef _mm512_reduce_add_epi32
#undef _mm512_reduce_add_ps
#undef _mm512_reduce_max_epi32
#undef _mm512_reduce_max_ps
#undef _mm512_roundscale_ps
#undef _mm512_scalef_ps
#undef _mm512_set1_epi32
#undef _mm512_set1_pd
#undef _mm512_set1_ps
#undef _mm512_set_ps
#undef _mm512_setr_epi32
#undef _mm512_setzero_ps
#undef _mm512_setzero_si512
#undef _mm512_shuffle_f32x4
#undef _mm512_slli_epi32
#undef _mm512_sllv_epi32
#undef _mm512_sqrt_pd
#undef _mm512_sqrt_ps
#undef _mm512_srai_epi32
#undef _mm512_srli_epi32
#undef _mm512_srlv_epi32
#undef _mm512_storeu_ps
#undef _mm512_storeu_si512
#undef _mm512_sub_epi16
#undef _mm512_sub_epi32
#undef _mm512_sub_ps
#undef _mm512_unpackhi_pd
#undef _mm512_unpackhi_ps
#undef _mm512_unpacklo_pd
#undef _mm512_unpacklo_ps
#undef _mm512_xor_si512

#define __m512 FloatPair
#define __m512d DoublePair
#define __m512i IntPair

#define _cvtu32_mask16 low_mask16
#define _cvtu32_mask32(mask) ((__mmask32)(mask))
#define _kor_mask16 or_masks
#define _mm256_maskz_loadu_ps half_maskz_loadu_ps
#define _mm512_abs_ps pair_abs_ps
#define _mm512_add_epi32 pair_add_epi32
#define _mm512_add_ps pair_add_ps
#define _mm512_and_si512 pair_and_si512
#define _mm512_castpd_ps pair_castpd_ps
#define _mm512_castps256_ps512 pair_castps256_ps512
#define _mm512_castps512_ps256 pair_castps512_ps256
#define _mm512_castps_pd pair_castps_pd
#define _mm512_castps_si512 pair_castps_si512
#define _mm512_castsi512_ps pair_castsi512_ps
#define _mm512_cmp_ps_mask pair_cmp_ps_mask
#define _mm512_cvtepi32_epi16 pair_cvtepi32_epi16
#define _mm512_cvtepi32_epi8 pair_cvtepi32_epi8
#define _mm512_cvtepi32_ps pair_cvtepi32_ps
#define _mm512_cvtepu16_epi32 pair_cvtepu16_epi32
#define _mm512_cvtpd_ps pair_cvtpd_ps
#define _mm512_cvtph_ps pair_cvtph_ps
#define _mm512_cvtps_epi32 pair_cvtps_epi32
#define _mm512_cvtps_pd pair_cvtps_pd
#define _mm512_cvttps_epi32 pair_cvttps_epi32
#define _mm512_div_ps pair_div_ps
#define _mm512_dpbusd_epi32 pair_dpbusd_epi32
#define _mm512_dpwssd_epi32 pair_dpwssd_epi32
#define _mm512_extractf32x8_ps pair_extractf32x8_ps
#define _mm512_fmadd_ps pair_fmadd_ps
#define _mm512_fmsub_ps pair_fmsub_ps
#define _mm512_fnmadd_ps pair_fnmadd_ps
#define _mm512_insertf32x8 pair_insertf32x8
#define _mm512_loadu_ps pair_loadu_ps
#define _mm512_loadu_si512 pair_loadu_si512
#define _mm512_mask_blend_epi16 pair_mask_blend_epi16
#define _mm512_mask_cvtepi32_storeu_epi16 pair_mask_cvtepi32_storeu_epi16
#define _mm512_mask_div_ps pair_mask_div_ps
#define _mm512_mask_i32gather_ps pair_mask_i32gather_ps
#define _mm512_mask_i32scatter_epi32 pair_mask_i32scatter_epi32
#define _mm512_mask_loadu_ps pair_mask_loadu_ps
#define _mm512_mask_or_epi32 pair_mask_or_epi32
#define _mm512_mask_set1_epi32 pair_mask_set1_epi32
#define _mm512_mask_storeu_epi32 pair_mask_storeu_epi32
#define _mm512_mask_storeu_ps pair_mask_storeu_ps
#define _mm512_mask_sub_ps pair_mask_sub_ps
#define _mm512_maskz_loadu_epi32 pair_maskz_loadu_epi32
#define _mm512_maskz_loadu_ps pair_maskz_loadu_ps
#define _mm512_maskz_set1_epi32 pair_maskz_set1_epi32
#define _mm512_max_epi32 pair_max_epi32
#define _mm512_max_ps pair_max_ps
#define _mm512_min_pd pair_min_pd
#define _mm512_min_ps pair_min_ps
#define _mm512_mul_pd pair_mul_pd
#define _mm512_mul_ps pair_mul_ps
#define _mm512_mullo_epi32 pair_mullo_epi32
#define _mm512_or_si512 pair_or_si512
#define _mm512_permute_ps pair_permute_ps
#define _mm512_permutexvar_epi8 pair_permutexvar_epi8
#define _mm512_permutexvar_ps pair_permutexvar_ps
#define _mm512_reduce_add_epi32 pair_reduce_add_epi32
#define _mm512_reduce_add_ps pair_reduce_add_ps
#define _mm512_reduce_max_epi32 pair_reduce_max_epi32
#define _mm512_reduce_max_ps pair_reduce_max_ps
#define _mm512_roundscale_ps(x, how) pair_round_ps(x)
#define _mm512_scalef_ps pair_scalef_ps
#define _mm512_set1_epi32 pair_set1_epi32
#define _mm512_set1_pd pair_set1_pd
#define _mm512_set1_ps pair_set1_ps
#define _mm512_set_ps pair_set_ps
#define _mm512_setr_epi32 pair_setr_epi32
#define _mm512_setzero_ps pair_setzero_ps
#define _mm512_setzero_si512 pair_setzero_si512
#define _mm512_shuffle_f32x4 pair_shuffle_f32x4
#define _mm512_slli_epi32 pair_slli_epi32
#define _mm512_sllv_epi32 pair_sllv_epi32
#define _mm512_sqrt_pd pair_sqrt_pd
#define _mm512_sqrt_ps pair_sqrt_ps
#define _mm512_srai_epi32 pair_srai_epi32
#define _mm512_srli_epi32 pair_srli_epi32
#define _mm512_srlv_epi32 pair_srlv_epi32
#define _mm512_storeu_ps pair_storeu_ps
#define _mm512_storeu_si512 pair_storeu_si512
#define _mm512_sub_epi16 pair_sub_epi16
#define _mm512_sub_epi32 pair_sub_epi32
#define _mm512_sub_ps pair_sub_ps
#define _mm512_unpackhi_pd pair_unpackhi_pd
#define _mm512_unpackhi_ps pair_unpackhi_ps
#define _mm512_unpacklo_pd pair_unpacklo_pd
#define _mm512_unpacklo_ps pair_unpacklo_ps
#define _mm512_xor_si512 pair_xor_si512

#endif
