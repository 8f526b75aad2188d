/* attention_softmax_neon.h: the softmax of one row over one page, for NEON. */
#ifndef FERRUM_ATTENTION_SOFTMAX_NEON_H
#define FERRUM_ATTENTION_SOFTMAX_NEON_H

#include <math.h>

#include "kernels_cpu/attention_page.h"
#include "kernels_cpu/vec_neon.h"

/* All ones where j .. j + 4 lies in [begin, end). */
VEC_INLINE uint32x4_t seen_mask(size_t j, size_t begin, size_t end)
{
    uint32x4_t index = vaddq_u32(vdupq_n_u32((uint32_t)j), (uint32x4_t){0, 1, 2, 3});
    return vandq_u32(vcgeq_u32(index, vdupq_n_u32((uint32_t)begin)),
                     vcltq_u32(index, vdupq_n_u32((uint32_t)end)));
}

/* Turns a row's scores into exp(score - max), 0 where it sees nothing, and rescales what it has so far. */
VEC_INLINE void softmax_row(struct attn_tile *t, size_t r)
{
    float *score = t->scores[r], *acc = t->acc + r * t->head_dim;
    float32x4_t max = vdupq_n_f32(t->max[r]), sum = vdupq_n_f32(0);
    for (size_t j = 0; j < KV_BLOCK_TOKENS; j += 4) {
        float32x4_t s =
            vbslq_f32(seen_mask(j, t->begin[r], t->end[r]), vld1q_f32(score + j), vdupq_n_f32(-INFINITY));
        vst1q_f32(score + j, s);
        max = vmaxq_f32(max, s);
    }
    max = vdupq_n_f32(vmaxvq_f32(max));
    for (size_t j = 0; j < KV_BLOCK_TOKENS; j += 4) {
        float32x4_t p = vec_exp(vsubq_f32(vld1q_f32(score + j), max));
        vst1q_f32(score + j, p);
        sum = vaddq_f32(sum, p);
    }
    float32x4_t rescale = vec_exp(vsubq_f32(vdupq_n_f32(t->max[r]), max));
    for (size_t d = 0; d < t->head_dim; d += 4)
        vst1q_f32(acc + d, vmulq_f32(vld1q_f32(acc + d), rescale));
    t->max[r] = vgetq_lane_f32(max, 0);
    t->sum[r] = t->sum[r] * vgetq_lane_f32(rescale, 0) + vaddvq_f32(sum);
}

#endif
