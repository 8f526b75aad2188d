/* Types of 32 weights with AVX-512 VNNI, two blocks a vector. 4- and 5-bit weights are unsigned: weight i is
 * d * q[i] + m, with m = -offset * d where a type subtracts an offset; the mins of both blocks meet the
 * activation sums in lanes 0, 1. An offset of 128 would cost the digits of blocks of small weights, so the
 * 8-bit types are signed: vpdpbusd gets their magnitude and the activations with their sign. */
#include "kernels_cpu/dot_avx512.h"

#include "kernels_cpu/dot_x86_512.h"

/* Two blocks; q holds the first in its low half. d and m are in lanes 0 and 1. */
struct pair32 {
    __m512i q;
    __m128 d, m;
};

/* second is first + 1, or first again where the row ends with an odd block. */
typedef void unpack_fn(const uint8_t *first, const uint8_t *second, struct pair32 *out);

struct sums {
    __m512 products;
    __m128 mins;
};

/* Blocks i and i + 1 of the row (only i: `alone`) times n columns. */
ALWAYS_INLINE void add_pair(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, bool is_signed,
                            bool alone, const struct dot_cols *a, size_t n, size_t i, struct sums *sums)
{
    const __m512i to_halves = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    const __mmask64 bytes = alone ? 0xFFFFFFFFu : ~(__mmask64)0;
    const __mmask8 blocks = alone ? 1 : 3;
    struct pair32 p;
    unpack(w, alone ? w : w + block_bytes, &p);
    __mmask64 negative = is_signed ? _mm512_movepi8_mask(p.q) : 0;
    __m512i q = is_signed ? _mm512_abs_epi8(p.q) : p.q;
    /* A second block that is not there counts for nothing, be the first one NaN. */
    __m512 d = _mm512_permutexvar_ps(to_halves, _mm512_castps128_ps512(_mm_maskz_mov_ps(blocks, p.d)));
    __m128 m = is_signed ? _mm_setzero_ps() : _mm_maskz_mov_ps(blocks, p.m);
    for (size_t c = 0; c < n; c++) {
        size_t at = c * (a->k / QUANT_BLOCK) + i;
        __m512i y = _mm512_maskz_loadu_epi8(bytes, a->q + QUANT_BLOCK * at);
        if (is_signed)
            y = _mm512_mask_sub_epi8(y, negative, _mm512_setzero_si512(), y);
        __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, y);
        __m128 dy = _mm_maskz_loadu_ps(blocks, a->d + at);
        __m512 scale = _mm512_mul_ps(d, _mm512_permutexvar_ps(to_halves, _mm512_castps128_ps512(dy)));
        sums[c].products = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, sums[c].products);
        if (!is_signed)
            sums[c].mins = _mm_fmadd_ps(m, _mm_maskz_loadu_ps(blocks, a->s + at), sums[c].mins);
    }
}

ALWAYS_INLINE void dot_blocks(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, bool is_signed,
                              const struct dot_cols *a, size_t n, float *out)
{
    size_t n_blocks = a->k / QUANT_BLOCK, i = 0;
    struct sums sums[DOT_MAX_COLS];
    for (size_t c = 0; c < n; c++)
        sums[c] = (struct sums){_mm512_setzero_ps(), _mm_setzero_ps()};
    for (; i + 2 <= n_blocks; i += 2, w += 2 * block_bytes) {
        prefetch_ahead(w, 2 * block_bytes);
        add_pair(w, block_bytes, unpack, is_signed, false, a, n, i, sums);
    }
    if (i < n_blocks)
        add_pair(w, block_bytes, unpack, is_signed, true, a, n, i, sums);
    for (size_t c = 0; c < n; c++)
        out[c] = add_all(sums[c].products, _mm256_zextps128_ps256(sums[c].mins));
}

ALWAYS_INLINE __m128 two_halves(uint16_t first, uint16_t second)
{
    return _mm_cvtph_ps(_mm_cvtsi32_si128((int)(first | (uint32_t)second << 16)));
}

ALWAYS_INLINE __m512i nibbles(const uint8_t first[16], const uint8_t second[16])
{
    return nibbles_64(
        _mm256_set_m128i(_mm_loadu_si128((const void *)second), _mm_loadu_si128((const void *)first)));
}

/* q with 16 added where a bit of h is set: bit i is weight i, the first block in the low half. */
ALWAYS_INLINE __m512i add_fifth_bits(__m512i q, uint32_t first, uint32_t second)
{
    return _mm512_mask_add_epi8(q, first | (__mmask64)second << 32, q, _mm512_set1_epi8(16));
}

ALWAYS_INLINE __m128 offset_min(__m128 d, float offset)
{
    return _mm_mul_ps(d, _mm_set1_ps(-offset));
}

ALWAYS_INLINE void unpack_q4_0(const uint8_t *first, const uint8_t *second, struct pair32 *out)
{
    const struct block_q4_0 *a = (const void *)first, *b = (const void *)second;
    out->q = nibbles(a->qs, b->qs);
    out->d = two_halves(a->d, b->d);
    out->m = offset_min(out->d, 8);
}

ALWAYS_INLINE void unpack_q4_1(const uint8_t *first, const uint8_t *second, struct pair32 *out)
{
    const struct block_q4_1 *a = (const void *)first, *b = (const void *)second;
    out->q = nibbles(a->qs, b->qs);
    out->d = two_halves(a->d, b->d);
    out->m = two_halves(a->m, b->m);
}

ALWAYS_INLINE void unpack_q5_0(const uint8_t *first, const uint8_t *second, struct pair32 *out)
{
    const struct block_q5_0 *a = (const void *)first, *b = (const void *)second;
    out->q = add_fifth_bits(nibbles(a->qs, b->qs), a->qh, b->qh);
    out->d = two_halves(a->d, b->d);
    out->m = offset_min(out->d, 16);
}

ALWAYS_INLINE void unpack_q5_1(const uint8_t *first, const uint8_t *second, struct pair32 *out)
{
    const struct block_q5_1 *a = (const void *)first, *b = (const void *)second;
    out->q = add_fifth_bits(nibbles(a->qs, b->qs), a->qh, b->qh);
    out->d = two_halves(a->d, b->d);
    out->m = two_halves(a->m, b->m);
}

ALWAYS_INLINE void unpack_q8_0(const uint8_t *first, const uint8_t *second, struct pair32 *out)
{
    const struct block_q8_0 *a = (const void *)first, *b = (const void *)second;
    __m512i q = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)a->qs));
    out->q = _mm512_inserti64x4(q, _mm256_loadu_si256((const void *)b->qs), 1);
    out->d = two_halves(a->d, b->d);
}

ALWAYS_INLINE void unpack_iq4_nl(const uint8_t *first, const uint8_t *second, struct pair32 *out)
{
    const struct block_iq4_nl *a = (const void *)first, *b = (const void *)second;
    out->q = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(iq4_levels()), nibbles(a->qs, b->qs));
    out->d = two_halves(a->d, b->d);
}

/* A single column keeps its sums in registers; more columns share one copy of the code. */
#define DOT_BLOCKS(type, is_signed)                                                                          \
    void dot_avx512_##type(const uint8_t *w, const struct dot_cols *a, float *out)                           \
    {                                                                                                        \
        if (a->n == 1)                                                                                       \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, is_signed, a, 1, out);                 \
        else                                                                                                 \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, is_signed, a, a->n, out);              \
    }

DOT_BLOCKS(q4_0, false)
DOT_BLOCKS(q4_1, false)
DOT_BLOCKS(q5_0, false)
DOT_BLOCKS(q5_1, false)
DOT_BLOCKS(q8_0, true)
DOT_BLOCKS(iq4_nl, true)
