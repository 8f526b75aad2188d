/* bf16 weights with AVX512_BF16: the vectors of dot_float_body.h are pairs of weights, in 16 sums. */
#include "kernels_cpu/dot_avx512bf16.h"

#include "engine/half.h"
#include "kernels_cpu/dot_x86_512.h"

#define LANES 32
#define N_CHAINS FLOAT_CHAINS
#define SEGMENT PAIR_SEGMENT
#define COLUMNS bf16

typedef __m512 vec;
typedef uint16_t column_value;

ALWAYS_INLINE float column_float(column_value x)
{
    return bf16_to_f32(x);
}

ALWAYS_INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}

/* As bits. */
ALWAYS_INLINE vec vec_load(const column_value *x)
{
    return _mm512_castsi512_ps(_mm512_loadu_si512(x));
}

ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

ALWAYS_INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

ALWAYS_INLINE float vec_sum(vec a)
{
    return add_all(a, _mm256_setzero_ps());
}

ALWAYS_INLINE vec vec_weights_bf16(const uint8_t *w, size_t i)
{
    return _mm512_castsi512_ps(_mm512_loadu_si512(w + 2 * i));
}

#include "kernels_cpu/dot_float_body.h"

void dot_avx512bf16_bf16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_bf16, one_bf16, 2}, a, out);
}
