/* Types of 256 weights with AVX-512 VNNI. Weights and columns are brought to the order of ACT_Q8_LANES: four
 * vpdpbusd in a chain leave 16 sums of 16 products, one per sub-block, which are scaled as floats. */
#include "kernels_cpu/dot_avx512.h"

#include "kernels_cpu/dot_x86_512.h"

/* What differs between the types in the arithmetic. */
enum kind { MIN_PER_16, MIN_PER_32 };

/* A super-block; q[g] holds weights 64g .. 64g + 63, unsigned. */
struct super {
    __m512i q[4];
    struct scales16 scales;
    uint16_t d, dmin;
};

typedef void unpack_fn(const uint8_t *w, struct super *out);

/* From natural order to that of ACT_Q8_LANES: dword v of each 128-bit lane goes to vector v. */
ALWAYS_INLINE void to_lanes(__m512i q[4])
{
    __m512i low01 = _mm512_unpacklo_epi32(q[0], q[1]), high01 = _mm512_unpackhi_epi32(q[0], q[1]);
    __m512i low23 = _mm512_unpacklo_epi32(q[2], q[3]), high23 = _mm512_unpackhi_epi32(q[2], q[3]);
    q[0] = _mm512_unpacklo_epi64(low01, low23);
    q[1] = _mm512_unpackhi_epi64(low01, low23);
    q[2] = _mm512_unpacklo_epi64(high01, high23);
    q[3] = _mm512_unpackhi_epi64(high01, high23);
}

void act_lanes_avx512(const int8_t *q, size_t k, int8_t *lanes)
{
    for (size_t i = 0; i < k; i += QUANT_SUPER) {
        __m512i x[4];
        UNROLLED
        for (int g = 0; g < 4; g++)
            x[g] = _mm512_loadu_si512(q + i + 64 * (size_t)g);
        to_lanes(x);
        UNROLLED
        for (int v = 0; v < 4; v++)
            _mm512_storeu_si512(lanes + i + 64 * (size_t)v, x[v]);
    }
}

/* Scale 4g + L in dword 4L + g, times d. */
ALWAYS_INLINE __m512 lane_scales(__m256i scales, __m512 d)
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    return _mm512_mul_ps(d,
                         _mm512_cvtepi32_ps(_mm512_permutexvar_epi32(order, _mm512_cvtepi16_epi32(scales))));
}

/* The scale of the 32 values that dword 4L + g belongs to: 2g + L / 2. */
ALWAYS_INLINE __m512 lane_dy(const float *dy)
{
    const __m512i order = _mm512_set_epi32(7, 5, 3, 1, 7, 5, 3, 1, 6, 4, 2, 0, 6, 4, 2, 0);
    return _mm512_permutexvar_ps(order, _mm512_castps256_ps512(_mm256_loadu_ps(dy)));
}

ALWAYS_INLINE __m512 products(const struct super *s, const int8_t *y)
{
    __m512i p = _mm512_setzero_si512();
    UNROLLED
    for (int v = 0; v < 4; v++)
        p = _mm512_dpbusd_epi32(p, s->q[v], _mm512_loadu_si512(y + 64 * v));
    return _mm512_cvtepi32_ps(p);
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
        to_lanes(s.q);
        __m512 scales = lane_scales(s.scales.scale, _mm512_cvtph_ps(_mm256_set1_epi16((short)s.d)));
        __m256 dmin = f16_broadcast(s.dmin), min = mins_per_32(s.scales.min, dmin);
        for (size_t c = 0; c < n; c++) {
            size_t at = c * n_blocks + i;
            const float *dy = a->d + 8 * at;
            __m512 sums = products(&s, a->q + QUANT_SUPER * at);
            acc[c] = _mm512_fmadd_ps(sums, _mm512_mul_ps(scales, lane_dy(dy)), acc[c]);
            if (kind == MIN_PER_32) {
                acc_min[c] = _mm256_fnmadd_ps(min, _mm256_loadu_ps(a->s + 8 * at), acc_min[c]);
                continue;
            }
            /* Lane j: the two sub-blocks of the 32 that dy[j] belongs to. */
            __m256i mins =
                _mm256_madd_epi16(s.scales.min, _mm256_loadu_si256((const void *)(a->sums + 16 * at)));
            acc_min[c] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(mins), _mm256_mul_ps(dmin, _mm256_loadu_ps(dy)),
                                          acc_min[c]);
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

DOT_SUPERS(q2_k, MIN_PER_16)
DOT_SUPERS(q3_k, MIN_PER_16)
DOT_SUPERS(q4_k, MIN_PER_32)
DOT_SUPERS(q5_k, MIN_PER_32)
DOT_SUPERS(q6_k, MIN_PER_16)
DOT_SUPERS(iq4_xs, MIN_PER_16)
