/* Types of 256 weights with AVX-512 VNNI. Per vector of 64 weights one vpdpbusd; its sums of four products
 * fit int16 (at most 4 * 63 * 127 = 32004), so two vectors are packed and vpmaddwd applies the scales of the
 * sub-blocks. The levels of IQ4_XS are larger: their sums are scaled as int32. */
#include "kernels_cpu/dot_avx512.h"

#include "kernels_cpu/dot_x86_512.h"

/* What differs between the types in the arithmetic. */
enum kind {
    NARROW,     /* sums of four products fit int16 */
    MIN_PER_32, /* the same, and a min is for 32 weights, not 16 */
    WIDE,
};

/* A super-block; q[g] holds weights 64g .. 64g + 63, unsigned. */
struct super {
    __m512i q[4];
    struct scales16 scales;
    uint16_t d, dmin;
};

typedef void unpack_fn(const uint8_t *w, struct super *out);

/* Scales of 64 or 128 weights in the order of the products: 128-bit lane L of vpdpbusd's result belongs to
 * sub-block 4g + L. */
struct lane_scales {
    __m512i v[4];
};

/* For packed vectors 2i, 2i + 1: lane L is scale 8i + L four times, then 8i + 4 + L four times, int16. */
ALWAYS_INLINE struct lane_scales packed_scales(__m256i scales)
{
    const __m512i first = _mm512_set_epi16(7, 7, 7, 7, 3, 3, 3, 3, 6, 6, 6, 6, 2, 2, 2, 2, 5, 5, 5, 5, 1, 1,
                                           1, 1, 4, 4, 4, 4, 0, 0, 0, 0);
    __m512i s = _mm512_castsi256_si512(scales);
    struct lane_scales out;
    out.v[0] = _mm512_permutexvar_epi16(first, s);
    out.v[1] = _mm512_permutexvar_epi16(_mm512_add_epi16(first, _mm512_set1_epi16(8)), s);
    return out;
}

/* For vector g: lane L is scale 4g + L, int32. */
ALWAYS_INLINE struct lane_scales wide_scales(__m256i scales)
{
    const __m512i first = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    __m512i s = _mm512_cvtepi16_epi32(scales);
    struct lane_scales out;
    UNROLLED
    for (int g = 0; g < 4; g++)
        out.v[g] = _mm512_permutexvar_epi32(_mm512_add_epi32(first, _mm512_set1_epi32(4 * g)), s);
    return out;
}

ALWAYS_INLINE __m512i products(__m512i q, const int8_t *y)
{
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, _mm512_loadu_si512(y));
}

/* The scales of y for the dwords of packed vectors 2i, 2i + 1: 128-bit lane L holds two of 32-block 4i + L /
 * 2, then two of 4i + 2 + L / 2. */
ALWAYS_INLINE __m512 packed_dy(__m512 dy, int i)
{
    const __m512i first = _mm512_set_epi32(3, 3, 1, 1, 3, 3, 1, 1, 2, 2, 0, 0, 2, 2, 0, 0);
    return _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(4 * i)), dy);
}

/* For vector g: 32-block 2g in the low half, 2g + 1 in the high half. */
ALWAYS_INLINE __m512 wide_dy(__m512 dy, int g)
{
    const __m512i first = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(2 * g)), dy);
}

/* One super-block times one column: sum of scale * q * y, each 32 of them with the scale of y, over 16 lanes.
 */
ALWAYS_INLINE __m512 scaled_products(const struct super *s, const struct lane_scales *scales, const int8_t *y,
                                     __m512 dy, enum kind kind)
{
    __m512i p[4];
    UNROLLED
    for (int g = 0; g < 4; g++)
        p[g] = products(s->q[g], y + 64 * g);
    if (kind == WIDE) {
        __m512 sum = _mm512_setzero_ps();
        UNROLLED
        for (int g = 0; g < 4; g++)
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_mullo_epi32(p[g], scales->v[g])), wide_dy(dy, g),
                                  sum);
        return sum;
    }
    __m512i low = _mm512_madd_epi16(_mm512_packs_epi32(p[0], p[1]), scales->v[0]);
    __m512i high = _mm512_madd_epi16(_mm512_packs_epi32(p[2], p[3]), scales->v[1]);
    __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(low), packed_dy(dy, 0));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), packed_dy(dy, 1), sum);
}

ALWAYS_INLINE void dot_supers(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, enum kind kind,
                              const struct dot_cols *a, size_t n, float *out)
{
    size_t n_blocks = a->k / QUANT_SUPER;
    __m512 acc[DOT_MAX_COLS];
    __m256 acc_min[DOT_MAX_COLS];
    for (size_t c = 0; c < n; c++) {
        acc[c] = _mm512_setzero_ps();
        acc_min[c] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < n_blocks; i++, w += block_bytes) {
        struct super s;
        unpack(w, &s);
        prefetch_ahead(w, block_bytes);
        struct lane_scales scales =
            kind == WIDE ? wide_scales(s.scales.scale) : packed_scales(s.scales.scale);
        __m512 d = _mm512_cvtph_ps(_mm256_set1_epi16((short)s.d));
        __m256 dmin = f16_broadcast(s.dmin), min = mins_per_32(s.scales.min, dmin);
        for (size_t c = 0; c < n; c++) {
            size_t at = c * n_blocks + i;
            __m256 dy = _mm256_loadu_ps(a->d + 8 * at);
            __m512 sum =
                scaled_products(&s, &scales, a->q + QUANT_SUPER * at, _mm512_castps256_ps512(dy), kind);
            acc[c] = _mm512_fmadd_ps(sum, d, acc[c]);
            if (kind == MIN_PER_32) {
                acc_min[c] = _mm256_fnmadd_ps(min, _mm256_loadu_ps(a->s + 8 * at), acc_min[c]);
                continue;
            }
            /* Lane j: the two sub-blocks of the 32 that dy[j] belongs to. */
            __m256i mins =
                _mm256_madd_epi16(s.scales.min, _mm256_loadu_si256((const void *)(a->sums + 16 * at)));
            acc_min[c] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(mins), _mm256_mul_ps(dmin, dy), acc_min[c]);
        }
    }
    for (size_t c = 0; c < n; c++)
        out[c] = add_all(acc[c], acc_min[c]);
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

/* Bits at `low` (low half) and `high` (high half) of each byte, down to bit 0; what crosses a byte is masked
 * away. */
ALWAYS_INLINE __m512i bits(__m512i x, int low, int high, int mask)
{
    return _mm512_and_si512(_mm512_srlv_epi32(x, halves(low, high)), _mm512_set1_epi8((char)mask));
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
        out->q[g] = bits(load_twice(b->qs + 32 * (g / 2)), 4 * (g % 2), 4 * (g % 2) + 2, 3);
    out->scales = scales_q2_k(b->scales);
    out->d = b->d;
    out->dmin = b->dmin;
}

ALWAYS_INLINE void unpack_q3_k(const uint8_t *w, struct super *out)
{
    const struct block_q3_k *b = (const void *)w;
    __m512i mask = load_twice(b->hmask);
    UNROLLED
    for (int g = 0; g < 4; g++) {
        __m512i low = bits(load_twice(b->qs + 32 * (g / 2)), 4 * (g % 2), 4 * (g % 2) + 2, 3);
        out->q[g] = merge_bits(low, mask, 2 * g, 2 * g + 1, 2, 4);
    }
    out->scales = scales_q3_k(b->scales);
    out->d = out->dmin = b->d;
}

ALWAYS_INLINE void unpack_q4_k(const uint8_t *w, struct super *out)
{
    const struct block_q4_k *b = (const void *)w;
    UNROLLED
    for (int g = 0; g < 4; g++)
        out->q[g] = bits(load_twice(b->qs + 32 * g), 0, 4, 15);
    out->scales = scales_q4_k(b->scales);
    out->d = b->d;
    out->dmin = b->dmin;
}

ALWAYS_INLINE void unpack_q5_k(const uint8_t *w, struct super *out)
{
    const struct block_q5_k *b = (const void *)w;
    __m512i qh = load_twice(b->qh);
    UNROLLED
    for (int g = 0; g < 4; g++)
        out->q[g] = merge_bits(bits(load_twice(b->qs + 32 * g), 0, 4, 15), qh, 2 * g, 2 * g + 1, 4, 16);
    out->scales = scales_q4_k(b->scales);
    out->d = b->d;
    out->dmin = b->dmin;
}

ALWAYS_INLINE void unpack_q6_k(const uint8_t *w, struct super *out)
{
    const struct block_q6_k *b = (const void *)w;
    UNROLLED
    for (int g = 0; g < 4; g++) {
        int half = g / 2, upper = g % 2; /* upper: weights 64.. of the half, in the high nibbles */
        __m512i low = bits(_mm512_loadu_si512(b->ql + 64 * half), 4 * upper, 4 * upper, 15);
        out->q[g] = merge_bits(low, load_twice(b->qh + 32 * half), 4 * upper, 4 * upper + 2, 4, 0x30);
    }
    out->scales = scales_q6_k(b->scales);
    out->d = out->dmin = b->d;
}

ALWAYS_INLINE void unpack_iq4_xs(const uint8_t *w, struct super *out)
{
    const struct block_iq4_xs *b = (const void *)w;
    const __m512i levels = /* plus 128 */
        _mm512_xor_si512(_mm512_broadcast_i32x4(iq4_levels()), _mm512_set1_epi8((char)0x80));
    UNROLLED
    for (int g = 0; g < 4; g++)
        out->q[g] =
            _mm512_shuffle_epi8(levels, nibbles_64(_mm256_loadu_si256((const void *)(b->qs + 32 * g))));
    out->scales = scales_iq4_xs(b);
    out->d = out->dmin = b->d;
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

DOT_SUPERS(q2_k, NARROW)
DOT_SUPERS(q3_k, NARROW)
DOT_SUPERS(q4_k, MIN_PER_32)
DOT_SUPERS(q5_k, MIN_PER_32)
DOT_SUPERS(q6_k, NARROW)
DOT_SUPERS(iq4_xs, WIDE)
