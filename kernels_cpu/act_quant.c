#include "kernels_cpu/act_quant.h"

#include <math.h>
#include <string.h>

#include "engine/half.h"

/* Quantises n values with one scale. The largest magnitude is found on the bits: NaN sorts above everything
 * there. */
static float quantise(const float *x, size_t n, int8_t *q)
{
    uint32_t amax_bits = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7FFFFFFFu;
        amax_bits = bits > amax_bits ? bits : amax_bits;
    }
    float amax = f32_from_bits(amax_bits);
    if (amax_bits >= 0x7F800000u || amax < ACT_TINY) {
        memset(q, 0, n);
        return amax_bits >= 0x7F800000u ? NAN : 0.0f;
    }
    float inverse = 127.0f / amax;
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)lrintf(x[i] * inverse);
    return amax / 127.0f;
}

static int sum(const int8_t *q, size_t n)
{
    int total = 0;
    for (size_t i = 0; i < n; i++)
        total += q[i];
    return total;
}

void act_quant_32_scalar(const float *x, size_t k, int8_t *q, float *d, float *s)
{
    for (size_t i = 0; i < k / 32; i++) {
        d[i] = quantise(x + 32 * i, 32, q + 32 * i);
        s[i] = d[i] * (float)sum(q + 32 * i, 32);
    }
}

void act_quant_256_scalar(const float *x, size_t k, int8_t *q, float *d, int16_t *sums)
{
    for (size_t i = 0; i < k / 256; i++)
        d[i] = quantise(x + 256 * i, 256, q + 256 * i);
    for (size_t i = 0; i < k / 16; i++)
        sums[i] = (int16_t)sum(q + 16 * i, 16);
}
