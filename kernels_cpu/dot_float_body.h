/* dot_float_body.h: f32, f16 and bf16 weights times f32 columns, written once for every vector width.
 *
 * Included by one file per instruction set, which defines before it: LANES, `vec` (LANES floats), vec_zero,
 * vec_load, vec_fma(a, b, c) = a*b + c, vec_add, vec_sum, and vec_weights_f32, _f16, _bf16(w, i): LANES
 * weights from index i on. Four running vectors per column hide the latency of the fused multiply-add; up to
 * three columns share a widened weight, as many as fit the registers of the narrowest set. */
#ifndef FERRUM_DOT_FLOAT_BODY_H
#define FERRUM_DOT_FLOAT_BODY_H

#include <math.h>

#include "engine/half.h"
#include "kernels_cpu/dot_kernel.h"
#include "kernels_cpu/dot_x86.h"

#define N_CHAINS 4
#define STEP (N_CHAINS * LANES)

/* How a type reads LANES weights, or one, at an element index. */
struct reader {
    vec (*many)(const uint8_t *w, size_t i);
    float (*one)(const uint8_t *w, size_t i);
    size_t bytes;
};

ALWAYS_INLINE float one_f32(const uint8_t *w, size_t i)
{
    return f32_from_bits(load_u32(w + 4 * i));
}

ALWAYS_INLINE uint16_t load_half(const uint8_t *w, size_t i)
{
    uint16_t h;
    memcpy(&h, w + 2 * i, sizeof h);
    return h;
}

ALWAYS_INLINE float one_f16(const uint8_t *w, size_t i)
{
    return f16_to_f32(load_half(w, i));
}

ALWAYS_INLINE float one_bf16(const uint8_t *w, size_t i)
{
    return bf16_to_f32(load_half(w, i));
}

/* n columns at x, each k long. The last k % STEP weights follow LANES at a time, then one by one. */
ALWAYS_INLINE void dot_floats(const uint8_t *w, struct reader read, const float *x, size_t k, size_t n,
                              float *out)
{
    vec acc[3][N_CHAINS];
    size_t i = 0;
    UNROLLED
    for (size_t c = 0; c < n; c++)
        acc[c][0] = acc[c][1] = acc[c][2] = acc[c][3] = vec_zero();
    for (; i + STEP <= k; i += STEP) {
        prefetch_ahead(w + i * read.bytes, STEP * read.bytes);
        UNROLLED
        for (size_t j = 0; j < N_CHAINS; j++) {
            vec weights = read.many(w, i + LANES * j);
            UNROLLED
            for (size_t c = 0; c < n; c++)
                acc[c][j] = vec_fma(weights, vec_load(x + c * k + i + LANES * j), acc[c][j]);
        }
    }
    for (; i + LANES <= k; i += LANES) {
        vec weights = read.many(w, i);
        UNROLLED
        for (size_t c = 0; c < n; c++)
            acc[c][0] = vec_fma(weights, vec_load(x + c * k + i), acc[c][0]);
    }
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        out[c] = vec_sum(vec_add(vec_add(acc[c][0], acc[c][1]), vec_add(acc[c][2], acc[c][3])));
        for (size_t j = i; j < k; j++)
            out[c] = fmaf(read.one(w, j), x[c * k + j], out[c]);
    }
}

ALWAYS_INLINE void dot_columns(const uint8_t *w, struct reader read, const struct dot_cols *a, float *out)
{
    size_t c = 0;
    for (; c + 3 <= a->n; c += 3)
        dot_floats(w, read, a->x + c * a->k, a->k, 3, out + c);
    if (a->n - c == 2)
        dot_floats(w, read, a->x + c * a->k, a->k, 2, out + c);
    else if (a->n - c == 1)
        dot_floats(w, read, a->x + c * a->k, a->k, 1, out + c);
}

static const struct reader read_f32 = {vec_weights_f32, one_f32, 4};
static const struct reader read_f16 = {vec_weights_f16, one_f16, 2};
static const struct reader read_bf16 = {vec_weights_bf16, one_bf16, 2};

#endif
