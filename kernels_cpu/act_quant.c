#include "kernels_cpu/act_quant.h"

#include <math.h>
#include <string.h>

#include "engine/half.h"

/* Quantises 32 values with one scale. The largest magnitude is found on the bits: NaN sorts above everything
 * there. */
static float quantise(const float *x, int8_t *q)
{
    uint32_t amax_bits = 0;
    for (size_t i = 0; i < 32; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7FFFFFFFu;
        amax_bits = bits > amax_bits ? bits : amax_bits;
    }
    float amax = f32_from_bits(amax_bits);
    if (amax_bits >= 0x7F800000u || amax < ACT_TINY) {
        memset(q, 0, 32);
        return amax_bits >= 0x7F800000u ? NAN : 0.0f;
    }
    float inverse = 127.0f / amax;
    for (size_t i = 0; i < 32; i++)
        q[i] = (int8_t)lrintf(x[i] * inverse);
    return amax / 127.0f;
}

static int sum16(const int8_t *q)
{
    int total = 0;
    for (size_t i = 0; i < 16; i++)
        total += q[i];
    return total;
}

void act_quant_scalar(const float *x, size_t k, int8_t *q, float *d, float *s, int16_t *sums)
{
    for (size_t i = 0; i < k / 32; i++, q += 32) {
        d[i] = quantise(x + 32 * i, q);
        sums[2 * i] = (int16_t)sum16(q);
        sums[2 * i + 1] = (int16_t)sum16(q + 16);
        s[i] = d[i] * (float)(sums[2 * i] + sums[2 * i + 1]);
    }
}
