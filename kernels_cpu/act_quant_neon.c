/* The quantiser with NEON; bit for bit that of act_quant.c. */
#include "kernels_cpu/act_quant.h"

#include <math.h>
#include <stdbool.h>

#include "kernels_cpu/vec_neon.h"

/* 32 values with one scale. */
VEC_INLINE float quantise(const float *x, int8_t *q)
{
    float amax = vec_largest(x, 32);
    bool is_finite = f32_bits(amax) < 0x7F800000u;
    if (!is_finite || amax < ACT_TINY) {
        memset(q, 0, 32);
        return is_finite ? 0.0f : NAN;
    }
    for (size_t i = 0; i < 32; i += 8)
        vec_round_8(q + i, x + i, 127.0f / amax);
    return amax / 127.0f;
}

void act_quant_neon(const float *x, size_t k, int8_t *q, float *d, float *s, int16_t *sums)
{
    for (size_t i = 0; i < k / 32; i++, q += 32) {
        d[i] = quantise(x + 32 * i, q);
        sums[2 * i] = vaddlvq_s8(vld1q_s8(q));
        sums[2 * i + 1] = vaddlvq_s8(vld1q_s8(q + 16));
        s[i] = d[i] * (float)(sums[2 * i] + sums[2 * i + 1]);
    }
}
