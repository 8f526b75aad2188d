/* Types of 256 weights with AVX2, see dot_super_avx2.h. */
#include "kernels_cpu/dot_super_avx2.h"

typedef void unpack_fn(const uint8_t *w, struct super *out);

ALWAYS_INLINE void dot_supers(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, struct super_form form,
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
        for (size_t c = 0; c < n; c++) {
            struct super_column y = super_column_at(a, c, 8 * i);
            acc[c] = super_add(acc[c], &s, form, &y);
        }
    }
    for (size_t c = 0; c < n; c++)
        out[c] = add_lanes(acc[c]);
}

/* 16 scales of a signed byte, times d. */
ALWAYS_INLINE void set_scales_16(__m256 d, __m128i bytes, struct super *out)
{
    const __m128i evens_odds = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    __m128i x = _mm_shuffle_epi8(bytes, evens_odds);
    out->scale = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)));
    out->scale_2 = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))));
}

ALWAYS_INLINE void set_scales_mins(uint16_t d, uint16_t dmin, const uint8_t scales[12], struct super *out)
{
    struct bytes8 bytes = bytes_q4_k(scales);
    out->scale = times_bytes(f16_broadcast(d), bytes.scale);
    out->min = times_bytes(f16_broadcast(dmin ^ 0x8000), bytes.min);
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
    __m128i x = _mm_loadu_si128((const void *)b->scales);
    set_scales_16(f16_broadcast(b->d), _mm_and_si128(x, _mm_set1_epi8(15)), out);
    out->min_16 = mins_q2_k(b->scales);
    out->dmin = f16_broadcast(b->dmin);
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
    set_scales_16(_mm256_mul_ps(f16_broadcast(b->d), _mm256_set1_ps(0.125f)), bytes_q3_k(b->scales), out);
}

ALWAYS_INLINE void unpack_q4_k(const uint8_t *w, struct super *out)
{
    const struct block_q4_k *b = (const void *)w;
    UNROLLED
    for (int j = 0; j < 8; j++)
        out->q[j] = bits(load32(b->qs + 32 * (j / 2)), 4 * (j % 2), 15);
    set_scales_mins(b->d, b->dmin, b->scales, out);
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
    set_scales_mins(b->d, b->dmin, b->scales, out);
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
    set_scales_16(f16_broadcast(b->d), _mm_loadu_si128((const void *)b->scales), out);
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
    __m256 scales = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(words_iq4_xs(b)));
    out->scale = _mm256_mul_ps(f16_broadcast(b->d), scales);
}

/* A single column keeps its sum in a register; more columns share one copy of the code. */
#define DOT_SUPERS(type, kind, n_short, factor)                                                              \
    void dot_avx2_##type(const uint8_t *w, const struct dot_cols *a, float *out)                             \
    {                                                                                                        \
        const struct super_form form = {kind, n_short, factor};                                              \
        if (a->n == 1)                                                                                       \
            dot_supers(w, sizeof(struct block_##type), unpack_##type, form, a, 1, out);                      \
        else                                                                                                 \
            dot_supers(w, sizeof(struct block_##type), unpack_##type, form, a, a->n, out);                   \
    }

DOT_SUPERS(q2_k, MIN_16, BELOW_32, 1)
DOT_SUPERS(q3_k, OFFSET_16, BELOW_32, 8)
DOT_SUPERS(q4_k, MIN_32, BELOW_16, 1)
DOT_SUPERS(q5_k, MIN_32, BELOW_32, 1)
DOT_SUPERS(q6_k, OFFSET_16, BELOW_64, 1)
DOT_SUPERS(iq4_xs, OFFSET_32, SIGNED, 1)
