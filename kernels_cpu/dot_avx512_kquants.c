/* Types of 256 weights with AVX-512 VNNI, see dot_super_512.h. */
#include "kernels_cpu/dot_super_512.h"

typedef void unpack_fn(const uint8_t *w, struct super *out);

static void put_lanes(const int8_t q[QUANT_SUPER], int8_t lanes[QUANT_SUPER])
{
    __m512i x[4];
    UNROLLED
    for (size_t g = 0; g < 4; g++)
        x[g] = _mm512_loadu_si512(q + 64 * g);
    to_lanes(x);
    UNROLLED
    for (size_t v = 0; v < 4; v++)
        _mm512_storeu_si512(lanes + 64 * v, x[v]);
}

void act_lanes_avx512(const int8_t *q, const int16_t *sums, size_t k, int8_t *lanes, int32_t *start_32,
                      int32_t *start_16)
{
    const __m512i evens_odds = _mm512_set_epi32(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i magic = _mm512_set1_epi32(DOT_MAGIC_BITS);
    size_t i = 0;
    for (; i + QUANT_SUPER <= k; i += QUANT_SUPER) {
        if (lanes)
            put_lanes(q + i, lanes + i);
        __m512i sum = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)(sums + i / 16)));
        sum = _mm512_sub_epi32(magic, _mm512_slli_epi32(sum, 5));
        _mm512_storeu_si512(start_16 + i / 16, _mm512_permutexvar_epi32(evens_odds, sum));
    }
    if (lanes)
        memcpy(lanes + i, q + i, k - i);
    for (size_t b = 0; b < k / QUANT_BLOCK; b++)
        start_32[b] = DOT_MAGIC_BITS - 128 * (sums[2 * b] + sums[2 * b + 1]);
}

ALWAYS_INLINE void dot_supers(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, enum super_kind kind,
                              const struct dot_cols *a, size_t n, float *out)
{
    size_t n_blocks = a->k / QUANT_SUPER;
    __m256 acc[DOT_MAX_COLS];
    for (size_t c = 0; c < n; c++)
        acc[c] = _mm256_setzero_ps();
    for (size_t i = 0; i < n_blocks; i++, w += block_bytes) {
        struct super s;
        unpack(w, &s);
        prefetch_ahead(w, block_bytes);
        to_lanes(s.q);
        for (size_t c = 0; c < n; c++) {
            size_t at = c * n_blocks + i;
            __m512i y[4];
            UNROLLED
            for (int v = 0; v < 4; v++)
                y[v] = _mm512_loadu_si512(a->lanes + QUANT_SUPER * at + 64 * v);
            acc[c] = super_add(acc[c], &s, kind, a, 8 * at, y, 0xFF);
        }
    }
    for (size_t c = 0; c < n; c++)
        out[c] = add_lanes(acc[c]);
}

ALWAYS_INLINE __m512 widen_d(uint16_t d)
{
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)d));
}

/* 16 scales of a signed byte, per 16. */
ALWAYS_INLINE __m512 times_bytes_16(__m512 d, __m128i bytes)
{
    const __m128i evens_odds = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_shuffle_epi8(bytes, evens_odds))));
}

/* 32 bytes, in both halves. */
ALWAYS_INLINE __m512i load_twice(const void *p)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(p));
}

/* `low` in the dwords of the low half, `high` in those of the high half. */
ALWAYS_INLINE __m512i halves(int low, int high)
{
    return _mm512_inserti64x4(_mm512_set1_epi32(low), _mm256_set1_epi32(high), 1);
}

/* Bits at `low` (low half) and `high` (high half) of each byte, to bit `to`; what crosses a byte is masked
 * away. */
ALWAYS_INLINE __m512i bits(__m512i x, int low, int high, int to, int mask)
{
    return _mm512_and_si512(_mm512_rolv_epi32(x, halves((to - low) & 31, (to - high) & 31)),
                            _mm512_set1_epi8((char)mask));
}

/* q with the bits at `low` and `high` of each byte of x put at bit `to`. */
ALWAYS_INLINE __m512i merge_bits(__m512i q, __m512i x, int low, int high, int to, int mask)
{
    __m512i moved = _mm512_rolv_epi32(x, halves((to - low) & 31, (to - high) & 31));
    return _mm512_ternarylogic_epi32(q, moved, _mm512_set1_epi8((char)mask), 0xF8); /* q | (moved & mask) */
}

ALWAYS_INLINE void unpack_q2_k(const uint8_t *w, struct super *out)
{
    const struct block_q2_k *b = (const void *)w;
    UNROLLED
    for (int g = 0; g < 4; g++)
        out->q[g] = bits(load_twice(b->qs + 32 * (g / 2)), 4 * (g % 2), 4 * (g % 2) + 2, 0, 3);
    __m128i x = _mm_loadu_si128((const void *)b->scales), nibble = _mm_set1_epi8(15);
    out->scale = times_bytes_16(widen_d(b->d), _mm_and_si128(x, nibble));
    out->min_16 = mins_q2_k(b->scales);
    out->dmin = _mm256_cvtss_f32(f16_broadcast(b->dmin));
}

/* Eight times q, an eighth of d: the offset 4 is 32. */
ALWAYS_INLINE void unpack_q3_k(const uint8_t *w, struct super *out)
{
    const struct block_q3_k *b = (const void *)w;
    __m512i mask = load_twice(b->hmask);
    UNROLLED
    for (int g = 0; g < 4; g++) {
        __m512i low = bits(load_twice(b->qs + 32 * (g / 2)), 4 * (g % 2), 4 * (g % 2) + 2, 3, 0x18);
        out->q[g] = merge_bits(low, mask, 2 * g, 2 * g + 1, 5, 0x20);
    }
    out->scale = times_bytes_16(_mm512_mul_ps(widen_d(b->d), _mm512_set1_ps(0.125f)), bytes_q3_k(b->scales));
}

ALWAYS_INLINE void scales_mins(struct super *out, uint16_t d, uint16_t dmin, const uint8_t scales[12])
{
    struct bytes8 bytes = bytes_q4_k(scales);
    out->scale = _mm512_castps256_ps512(times_bytes(f16_broadcast(d), bytes.scale));
    out->min = times_bytes(f16_broadcast(dmin ^ 0x8000), bytes.min);
}

ALWAYS_INLINE void unpack_q4_k(const uint8_t *w, struct super *out)
{
    const struct block_q4_k *b = (const void *)w;
    UNROLLED
    for (int g = 0; g < 4; g++)
        out->q[g] = bits(load_twice(b->qs + 32 * g), 0, 4, 0, 15);
    scales_mins(out, b->d, b->dmin, b->scales);
}

ALWAYS_INLINE void unpack_q5_k(const uint8_t *w, struct super *out)
{
    const struct block_q5_k *b = (const void *)w;
    __m512i qh = load_twice(b->qh);
    UNROLLED
    for (int g = 0; g < 4; g++)
        out->q[g] = merge_bits(bits(load_twice(b->qs + 32 * g), 0, 4, 0, 15), qh, 2 * g, 2 * g + 1, 4, 16);
    scales_mins(out, b->d, b->dmin, b->scales);
}

ALWAYS_INLINE void unpack_q6_k(const uint8_t *w, struct super *out)
{
    const struct block_q6_k *b = (const void *)w;
    UNROLLED
    for (int g = 0; g < 4; g++) {
        int half = g / 2, upper = g % 2; /* upper: weights 64.. of the half, in the high nibbles */
        __m512i low = bits(_mm512_loadu_si512(b->ql + 64 * half), 4 * upper, 4 * upper, 0, 15);
        out->q[g] = merge_bits(low, load_twice(b->qh + 32 * half), 4 * upper, 4 * upper + 2, 4, 0x30);
    }
    out->scale = times_bytes_16(widen_d(b->d), _mm_loadu_si128((const void *)b->scales));
}

ALWAYS_INLINE void unpack_iq4_xs(const uint8_t *w, struct super *out)
{
    const struct block_iq4_xs *b = (const void *)w;
    const __m512i levels = /* plus 128 */
        _mm512_xor_si512(_mm512_broadcast_i32x4(iq4_levels()), _mm512_set1_epi8((char)0x80));
    UNROLLED
    for (int g = 0; g < 4; g++)
        out->q[g] = _mm512_shuffle_epi8(
            levels, nibbles_64(_mm256_loadu_si256((const void *)(b->qs + 32 * g)), 0, 60, 15));
    __m256 scales = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(words_iq4_xs(b)));
    out->scale = _mm512_castps256_ps512(_mm256_mul_ps(f16_broadcast(b->d), scales));
}

/* A single column keeps its sums in registers; more columns share one copy of the code. */
#define DOT_SUPERS(type, kind)                                                                               \
    void dot_avx512_##type(const uint8_t *w, const struct dot_cols *a, float *out)                           \
    {                                                                                                        \
        if (a->n == 1)                                                                                       \
            dot_supers(w, sizeof(struct block_##type), unpack_##type, kind, a, 1, out);                      \
        else                                                                                                 \
            dot_supers(w, sizeof(struct block_##type), unpack_##type, kind, a, a->n, out);                   \
    }

DOT_SUPERS(q2_k, MIN_16)
DOT_SUPERS(q3_k, OFFSET_16)
DOT_SUPERS(q4_k, MIN_32)
DOT_SUPERS(q5_k, MIN_32)
DOT_SUPERS(q6_k, OFFSET_16)
DOT_SUPERS(iq4_xs, OFFSET_32)
