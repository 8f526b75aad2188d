/* Types of 32 weights with AVX2: eight blocks in a row act as one of 256 weights (dot_super_avx2.h). Where a
 * row ends with fewer, the lanes of the others keep their sums. */
#include "kernels_cpu/dot_super_avx2.h"

typedef void unpack_fn(struct blocks b, struct super *out);

/* Eight blocks, or the first `last + 1` of them, times n columns. */
ALWAYS_INLINE void add_blocks(struct blocks b, unpack_fn *unpack, struct super_form form,
                              const struct dot_cols *a, size_t n, size_t at, __m256 *acc)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i present = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)b.last + 1), lane);
    struct super s;
    unpack(b, &s);
    for (size_t c = 0; c < n; c++) {
        struct super_column y = super_column_at(a, c, at);
        if (b.last < 7) {
            y.present = &present;
            y.last = b.last;
        }
        acc[c] = super_add(acc[c], &s, form, &y);
    }
}

ALWAYS_INLINE void dot_blocks(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, struct super_form form,
                              const struct dot_cols *a, size_t n, float *out)
{
    size_t n_blocks = a->k / QUANT_BLOCK, i = 0;
    __m256 acc[DOT_MAX_COLS];
    for (size_t c = 0; c < n; c++)
        acc[c] = _mm256_setzero_ps();
    for (; i + 8 <= n_blocks; i += 8, w += 8 * block_bytes) {
        prefetch_ahead(w, 8 * block_bytes);
        add_blocks((struct blocks){w, block_bytes, 7}, unpack, form, a, n, i, acc);
    }
    if (i < n_blocks)
        add_blocks((struct blocks){w, block_bytes, n_blocks - i - 1}, unpack, form, a, n, i, acc);
    for (size_t c = 0; c < n; c++)
        out[c] = add_lanes(acc[c]);
}

ALWAYS_INLINE void set_scale(struct blocks b, float factor, struct super *out)
{
    out->scale = _mm256_mul_ps(front_d(b), _mm256_set1_ps(factor));
}

/* The two f16 in front of each block. */
ALWAYS_INLINE void set_scale_min(struct blocks b, struct super *out)
{
    __m256i x = front_pairs(b), low = _mm256_and_si256(x, _mm256_set1_epi32(0xFFFF));
    x = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, _mm256_srli_epi32(x, 16)), 0xD8);
    out->scale = _mm256_cvtph_ps(_mm256_castsi256_si128(x));
    out->min = _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1));
}

/* 16 bytes of nibbles to 32 bytes in natural order. */
ALWAYS_INLINE __m256i nibbles(const uint8_t *qs)
{
    __m128i x = _mm_loadu_si128((const void *)qs);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(x, 4), x), _mm256_set1_epi8(15));
}

/* Bit i of h to byte i: 16 where it is set, else 0. */
ALWAYS_INLINE __m256i fifth_bits(uint32_t h)
{
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i x = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)h), byte_of), bit_of);
    return _mm256_and_si256(_mm256_cmpeq_epi8(x, bit_of), _mm256_set1_epi8(16));
}

ALWAYS_INLINE void unpack_q4_0(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        out->q[j] = nibbles(block_at(b, j) + offsetof(struct block_q4_0, qs));
    set_scale(b, 1.0f / 16, out);
}

ALWAYS_INLINE void unpack_q4_1(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        out->q[j] = nibbles(block_at(b, j) + offsetof(struct block_q4_1, qs));
    set_scale_min(b, out);
}

ALWAYS_INLINE __m256i five_bits(const uint8_t *qs, const uint8_t *qh)
{
    return _mm256_or_si256(nibbles(qs), fifth_bits(load_u32(qh)));
}

ALWAYS_INLINE void unpack_q5_0(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        out->q[j] = five_bits(block_at(b, j) + offsetof(struct block_q5_0, qs),
                              block_at(b, j) + offsetof(struct block_q5_0, qh));
    set_scale(b, 1.0f / 8, out);
}

ALWAYS_INLINE void unpack_q5_1(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        out->q[j] = five_bits(block_at(b, j) + offsetof(struct block_q5_1, qs),
                              block_at(b, j) + offsetof(struct block_q5_1, qh));
    set_scale_min(b, out);
}

ALWAYS_INLINE void unpack_q8_0(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        out->q[j] = _mm256_loadu_si256((const void *)(block_at(b, j) + offsetof(struct block_q8_0, qs)));
    set_scale(b, 1, out);
}

ALWAYS_INLINE void unpack_iq4_nl(struct blocks b, struct super *out)
{
    const __m256i levels = _mm256_broadcastsi128_si256(iq4_levels());
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        out->q[j] = _mm256_shuffle_epi8(levels, nibbles(block_at(b, j) + offsetof(struct block_iq4_nl, qs)));
    set_scale(b, 1, out);
}

/* A single column keeps its sums in registers; more columns share one copy of the code. */
#define DOT_BLOCKS(type, kind, n_short, factor)                                                              \
    void dot_avx2_##type(const uint8_t *w, const struct dot_cols *a, float *out)                             \
    {                                                                                                        \
        const struct super_form form = {kind, n_short, factor};                                              \
        if (a->n == 1)                                                                                       \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, form, a, 1, out);                      \
        else                                                                                                 \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, form, a, a->n, out);                   \
    }

DOT_BLOCKS(q4_0, OFFSET_32, BELOW_16, 16)
DOT_BLOCKS(q4_1, MIN_32, BELOW_16, 1)
DOT_BLOCKS(q5_0, OFFSET_32, BELOW_32, 8)
DOT_BLOCKS(q5_1, MIN_32, BELOW_32, 1)
DOT_BLOCKS(q8_0, OFFSET_32, SIGNED, 1)
DOT_BLOCKS(iq4_nl, OFFSET_32, SIGNED, 1)
