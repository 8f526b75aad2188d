/* attention_i8_avx2.c: one page of attention over int8 K and V, for AVX2: the vectors of attention_i8_body.h,
 * 16 products wide. */
#include "kernels_cpu/attention_avx2.h"

#include "kernels_cpu/attention_i8_256.h"
#include "kernels_cpu/attention_softmax_avx2.h"
#include "kernels_cpu/vec_avx2.h"

#define LANES 16
#define ROW_STEP 2
#define FEW_ROWS 5
#define MANY_ROWS FEW_ROWS

typedef __m256i vec;

VEC_INLINE vec vec_zero(void)
{
    return _mm256_setzero_si256();
}

VEC_INLINE vec vec_load(const int16_t *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

VEC_INLINE vec vec_i8(const int8_t *x)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x));
}

VEC_INLINE vec vec_all(int32_t x)
{
    return _mm256_set1_epi32(x);
}

VEC_INLINE vec vec_mul_add(vec a, vec b, vec c)
{
    return _mm256_add_epi32(c, _mm256_madd_epi16(a, b));
}

VEC_INLINE __m128i sum_4(const vec x[4])
{
    vec s = _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* Columns 0..8 and 8..16. */
VEC_INLINE void load_pairs(const int8_t *v, size_t dim, vec out[2])
{
    __m128i a = _mm_loadu_si128((const __m128i *)v), b = _mm_loadu_si128((const __m128i *)(v + dim));
    out[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
    out[1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
}

VEC_INLINE void add_columns(float *out, const vec sums[2], float scale)
{
    __m256 low = _mm256_cvtepi32_ps(sums[0]), high = _mm256_cvtepi32_ps(sums[1]), s = _mm256_set1_ps(scale);
    _mm256_storeu_ps(out, _mm256_fmadd_ps(low, s, _mm256_loadu_ps(out)));
    _mm256_storeu_ps(out + 8, _mm256_fmadd_ps(high, s, _mm256_loadu_ps(out + 8)));
}

#include "kernels_cpu/attention_i8_body.h"

static void page_many(struct attn_tile *t, size_t first, size_t n, const struct page *page)
{
    page_rows(t, first, n, page);
}

void attn_page_i8_avx2(struct attn_tile *t, const void *k, const void *v)
{
    page_i8(t, k, v);
}
