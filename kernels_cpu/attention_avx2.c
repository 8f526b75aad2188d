/* attention_avx2.c: one page of attention over f16 or f32, for AVX2 with FMA and F16C: the vectors of
 * attention_float_body.h and attention_dots_body.h, 8 floats wide. */
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

VEC_INLINE __m128 sum_4(const vec x[4])
{
    vec s = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#include "kernels_cpu/attention_float_body.h"

typedef float query;

VEC_INLINE const query *queries(const struct attn_tile *t)
{
    return t->q;
}

VEC_INLINE vec load_keys(const struct page *page, size_t i)
{
    return load_lanes(page->k, i, page->f16);
}

VEC_INLINE void put_scores(struct attn_tile *t, const struct page *page, size_t r, size_t j,
                           const vec sums[K_STEP])
{
    (void)page;
    _mm_storeu_ps(&t->scores[r][j], sum_4(sums));
}

VEC_INLINE void fetch_keys(const struct page *page, size_t dim, size_t j, size_t end)
{
    fetch_next(page->next_k, page, j * dim, end * dim);
}

VEC_INLINE void weigh_row(struct attn_tile *t, size_t r, const struct page *page)
{
    (void)page;
    softmax_row(t, r);
}

#include "kernels_cpu/attention_dots_body.h"

/* A page of f16 that many rows read is widened once: that is cheaper than once per ROW_STEP rows. Whole score
 * blocks, which may read rows of K that nobody sees. */
VEC_INLINE void add_many(struct attn_tile *t, size_t first, size_t n, const struct page *in)
{
    struct page wide = {.k = in->k, .v = in->v};
    if (in->f16) {
        size_t dim = t->head_dim, end = t->end[first + n - 1];
        size_t k_end = (end + K_STEP - 1) / K_STEP * K_STEP;
        widen(t->k_wide, in->k, t->begin[first] / K_STEP * K_STEP * dim, k_end * dim);
        widen(t->v_wide, in->v, t->begin[first] * dim, end * dim);
        wide.k = t->k_wide;
        wide.v = t->v_wide;
    }
    page_rows(t, first, n, &wide);
}

VEC_INLINE void add_page(struct attn_tile *t, const void *k, const void *v, bool f16)
{
    size_t first, n = rows_that_see(t, &first);
    if (n >= FEW_ROWS)
        add_many(t, first, n, &(struct page){.k = k, .v = v, .f16 = f16});
    else if (n > 0)
        page_rows(t, first, n, &(struct page){k, v, f16, t->next_k, t->next_v});
}

void attn_page_f32_avx2(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, false);
}

void attn_page_f16_avx2(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, true);
}
