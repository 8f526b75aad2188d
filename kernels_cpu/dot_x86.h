/* dot_x86.h: private to the x86 kernel files (AVX2 and wider): the scales of the types, and how products of
 * integers become sums of floats.
 *
 * The dot kernel of a quantised type keeps eight running sums, one for each place of a block of 32 within 256
 * weights, in the lanes of a vector; one tree adds them at the end (add_lanes). Per block the products are
 * added as integers, exact in any order; they start as the bits of DOT_MAGIC, less what was added to the
 * weights to make them unsigned, so that one multiply-add makes sum * scale of them, another one adds that
 * times the column's d. AVX2 and AVX-512 do the same operations on floats in the same order, and so do their
 * tiles: one row has the same bits with all of them. */
#ifndef FERRUM_DOT_X86_H
#define FERRUM_DOT_X86_H

#include <immintrin.h>

#include "engine/quant_blocks.h"
#include "kernels_cpu/dot_common.h"

/* What differs between the types in the arithmetic: a scale per 32 or 16 weights, an offset or mins. */
enum super_kind { OFFSET_32, MIN_32, OFFSET_16, MIN_16 };

ALWAYS_INLINE __m256 f16_broadcast(uint16_t h)
{
    return _mm256_cvtph_ps(_mm_set1_epi16((short)h));
}

ALWAYS_INLINE float add_lanes(__m256 x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Eight scales of a byte, times d. */
ALWAYS_INLINE __m256 times_bytes(__m256 d, uint64_t bytes)
{
    return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes))));
}

/* Low nibbles are scales, high ones mins: 16 of them as int16. */
ALWAYS_INLINE __m256i mins_q2_k(const uint8_t scales[16])
{
    __m128i x = _mm_srli_epi16(_mm_loadu_si128((const void *)scales), 4);
    return _mm256_cvtepu8_epi16(_mm_and_si128(x, _mm_set1_epi8(15)));
}

/* 16 scales as bytes. */
ALWAYS_INLINE __m128i bytes_q3_k(const uint8_t scales[12])
{
    __m128i x = _mm_loadl_epi64((const void *)scales);
    __m128i low = _mm_and_si128(_mm_unpacklo_epi64(x, _mm_srli_epi16(x, 4)), _mm_set1_epi8(15));
    __m128i high = _mm_srlv_epi32(_mm_set1_epi32((int)load_u32(scales + 8)), _mm_setr_epi32(0, 2, 4, 6));
    high = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
    return _mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32));
}

/* Eight scales as int16. */
ALWAYS_INLINE __m128i words_iq4_xs(const struct block_iq4_xs *b)
{
    __m128i x = _mm_cvtsi32_si128((int)load_u32(b->scales_l)), nibble = _mm_set1_epi8(15);
    __m128i low = _mm_unpacklo_epi8(_mm_and_si128(x, nibble), _mm_and_si128(_mm_srli_epi16(x, 4), nibble));
    /* The pair of bits of sub-block j moves to the top of lane j. */
    __m128i to_top = _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1);
    __m128i high = _mm_srli_epi16(_mm_mullo_epi16(_mm_set1_epi16((short)b->scales_h), to_top), 14);
    __m128i s = _mm_or_si128(_mm_cvtepu8_epi16(low), _mm_slli_epi16(high, 4));
    return _mm_sub_epi16(s, _mm_set1_epi16(32));
}

/* The bytes of eight blocks of 32; those after `last` are block `last` again. */
struct blocks {
    const uint8_t *w;
    size_t bytes, last;
};

ALWAYS_INLINE const uint8_t *block_at(struct blocks b, size_t i)
{
    return b.w + (i < b.last ? i : b.last) * b.bytes;
}

ALWAYS_INLINE uint64_t load_u16(const uint8_t *p)
{
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* The f16 in front of each block; in general registers, whose ports the vectors leave free. */
ALWAYS_INLINE __m256 front_d(struct blocks b)
{
    uint64_t low = load_u16(block_at(b, 0)) | load_u16(block_at(b, 1)) << 16 |
                   load_u16(block_at(b, 2)) << 32 | load_u16(block_at(b, 3)) << 48;
    uint64_t high = load_u16(block_at(b, 4)) | load_u16(block_at(b, 5)) << 16 |
                    load_u16(block_at(b, 6)) << 32 | load_u16(block_at(b, 7)) << 48;
    return _mm256_cvtph_ps(_mm_set_epi64x((long long)high, (long long)low));
}

/* The four bytes in front of each block: d and m. */
ALWAYS_INLINE __m256i front_pairs(struct blocks b)
{
    long long pairs[4];
    UNROLLED
    for (size_t i = 0; i < 4; i++)
        pairs[i] =
            (long long)(load_u32(block_at(b, 2 * i)) | (uint64_t)load_u32(block_at(b, 2 * i + 1)) << 32);
    return _mm256_setr_epi64x(pairs[0], pairs[1], pairs[2], pairs[3]);
}

ALWAYS_INLINE __m128i iq4_levels(void)
{
    return _mm_loadu_si128((const void *)quant_iq4_values);
}

#endif
