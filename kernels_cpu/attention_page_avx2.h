/* attention_page_avx2.h: what the pages of all KV types share: which rows see a page, fetching ahead. Only
 * for files compiled with AVX2, FMA, F16C. */
#ifndef FERRUM_ATTENTION_PAGE_AVX2_H
#define FERRUM_ATTENTION_PAGE_AVX2_H

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
