/* dot_super_avx2.h: private to the AVX2 kernels: 256 weights (a super-block, or eight blocks of 32) times a
 * column, see dot_x86.h.
 *
 * vpmaddubsw adds two products in 16 bits, which must not saturate, so how the weights lie depends on their
 * range: unsigned as they are, up to 63, and as many sums as 16 bits hold are added before vpmaddwd widens
 * them; or signed bytes, whose magnitudes are multiplied by activations with their sign. Activations are -127
 * to 127. */
#ifndef FERRUM_DOT_SUPER_AVX2_H
#define FERRUM_DOT_SUPER_AVX2_H

#include "kernels_cpu/dot_avx2.h"
#include "kernels_cpu/dot_x86.h"

/* How a type is multiplied; constant where it is used. */
struct super_form {
    enum super_kind kind;
    /* Results of vpmaddubsw that 16 bits hold the sum of: 8 * 2 * 15 * 127 = 30480 for weights below 16, 4 *
     * 2
     * * 31 * 127 = 31496 below 32, 2 * 2 * 63 * 127 = 32004 below 64; SIGNED: 2 * 128 * 127 = 32512. */
    int n_short;
    /* What AVX-512 multiplies the weights by and divides the scales by, for its offsets of 128 or 32; here
     * vpmaddwd does it. */
    int factor;
};

enum { SIGNED = 1, BELOW_64 = 2, BELOW_32 = 4, BELOW_16 = 8 };

struct super {
    __m256i q[8];          /* natural order */
    __m256 scale, scale_2; /* per 32; per 16: of the first halves, of the second ones */
    __m256 min;            /* MIN_32: what is added per unit of the activations' s */
    __m256i min_16;        /* MIN_16: pairs of int16, times dmin subtracted */
    __m256 dmin;
};

/* Where a column's values of these 256 weights are; present: the lanes of blocks there are, if not all. */
struct super_column {
    const int8_t *q;
    const float *d, *s;
    const int16_t *sums;
    const __m256i *present;
    size_t last; /* number of the last block there is */
};

ALWAYS_INLINE struct super_column super_column_at(const struct dot_cols *a, size_t c, size_t block)
{
    size_t at = c * (a->k / QUANT_BLOCK) + block;
    return (struct super_column){
        .q = a->q + QUANT_BLOCK * at, .d = a->d + at, .s = a->s + at, .sums = a->sums + 2 * at, .last = 7};
}

/* A dword for each block. */
ALWAYS_INLINE __m256i block_ints(const struct super_column *y, const void *p)
{
    return y->present ? _mm256_maskload_epi32(p, *y->present) : _mm256_loadu_si256(p);
}

ALWAYS_INLINE __m256 block_floats(const struct super_column *y, const float *p)
{
    return _mm256_castsi256_ps(block_ints(y, p));
}

ALWAYS_INLINE __m256i pair_products(__m256i q, const int8_t *y_at, struct super_form form)
{
    __m256i y = _mm256_loadu_si256((const void *)y_at);
    if (form.n_short == SIGNED)
        return _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(y, q));
    return _mm256_maddubs_epi16(q, y);
}

ALWAYS_INLINE __m256i add_ints(__m256i a, __m256i b, bool in_16_bits)
{
    return in_16_bits ? _mm256_add_epi16(a, b) : _mm256_add_epi32(a, b);
}

ALWAYS_INLINE void widen(__m256i *p, int n, struct super_form form)
{
    UNROLLED
    for (int i = 0; i < n; i++)
        p[i] = _mm256_madd_epi16(p[i], _mm256_set1_epi16((short)form.factor));
}

/* The sums of eight blocks' products, a lane each: of their first halves in sum[0], of the second ones in
 * sum[1]; of all 32 in sum[0] where there is one scale for them. */
ALWAYS_INLINE void super_sums(const __m256i q[8], const struct super_column *y, struct super_form form,
                              __m256i sum[2])
{
    __m256i p[8];
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        p[j] = pair_products(q[j], y->q + QUANT_BLOCK * (j < y->last ? j : y->last), form);
    if (form.n_short == SIGNED)
        widen(p, 8, form);
    UNROLLED
    for (int j = 0; j < 4; j++)
        p[j] = add_ints(_mm256_unpacklo_epi32(p[2 * j], p[2 * j + 1]),
                        _mm256_unpackhi_epi32(p[2 * j], p[2 * j + 1]), form.n_short != SIGNED);
    if (form.n_short == BELOW_64)
        widen(p, 4, form);
    UNROLLED
    for (int j = 0; j < 2; j++)
        p[j] = add_ints(_mm256_unpacklo_epi64(p[2 * j], p[2 * j + 1]),
                        _mm256_unpackhi_epi64(p[2 * j], p[2 * j + 1]), form.n_short > BELOW_64);
    if (form.n_short == BELOW_32)
        widen(p, 2, form);
    sum[0] = _mm256_permute2x128_si256(p[0], p[1], 0x20);
    sum[1] = _mm256_permute2x128_si256(p[0], p[1], 0x31);
    if (form.kind == OFFSET_32 || form.kind == MIN_32)
        sum[0] = add_ints(sum[0], sum[1], form.n_short == BELOW_16);
    if (form.n_short == BELOW_16)
        widen(sum, 1, form);
}

/* The integers as floats, times their scale. */
ALWAYS_INLINE __m256 scaled(__m256i sum, __m256i start, __m256 scale)
{
    __m256 base = _mm256_mul_ps(scale, _mm256_set1_ps(-DOT_MAGIC));
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_add_epi32(sum, start)), scale, base);
}

/* Where the integers start: DOT_MAGIC and `low` times the sum of the first 16 of each block, `high` times
 * that of the second. */
ALWAYS_INLINE __m256i super_start(__m256i sums, short low, short high)
{
    __m256i factors = _mm256_set1_epi32((int)((uint32_t)(uint16_t)high << 16 | (uint16_t)low));
    return _mm256_add_epi32(_mm256_madd_epi16(sums, factors), _mm256_set1_epi32(DOT_MAGIC_BITS));
}

/* acc and the products with a column. */
ALWAYS_INLINE __m256 super_add(__m256 acc, const struct super *s, struct super_form form,
                               const struct super_column *y)
{
    const __m256i magic = _mm256_set1_epi32(DOT_MAGIC_BITS);
    __m256 before = acc, dy = block_floats(y, y->d);
    __m256i sum[2], sums = block_ints(y, y->sums);
    super_sums(s->q, y, form, sum);
    if (form.kind == OFFSET_16) {
        acc = _mm256_fmadd_ps(scaled(sum[0], super_start(sums, -32, 0), s->scale), dy, acc);
        acc = _mm256_fmadd_ps(scaled(sum[1], super_start(sums, 0, -32), s->scale_2), dy, acc);
    } else if (form.kind == OFFSET_32 && form.n_short != SIGNED) {
        acc = _mm256_fmadd_ps(scaled(sum[0], super_start(sums, -128, -128), s->scale), dy, acc);
    } else {
        acc = _mm256_fmadd_ps(scaled(sum[0], magic, s->scale), dy, acc);
    }
    if (form.kind == MIN_32)
        acc = _mm256_fmadd_ps(s->min, block_floats(y, y->s), acc);
    if (form.kind == MIN_16) {
        acc = _mm256_fmadd_ps(scaled(sum[1], magic, s->scale_2), dy, acc);
        acc = _mm256_fnmadd_ps(scaled(_mm256_madd_epi16(s->min_16, sums), magic, s->dmin), dy, acc);
    }
    if (y->present)
        acc = _mm256_blendv_ps(before, acc, _mm256_castsi256_ps(*y->present));
    return acc;
}

#endif
