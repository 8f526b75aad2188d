/* attention_i8_avx512.c: one page of attention over int8 K and V, for AVX-512 with VNNI: the vectors of
 * attention_i8_body.h, 32 products wide, added up by the instruction that makes them. */
#include "kernels_cpu/attention_avx512.h"

#include "kernels_cpu/vec_avx2.h"

#define LANES 32
#define ROW_STEP 4
#define FEW_ROWS 5

typedef __m512i vec;

VEC_INLINE vec vec_zero(void)
{
    return _mm512_setzero_si512();
}

VEC_INLINE vec vec_load(const int16_t *x)
{
    return _mm512_loadu_si512(x);
}

VEC_INLINE vec vec_i8(const int8_t *x)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)x));
}

VEC_INLINE vec vec_all(int32_t x)
{
    return _mm512_set1_epi32(x);
}

VEC_INLINE vec vec_mul_add(vec a, vec b, vec c)
{
    return _mm512_dpwssd_epi32(c, b, a);
}

VEC_INLINE __m128i sum_4(const vec x[4])
{
    __m256i half[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        half[i] = _mm256_add_epi32(_mm512_castsi512_si256(x[i]), _mm512_extracti64x4_epi64(x[i], 1));
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(half[0], half[1]), _mm256_hadd_epi32(half[2], half[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* Columns 0..8 and 16..24, then 8..16 and 24..32. */
VEC_INLINE void load_pairs(const int8_t *v, size_t dim, vec out[2])
{
    __m256i a = _mm256_loadu_si256((const __m256i *)v), b = _mm256_loadu_si256((const __m256i *)(v + dim));
    out[0] = _mm512_cvtepi8_epi16(_mm256_unpacklo_epi8(a, b));
    out[1] = _mm512_cvtepi8_epi16(_mm256_unpackhi_epi8(a, b));
}

VEC_INLINE void add_columns(float *out, const vec sums[2], float scale)
{
    __m512 low = _mm512_cvtepi32_ps(_mm512_shuffle_i64x2(sums[0], sums[1], 0x44));
    __m512 high = _mm512_cvtepi32_ps(_mm512_shuffle_i64x2(sums[0], sums[1], 0xEE));
    __m512 s = _mm512_set1_ps(scale);
    _mm512_storeu_ps(out, _mm512_fmadd_ps(low, s, _mm512_loadu_ps(out)));
    _mm512_storeu_ps(out + 16, _mm512_fmadd_ps(high, s, _mm512_loadu_ps(out + 16)));
}

#include "kernels_cpu/attention_i8_body.h"

void attn_page_i8_avx512(struct attn_tile *t, const void *k, const void *v)
{
    page_i8(t, k, v);
}
