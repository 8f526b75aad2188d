/* Types of 32 weights with AVX-512 VNNI: eight blocks in a row act as one of 256 weights (dot_super_512.h).
 * Where a row ends with fewer, the lanes of the others keep their sums. */
#include "kernels_cpu/dot_super_512.h"

typedef void unpack_fn(struct blocks b, struct super *out);

/* Eight blocks, or the first `last + 1` of them, times n columns. */
ALWAYS_INLINE void add_blocks(struct blocks b, unpack_fn *unpack, enum super_kind kind,
                              const struct dot_cols *a, size_t n, size_t at, __m256 *acc)
{
    const __mmask8 present = (__mmask8)((2u << b.last) - 1);
    struct super s;
    unpack(b, &s);
    to_lanes(s.q);
    for (size_t c = 0; c < n; c++) {
        const int8_t *q = a->lanes + c * a->k + QUANT_BLOCK * at;
        __m512i y[4];
        UNROLLED
        for (size_t v = 0; v < 4; v++) {
            __mmask16 both =
                (__mmask16)((present >> 2 * v & 1 ? 0xFF : 0) | (present >> 2 * v & 2 ? 0xFF00 : 0));
            y[v] = _mm512_maskz_loadu_epi32(both, q + 64 * v);
        }
        if (b.last < 7) /* beyond the last 256 the order is the natural one */
            to_lanes(y);
        acc[c] = super_add(acc[c], &s, kind, a, c * (a->k / QUANT_BLOCK) + at, y, present);
    }
}

ALWAYS_INLINE void dot_blocks(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, enum super_kind kind,
                              const struct dot_cols *a, size_t n, float *out)
{
    size_t n_blocks = a->k / QUANT_BLOCK, i = 0;
    __m256 acc[DOT_MAX_COLS];
    for (size_t c = 0; c < n; c++)
        acc[c] = _mm256_setzero_ps();
    for (; i + 8 <= n_blocks; i += 8, w += 8 * block_bytes) {
        prefetch_ahead(w, 8 * block_bytes);
        add_blocks((struct blocks){w, block_bytes, 7}, unpack, kind, a, n, i, acc);
    }
    if (i < n_blocks)
        add_blocks((struct blocks){w, block_bytes, n_blocks - i - 1}, unpack, kind, a, n, i, acc);
    for (size_t c = 0; c < n; c++)
        out[c] = add_lanes(acc[c]);
}

ALWAYS_INLINE void set_scale(struct blocks b, float factor, struct super *out)
{
    out->scale = _mm512_castps256_ps512(_mm256_mul_ps(front_d(b), _mm256_set1_ps(factor)));
}

/* The two f16 in front of each block. */
ALWAYS_INLINE void set_scale_min(struct blocks b, struct super *out)
{
    __m256i x = front_pairs(b);
    out->scale = _mm512_castps256_ps512(_mm256_cvtph_ps(_mm256_cvtepi32_epi16(x)));
    out->min = _mm256_cvtph_ps(_mm256_cvtepi32_epi16(_mm256_srli_epi32(x, 16)));
}

/* The nibbles of blocks 2g and 2g + 1, `at` bytes into each, moved as nibbles_64 does. */
ALWAYS_INLINE __m512i nibbles(struct blocks b, size_t g, size_t at, int low, int high, int mask)
{
    __m128i first = _mm_loadu_si128((const void *)(block_at(b, 2 * g) + at));
    __m128i second = _mm_loadu_si128((const void *)(block_at(b, 2 * g + 1) + at));
    return nibbles_64(_mm256_set_m128i(second, first), low, high, mask);
}

/* q with `bit` added where the 32 bits at `at` of blocks 2g and 2g + 1 are set. */
ALWAYS_INLINE __m512i add_fifth_bits(struct blocks b, size_t g, size_t at, __m512i q, int bit)
{
    __mmask64 set = load_u32(block_at(b, 2 * g) + at) | (__mmask64)load_u32(block_at(b, 2 * g + 1) + at)
                                                            << 32;
    return _mm512_mask_add_epi8(q, set, q, _mm512_set1_epi8((char)bit));
}

/* 16 times q, a sixteenth of d: the offset 8 is 128. */
ALWAYS_INLINE void unpack_q4_0(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t g = 0; g < 4; g++)
        out->q[g] = nibbles(b, g, offsetof(struct block_q4_0, qs), 4, 0, 0xF0);
    set_scale(b, 1.0f / 16, out);
}

ALWAYS_INLINE void unpack_q4_1(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t g = 0; g < 4; g++)
        out->q[g] = nibbles(b, g, offsetof(struct block_q4_1, qs), 0, 60, 15);
    set_scale_min(b, out);
}

/* Eight times q, an eighth of d: the offset 16 is 128. */
ALWAYS_INLINE void unpack_q5_0(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t g = 0; g < 4; g++)
        out->q[g] = add_fifth_bits(b, g, offsetof(struct block_q5_0, qh),
                                   nibbles(b, g, offsetof(struct block_q5_0, qs), 3, 63, 0x78), 128);
    set_scale(b, 1.0f / 8, out);
}

ALWAYS_INLINE void unpack_q5_1(struct blocks b, struct super *out)
{
    UNROLLED
    for (size_t g = 0; g < 4; g++)
        out->q[g] = add_fifth_bits(b, g, offsetof(struct block_q5_1, qh),
                                   nibbles(b, g, offsetof(struct block_q5_1, qs), 0, 60, 15), 16);
    set_scale_min(b, out);
}

ALWAYS_INLINE void unpack_q8_0(struct blocks b, struct super *out)
{
    const __m512i offset = _mm512_set1_epi8((char)0x80);
    UNROLLED
    for (size_t g = 0; g < 4; g++) {
        __m256i first = _mm256_loadu_si256((const void *)(block_at(b, 2 * g) + 2));
        __m256i second = _mm256_loadu_si256((const void *)(block_at(b, 2 * g + 1) + 2));
        out->q[g] = _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1), offset);
    }
    set_scale(b, 1, out);
}

ALWAYS_INLINE void unpack_iq4_nl(struct blocks b, struct super *out)
{
    const __m512i levels = /* plus 128 */
        _mm512_xor_si512(_mm512_broadcast_i32x4(iq4_levels()), _mm512_set1_epi8((char)0x80));
    UNROLLED
    for (size_t g = 0; g < 4; g++)
        out->q[g] = _mm512_shuffle_epi8(levels, nibbles(b, g, offsetof(struct block_iq4_nl, qs), 0, 60, 15));
    set_scale(b, 1, out);
}

/* A single column keeps its sums in registers; more columns share one copy of the code. */
#define DOT_BLOCKS(type, kind)                                                                               \
    void dot_avx512_##type(const uint8_t *w, const struct dot_cols *a, float *out)                           \
    {                                                                                                        \
        if (a->n == 1)                                                                                       \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, kind, a, 1, out);                      \
        else                                                                                                 \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, kind, a, a->n, out);                   \
    }

DOT_BLOCKS(q4_0, OFFSET_32)
DOT_BLOCKS(q4_1, MIN_32)
DOT_BLOCKS(q5_0, OFFSET_32)
DOT_BLOCKS(q5_1, MIN_32)
DOT_BLOCKS(q8_0, OFFSET_32)
DOT_BLOCKS(iq4_nl, OFFSET_32)
