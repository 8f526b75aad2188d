/* attention_avx2.c: one page of attention over f16 or f32, for AVX2 with FMA and F16C: the vectors of
 * attention_float_dots_body.h, 8 floats wide. */
#include "kernels_cpu/attention_avx2.h"

#include "kernels_cpu/attention_softmax_avx2.h"
#include "kernels_cpu/vec_avx2.h"

#define LANES 8
#define ROW_STEP 2
#define FEW_ROWS 5

typedef __m256 vec;

VEC_INLINE vec vec_zero(void)
{
    return _mm256_setzero_ps();
}

VEC_INLINE vec vec_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

VEC_INLINE void vec_store(float *out, vec x)
{
    _mm256_storeu_ps(out, x);
}

VEC_INLINE vec vec_all(const float *x)
{
    return _mm256_broadcast_ss(x);
}

VEC_INLINE vec vec_f16(const uint16_t *h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
}

VEC_INLINE vec vec_mul_add(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

VEC_INLINE void put_sums(float *out, const vec x[4])
{
    vec s = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

#include "kernels_cpu/attention_float_dots_body.h"

void attn_page_f32_avx2(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, false);
}

void attn_page_f16_avx2(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, true);
}
