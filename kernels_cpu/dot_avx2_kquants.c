/* Types of 256 weights with AVX2. Bytes times bytes go through vpmaddubsw, whose int16 sums of two products
 * must not saturate: at most 63 * 127 * 2 = 16002 for unsigned q, 127 * 127 * 2 = 32258 for the signed levels
 * of IQ4_XS. vpmaddwd then multiplies by the sub-block's scale while it widens to int32. */
#include "kernels_cpu/dot_avx2.h"

#include "kernels_cpu/dot_x86.h"

/* What differs between the types in the arithmetic. */
enum kind {
    MIN_PER_16,
    MIN_PER_32,
    SIGNED, /* q is signed, there are no mins */
};

/* A super-block; q[j] holds weights 32j .. 32j + 31. */
struct super {
    __m256i q[8];
    struct scales16 scales;
    uint16_t d, dmin;
};

typedef void unpack_fn(const uint8_t *w, struct super *out);

/* The 16 scales with the even ones in the low half, the odd ones in the high half: vector j of q needs scale
 * 2j in its low half, 2j + 1 in its high half. */
ALWAYS_INLINE __m256i split_even_odd(__m256i scales)
{
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(scales, order), 0xD8);
}

ALWAYS_INLINE __m256i scale_of(__m256i even_odd, int j)
{
    return _mm256_shuffle_epi8(even_odd, _mm256_set1_epi16((short)(0x0100 + 0x0202 * j)));
}

ALWAYS_INLINE __m256i products(__m256i q, __m256i y, enum kind kind)
{
    if (kind == SIGNED)
        return _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(y, q));
    return _mm256_maddubs_epi16(q, y);
}

/* One super-block times one column: sum of scale * q * y, each 32 of them with the scale of y, over 8 lanes.
 */
ALWAYS_INLINE __m256 scaled_products(const struct super *s, __m256i even_odd, const int8_t *y,
                                     const float *dy, enum kind kind)
{
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    UNROLLED
    for (int j = 0; j < 8; j++) {
        __m256i p = products(s->q[j], _mm256_loadu_si256((const void *)(y + 32 * j)), kind);
        p = _mm256_madd_epi16(p, scale_of(even_odd, j));
        sum[j & 1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(p), _mm256_broadcast_ss(dy + j), sum[j & 1]);
    }
    return _mm256_add_ps(sum[0], sum[1]);
}

ALWAYS_INLINE void dot_supers(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, enum kind kind,
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
        __m256i even_odd = split_even_odd(s.scales.scale);
        __m256 d = f16_broadcast(s.d), dmin = f16_broadcast(s.dmin);
        __m256 min = mins_per_32(s.scales.min, dmin);
        for (size_t c = 0; c < n; c++) {
            size_t at = c * n_blocks + i;
            const float *dy = a->d + 8 * at;
            __m256 sum = scaled_products(&s, even_odd, a->q + QUANT_SUPER * at, dy, kind);
            acc[c] = _mm256_fmadd_ps(sum, d, acc[c]);
            if (kind == SIGNED)
                continue;
            if (kind == MIN_PER_32) {
                acc[c] = _mm256_fnmadd_ps(min, _mm256_loadu_ps(a->s + 8 * at), acc[c]);
                continue;
            }
            /* Lane j: the two sub-blocks of the 32 that dy[j] belongs to. */
            __m256i mins =
                _mm256_madd_epi16(s.scales.min, _mm256_loadu_si256((const void *)(a->sums + 16 * at)));
            __m256 min_scale = _mm256_mul_ps(dmin, _mm256_loadu_ps(dy));
            acc[c] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(mins), min_scale, acc[c]);
        }
    }
    for (size_t c = 0; c < n; c++)
        out[c] = add_lanes(acc[c]);
}

/* Bits `shift`.. of every byte; what crosses a byte is masked away. */
ALWAYS_INLINE __m256i bits(__m256i x, int shift, int mask)
{
    return _mm256_and_si256(_mm256_srli_epi16(x, shift), _mm256_set1_epi8((char)mask));
}

ALWAYS_INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256(p);
}

ALWAYS_INLINE void unpack_q2_k(const uint8_t *w, struct super *out)
{
    const struct block_q2_k *b = (const void *)w;
    UNROLLED
    for (int j = 0; j < 8; j++)
        out->q[j] = bits(load32(b->qs + 32 * (j / 4)), 2 * (j % 4), 3);
    out->scales = scales_q2_k(b->scales);
    out->d = b->d;
    out->dmin = b->dmin;
}

ALWAYS_INLINE void unpack_q3_k(const uint8_t *w, struct super *out)
{
    const struct block_q3_k *b = (const void *)w;
    __m256i mask = load32(b->hmask);
    UNROLLED
    for (int j = 0; j < 8; j++) {
        __m256i low = bits(load32(b->qs + 32 * (j / 4)), 2 * (j % 4), 3);
        __m256i high = _mm256_slli_epi16(bits(mask, j, 1), 2);
        out->q[j] = _mm256_or_si256(low, high);
    }
    out->scales = scales_q3_k(b->scales);
    out->d = out->dmin = b->d;
}

ALWAYS_INLINE void unpack_q4_k(const uint8_t *w, struct super *out)
{
    const struct block_q4_k *b = (const void *)w;
    UNROLLED
    for (int j = 0; j < 8; j++)
        out->q[j] = bits(load32(b->qs + 32 * (j / 2)), 4 * (j % 2), 15);
    out->scales = scales_q4_k(b->scales);
    out->d = b->d;
    out->dmin = b->dmin;
}

ALWAYS_INLINE void unpack_q5_k(const uint8_t *w, struct super *out)
{
    const struct block_q5_k *b = (const void *)w;
    __m256i qh = load32(b->qh);
    UNROLLED
    for (int j = 0; j < 8; j++) {
        __m256i low = bits(load32(b->qs + 32 * (j / 2)), 4 * (j % 2), 15);
        /* Bit j to bit 4. */
        __m256i high = j < 4 ? _mm256_slli_epi16(qh, 4 - j) : _mm256_srli_epi16(qh, j - 4);
        out->q[j] = _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(16)));
    }
    out->scales = scales_q4_k(b->scales);
    out->d = b->d;
    out->dmin = b->dmin;
}

ALWAYS_INLINE void unpack_q6_k(const uint8_t *w, struct super *out)
{
    const struct block_q6_k *b = (const void *)w;
    UNROLLED
    for (int j = 0; j < 8; j++) {
        int half = j / 4, quarter = j % 4;
        __m256i low = bits(load32(b->ql + 64 * half + 32 * (quarter % 2)), 4 * (quarter / 2), 15);
        __m256i qh = load32(b->qh + 32 * half);
        /* The pair of bits at 2 * quarter to bit 4. */
        __m256i high =
            quarter < 2 ? _mm256_slli_epi16(qh, 4 - 2 * quarter) : _mm256_srli_epi16(qh, 2 * quarter - 4);
        out->q[j] = _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
    }
    out->scales = scales_q6_k(b->scales);
    out->d = out->dmin = b->d;
}

ALWAYS_INLINE void unpack_iq4_xs(const uint8_t *w, struct super *out)
{
    const struct block_iq4_xs *b = (const void *)w;
    const __m256i levels = _mm256_broadcastsi128_si256(iq4_levels());
    UNROLLED
    for (int j = 0; j < 8; j++) {
        __m128i x = _mm_loadu_si128((const void *)(b->qs + 16 * j));
        __m256i index = _mm256_set_m128i(_mm_srli_epi16(x, 4), x);
        out->q[j] = _mm256_shuffle_epi8(levels, _mm256_and_si256(index, _mm256_set1_epi8(15)));
    }
    out->scales = scales_iq4_xs(b);
    out->d = out->dmin = b->d;
}

/* A single column keeps its sum in a register; more columns share one copy of the code. */
#define DOT_SUPERS(type, kind)                                                                               \
    void dot_avx2_##type(const uint8_t *w, const struct dot_cols *a, float *out)                             \
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
DOT_SUPERS(iq4_xs, SIGNED)
