/* attention_softmax_avx2.h: the softmax of one row over one page, for AVX2. */
#ifndef FERRUM_ATTENTION_SOFTMAX_AVX2_H
#define FERRUM_ATTENTION_SOFTMAX_AVX2_H

#include <math.h>

#include "kernels_cpu/attention_page_avx2.h"

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

#endif
