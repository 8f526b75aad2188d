/* dot_float_body.h: f32, f16 and bf16 weights times columns, written once for every vector width.
 *
 * Included by one file per instruction set, which defines before it: `vec` (some floats), LANES: weights of a
 * vector, vec_zero, vec_load: as many values of a column, vec_fma(a, b, c) = a*b + c, vec_add, vec_sum;
 * N_CHAINS, 2 or 4: running vectors per column, which hide the latency of the fused multiply-add; SEGMENT: so
 * many weights are added up by themselves, then the next ones, a multiple of the vectors (tile.h); and, where
 * columns are not f32, COLUMNS (below). Up to three columns share a widened weight, as many as fit the
 * registers of the narrowest set. */
#ifndef FERRUM_DOT_FLOAT_BODY_H
#define FERRUM_DOT_FLOAT_BODY_H

#include <math.h>

#include "engine/half.h"
#include "kernels_cpu/dot_common.h"
#include "kernels_cpu/dot_kernel.h"

#define STEP (N_CHAINS * LANES)

/* The columns: their field of struct dot_cols, the type of a value, and what it is as a float. */
#if !defined(COLUMNS)
#define COLUMNS x
typedef float column_value;

ALWAYS_INLINE float column_float(column_value x)
{
    return x;
}
#endif

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

ALWAYS_INLINE vec add_chains(const vec acc[N_CHAINS])
{
    vec pair = vec_add(acc[0], acc[1]);
    return N_CHAINS == 2 ? pair : vec_add(pair, vec_add(acc[N_CHAINS - 2], acc[N_CHAINS - 1]));
}

/* n columns at x, each `stride` long, times k weights from number `from` on. What is left of them after steps
 * follows LANES at a time, then one by one. */
ALWAYS_INLINE void dot_segment(const uint8_t *w, struct reader read, const column_value *x, size_t stride,
                               size_t from, size_t k, size_t n, float *out)
{
    vec acc[3][N_CHAINS];
    size_t i = from, end = from + k;
    UNROLLED
    for (size_t at = 0; at < n * N_CHAINS; at++)
        acc[at / N_CHAINS][at % N_CHAINS] = vec_zero();
    for (; i + STEP <= end; i += STEP) {
        prefetch_ahead(w + i * read.bytes, STEP * read.bytes);
        UNROLLED
        for (size_t j = 0; j < N_CHAINS; j++) {
            vec weights = read.many(w, i + LANES * j);
            UNROLLED
            for (size_t c = 0; c < n; c++)
                acc[c][j] = vec_fma(weights, vec_load(x + c * stride + i + LANES * j), acc[c][j]);
        }
    }
    for (; i + LANES <= end; i += LANES) {
        vec weights = read.many(w, i);
        UNROLLED
        for (size_t c = 0; c < n; c++)
            acc[c][0] = vec_fma(weights, vec_load(x + c * stride + i), acc[c][0]);
    }
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        float sum = vec_sum(add_chains(acc[c]));
        for (size_t j = i; j < end; j++)
            sum = fmaf(read.one(w, j), column_float(x[c * stride + j]), sum);
        out[c] = from ? out[c] + sum : sum;
    }
}

/* n columns at x, each k long, a segment at a time. */
ALWAYS_INLINE void dot_floats(const uint8_t *w, struct reader read, const column_value *x, size_t k, size_t n,
                              float *out)
{
    size_t i = 0;
    for (; k - i > SEGMENT; i += SEGMENT)
        dot_segment(w, read, x, k, i, SEGMENT, n, out);
    dot_segment(w, read, x, k, i, k - i, n, out);
}

ALWAYS_INLINE void dot_columns(const uint8_t *w, struct reader read, const struct dot_cols *a, float *out)
{
    size_t c = 0;
    for (; c + 3 <= a->n; c += 3)
        dot_floats(w, read, a->COLUMNS + c * a->k, a->k, 3, out + c);
    if (a->n - c == 2)
        dot_floats(w, read, a->COLUMNS + c * a->k, a->k, 2, out + c);
    else if (a->n - c == 1)
        dot_floats(w, read, a->COLUMNS + c * a->k, a->k, 1, out + c);
}

#endif
