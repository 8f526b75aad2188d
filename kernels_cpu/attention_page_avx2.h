/* attention_page_avx2.h: what the AVX2 pages of all KV types share: which rows see a page, fetching ahead,
 * softmax. Only for files compiled with AVX2, FMA, F16C. */
#ifndef FERRUM_ATTENTION_PAGE_AVX2_H
#define FERRUM_ATTENTION_PAGE_AVX2_H

#include <math.h>

#include "kernels_cpu/kernels.h"
#include "kernels_cpu/vec_avx2.h"

#define K_STEP 4 /* positions per score block */

/* Which rows of a tile a call works on: one or two neighbours. */
struct rows {
    struct attn_tile *t;
    size_t first;
};

/* Asks for bytes ahead of their use. The hardware's own prefetch starts anew in every page of every head, too
 * late for few rows, which wait for memory and nothing else. */
VEC_INLINE void prefetch(const void *p, size_t begin, size_t end)
{
    for (size_t i = begin; p && i < end; i += 64)
        _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

/* All ones where j .. j + 8 lies in [begin, end). */
VEC_INLINE __m256 seen_mask(size_t j, size_t begin, size_t end)
{
    __m256i index = _mm256_add_epi32(_mm256_set1_epi32((int)j), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)begin), index),
                                                   _mm256_cmpgt_epi32(_mm256_set1_epi32((int)end), index)));
}

/* Turns a row's scores into exp(score - max), 0 where it sees nothing, and rescales what it has so far. */
VEC_INLINE void softmax_row(struct attn_tile *t, size_t r)
{
    float *score = t->scores[r], *acc = t->acc + r * t->head_dim;
    __m256 max = _mm256_set1_ps(t->max[r]);
    for (size_t j = 0; j < KV_BLOCK_TOKENS; j += 8) {
        __m256 s = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_loadu_ps(score + j),
                                    seen_mask(j, t->begin[r], t->end[r]));
        _mm256_storeu_ps(score + j, s);
        max = _mm256_max_ps(max, s);
    }
    max = _mm256_set1_ps(vec_max(max));
    __m256 sum = _mm256_setzero_ps();
    for (size_t j = 0; j < KV_BLOCK_TOKENS; j += 8) {
        __m256 p = vec_exp(_mm256_sub_ps(_mm256_loadu_ps(score + j), max));
        _mm256_storeu_ps(score + j, p);
        sum = _mm256_add_ps(sum, p);
    }
    __m256 rescale = vec_exp(_mm256_sub_ps(_mm256_set1_ps(t->max[r]), max));
    for (size_t d = 0; d < t->head_dim; d += 8)
        _mm256_storeu_ps(acc + d, _mm256_mul_ps(_mm256_loadu_ps(acc + d), rescale));
    t->max[r] = _mm256_cvtss_f32(max);
    t->sum[r] = t->sum[r] * _mm256_cvtss_f32(rescale) + vec_sum(sum);
}

/* The rows that see something of this page: [*first, *first + n). */
VEC_INLINE size_t rows_that_see(const struct attn_tile *t, size_t *first)
{
    size_t low = 0, high = t->n_rows;
    while (low < high && t->begin[low] >= t->end[low])
        low++;
    while (high > low && t->begin[high - 1] >= t->end[high - 1])
        high--;
    *first = low;
    return high - low;
}

#endif
