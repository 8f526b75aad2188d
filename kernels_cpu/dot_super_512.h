/* dot_super_512.h: private to the AVX-512 dot kernels: 256 weights (a super-block, or eight blocks of 32)
 * times a column.
 *
 * Weights are unsigned bytes here; what was subtracted comes back in integers, as the place where their sum
 * starts (act_lanes_fn), or as a min. Weights and columns are brought to the order of act_lanes_fn: four
 * vpdpbusd in a chain then leave, in lane j, the sum of the j-th 32 products (in two halves). Lane j of the
 * result is one running sum over the row's j-th blocks; the eight are added in one tree at the end
 * (add_lanes). A tile (tile_avx512.c) does these additions and multiplications in the same order, so a row
 * has the same bits there. Offsets are 128 (per 32) and 32 (per 16): weights of fewer bits are shifted up to
 * that and their scales divided by the power of two. */
#ifndef FERRUM_DOT_SUPER_512_H
#define FERRUM_DOT_SUPER_512_H

#include "kernels_cpu/dot_avx512.h"
#include "kernels_cpu/dot_x86_512.h"

struct super {
    __m512i q[4];   /* natural order */
    __m512 scale;   /* per 32: lanes 0 to 7; per 16: those of the first halves, then of the second ones */
    __m256 min;     /* MIN_32: what is added per unit of the activations' s */
    __m256i min_16; /* MIN_16: pairs of int16, times dmin subtracted */
    float dmin;
};

ALWAYS_INLINE __m512i super_start(enum super_kind kind, const struct dot_cols *a, size_t at_32,
                                  __mmask8 blocks)
{
    const __m512i magic = _mm512_set1_epi32(DOT_MAGIC_BITS);
    switch (kind) {
    case OFFSET_32:
        return _mm512_zextsi256_si512(_mm256_maskz_loadu_epi32(blocks, a->start_32 + at_32));
    case MIN_32:
        return _mm512_zextsi256_si512(_mm512_castsi512_si256(magic));
    case OFFSET_16:
        return _mm512_loadu_si512(a->start_16 + 2 * at_32);
    default:
        return magic;
    }
}

/* acc and the column's blocks from number at_32 on; y: their 256 bytes in the order of s->q. Only the lanes
 * of `blocks`. */
ALWAYS_INLINE __m256 super_add(__m256 acc, const struct super *s, enum super_kind kind,
                               const struct dot_cols *a, size_t at_32, const __m512i y[4], __mmask8 blocks)
{
    __m512i p = super_start(kind, a, at_32, blocks);
    UNROLLED
    for (int v = 0; v < 4; v++)
        p = _mm512_dpbusd_epi32(p, s->q[v], y[v]);
    __m512 base = _mm512_mul_ps(s->scale, _mm512_set1_ps(-DOT_MAGIC));
    __m256 dy = _mm256_maskz_loadu_ps(blocks, a->d + at_32);
    if (kind == OFFSET_16 || kind == MIN_16) {
        __m512 x = _mm512_fmadd_ps(_mm512_castsi512_ps(p), s->scale, base);
        acc = _mm256_fmadd_ps(_mm512_castps512_ps256(x), dy, acc);
        acc = _mm256_fmadd_ps(_mm512_extractf32x8_ps(x, 1), dy, acc);
    } else {
        __m256i sum = _mm256_add_epi32(_mm512_castsi512_si256(p), _mm512_extracti64x4_epi64(p, 1));
        __m256 x = _mm256_fmadd_ps(_mm256_castsi256_ps(sum), _mm512_castps512_ps256(s->scale),
                                   _mm512_castps512_ps256(base));
        acc = _mm256_mask3_fmadd_ps(x, dy, acc, blocks);
    }
    if (kind == MIN_32)
        acc = _mm256_mask3_fmadd_ps(s->min, _mm256_maskz_loadu_ps(blocks, a->s + at_32), acc, blocks);
    if (kind == MIN_16) {
        __m256i mins = _mm256_madd_epi16(s->min_16, _mm256_loadu_si256((const void *)(a->sums + 2 * at_32)));
        mins = _mm256_add_epi32(mins, _mm256_set1_epi32(DOT_MAGIC_BITS));
        __m256 x = _mm256_fmadd_ps(_mm256_castsi256_ps(mins), _mm256_set1_ps(s->dmin),
                                   _mm256_set1_ps(s->dmin * -DOT_MAGIC));
        acc = _mm256_fnmadd_ps(x, dy, acc);
    }
    return acc;
}

#endif
