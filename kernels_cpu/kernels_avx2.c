/* kernels_avx2.c: norm, silu, rotation, conversion and plain reads for AVX2 with FMA and F16C, and the
 * tables.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/half.h"
#include "kernels_cpu/attention_avx2.h"
#include "kernels_cpu/attention_avx512.h"
#include "kernels_cpu/kernels.h"
#include "kernels_cpu/vec_avx2.h"

static double sum_of_squares(const float *x, size_t n)
{
    __m256 acc[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (size_t j = 0; j < 4; j++) {
            __m256 v = _mm256_loadu_ps(x + i + 8 * j);
            acc[j] = _mm256_fmadd_ps(v, v, acc[j]);
        }
    }
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        acc[0] = _mm256_fmadd_ps(v, v, acc[0]);
    }
    double sum = (double)vec_sum(_mm256_add_ps(_mm256_add_ps(acc[0], acc[1]), _mm256_add_ps(acc[2], acc[3])));
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    float scale = (float)(1.0 / sqrt(sum_of_squares(x, n) / (double)n + (double)eps));
    __m256 s = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i,
                         _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), s), _mm256_loadu_ps(w + i)));
    for (; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

/* min and max with the product second: a NaN passes. */
VEC_INLINE __m256 silu_mul_8(__m256 gate, __m256 up)
{
    __m256 e = vec_exp(_mm256_sub_ps(_mm256_setzero_ps(), gate));
    __m256 y = _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(_mm256_set1_ps(1.0f), e)), up);
    return _mm256_max_ps(_mm256_set1_ps(-FLT_MAX), _mm256_min_ps(_mm256_set1_ps(FLT_MAX), y));
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, silu_mul_8(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i < n) {
        float g[8] = {0}, u[8] = {0}, y[8];
        memcpy(g, gate + i, (n - i) * sizeof *g);
        memcpy(u, up + i, (n - i) * sizeof *u);
        _mm256_storeu_ps(y, silu_mul_8(_mm256_loadu_ps(g), _mm256_loadu_ps(u)));
        memcpy(out + i, y, (n - i) * sizeof *y);
    }
}

/* Products and sums are rounded one by one, as in the scalar kernel: the bits are the same. */
static void rope_halves(float *x, const float *cos, const float *sin, size_t half)
{
    size_t i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
        __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_loadu_ps(sin + i);
        _mm256_storeu_ps(x + i, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + half + i, _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cos[i] - b * sin[i];
        x[half + i] = b * cos[i] + a * sin[i];
    }
}

/* Four numbers, each twice: the factors of four neighbouring pairs. */
VEC_INLINE __m256 load_twice(const float *p)
{
    __m256 both = _mm256_broadcast_ps((const __m128 *)p);
    return _mm256_permutevar_ps(both, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

static void rope_pairs(float *x, const float *cos, const float *sin, size_t half)
{
    size_t i = 0;
    for (; i + 4 <= half; i += 4) {
        __m256 v = _mm256_loadu_ps(x + 2 * i), swapped = _mm256_permute_ps(v, 0xB1);
        __m256 straight = _mm256_mul_ps(v, load_twice(cos + i)),
               crossed = _mm256_mul_ps(swapped, load_twice(sin + i));
        _mm256_storeu_ps(x + 2 * i, _mm256_addsub_ps(straight, crossed));
    }
    for (; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cos[i] - b * sin[i];
        x[2 * i + 1] = b * cos[i] + a * sin[i];
    }
}

static void rope(float *x, const float *cos, const float *sin, size_t n_rot, enum rope_mode mode)
{
    if (mode == ROPE_NEOX)
        rope_halves(x, cos, sin, n_rot / 2);
    else
        rope_pairs(x, cos, sin, n_rot / 2);
}

static void f32_to_f16(uint16_t *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        out[i] = f16_from_f32(x[i]);
}

/* The bits of the scalar kernel: one product, one rounding. */
static float f32_to_i8(int8_t *out, const float *x, size_t n)
{
    float largest = vec_largest(x, n);
    bool is_finite = largest <= FLT_MAX;
    if (!is_finite || largest < FLT_MIN * 127) {
        memset(out, 0, n);
        return is_finite ? 0 : NAN;
    }
    float inverse = 127 / largest;
    __m256 factor = _mm256_set1_ps(inverse);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i wide = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
        __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
        _mm_storel_epi64((__m128i *)(out + i), _mm_packs_epi16(half, half));
    }
    for (; i < n; i++)
        out[i] = (int8_t)lrintf(x[i] * inverse);
    return largest / 127;
}

/* Both factors come from one vector of exponentials. */
static void attn_merge(float *state, const float *part, float max, float sum, size_t dim)
{
    float both = state[dim] > max ? state[dim] : max;
    __m256 factors =
        vec_exp(_mm256_sub_ps(_mm256_setr_ps(state[dim], max, 0, 0, 0, 0, 0, 0), _mm256_set1_ps(both)));
    __m128 low = _mm256_castps256_ps128(factors);
    __m256 a = _mm256_broadcastss_ps(low), b = _mm256_broadcastss_ps(_mm_movehdup_ps(low));
    for (size_t d = 0; d < dim; d += 8)
        _mm256_storeu_ps(state + d, _mm256_fmadd_ps(_mm256_loadu_ps(state + d), a,
                                                    _mm256_mul_ps(_mm256_loadu_ps(part + d), b)));
    state[dim] = both;
    state[dim + 1] = state[dim + 1] * _mm256_cvtss_f32(a) + sum * _mm256_cvtss_f32(b);
}

static uint64_t read_bytes(const void *p, size_t n_bytes)
{
    const char *bytes = p;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 128 <= n_bytes; i += 128) {
        const __m256i *v = (const __m256i *)(bytes + i);
        a = _mm256_xor_si256(a, _mm256_loadu_si256(v));
        b = _mm256_xor_si256(b, _mm256_loadu_si256(v + 1));
        c = _mm256_xor_si256(c, _mm256_loadu_si256(v + 2));
        d = _mm256_xor_si256(d, _mm256_loadu_si256(v + 3));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    uint64_t word[4];
    _mm256_storeu_si256((__m256i *)word, a);
    return word[0] ^ word[1] ^ word[2] ^ word[3] ^ cpu_kernels_scalar.read_bytes(bytes + i, n_bytes - i);
}

const struct cpu_kernels cpu_kernels_avx2 = {
    .head_step = 8,
    .head_step_i8 = 16,
    .next = &cpu_kernels_scalar,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .rope = rope,
    .f32_to_f16 = f32_to_f16,
    .f32_to_i8 = f32_to_i8,
    .attn_page_f16 = attn_page_f16_avx2,
    .attn_page_f32 = attn_page_f32_avx2,
    .attn_page_i8 = attn_page_i8_avx2,
    .attn_merge = attn_merge,
    .read_bytes = read_bytes,
};

/* Wider where there is much to compute with what was loaded; the rest waits for memory. */
const struct cpu_kernels cpu_kernels_avx512 = {
    .head_step = 16,
    .head_step_i8 = 32,
    .next = &cpu_kernels_avx2,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .rope = rope,
    .f32_to_f16 = f32_to_f16,
    .f32_to_i8 = f32_to_i8,
    .attn_page_f16 = attn_page_f16_avx512,
    .attn_page_f32 = attn_page_f32_avx512,
    .attn_page_i8 = attn_page_i8_avx512,
    .attn_merge = attn_merge,
    .read_bytes = read_bytes,
};
