/* dot_x86.h: private to the x86 kernel files (AVX2 and wider): scales of the 256-weight types, f16
 * broadcasts.
 *
 * All super-blocks are brought to one form: weight i = d * scale[i / 16] * q[i] - dmin * min[i / 16], 16
 * scales and 16 mins as int16 in natural order. A constant offset of q is a min: d * s * (q - 32) has min 32
 * * s and dmin d. */
#ifndef FERRUM_DOT_X86_H
#define FERRUM_DOT_X86_H

#include <immintrin.h>
#include <string.h>

#include "engine/quant_blocks.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Before a loop of a few rounds, whose arrays of vectors must become registers at any optimisation level. */
#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* Reads this far ahead of a decode stream; past the end of a map a prefetch does nothing. */
#define PREFETCH_BYTES 4096

struct scales16 {
    __m256i scale, min;
};

ALWAYS_INLINE void prefetch_ahead(const uint8_t *w, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += 64)
        _mm_prefetch((const char *)w + PREFETCH_BYTES + i, _MM_HINT_T0);
}

ALWAYS_INLINE uint32_t load_u32(const void *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

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

/* Eight bytes to 16 int16, each twice: sub-blocks of 32 as pairs of 16. */
ALWAYS_INLINE __m256i twice_u8(uint64_t bytes)
{
    __m128i x = _mm_cvtsi64_si128((long long)bytes);
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x, x));
}

/* Eight scales and eight mins of a byte each. */
struct bytes8 {
    uint64_t scale, min;
};

/* Q4_K and Q5_K: six-bit pairs; four bytes at a time in a general register. */
ALWAYS_INLINE struct bytes8 bytes_q4_k(const uint8_t scales[12])
{
    uint32_t a = load_u32(scales), b = load_u32(scales + 4), c = load_u32(scales + 8);
    uint32_t scale_high = (c & 0x0F0F0F0Fu) | (a >> 2 & 0x30303030u);
    uint32_t min_high = (c >> 4 & 0x0F0F0F0Fu) | (b >> 2 & 0x30303030u);
    return (struct bytes8){(a & 0x3F3F3F3Fu) | (uint64_t)scale_high << 32,
                           (b & 0x3F3F3F3Fu) | (uint64_t)min_high << 32};
}

ALWAYS_INLINE struct scales16 scales_q4_k(const uint8_t scales[12])
{
    struct bytes8 b = bytes_q4_k(scales);
    return (struct scales16){twice_u8(b.scale), twice_u8(b.min)};
}

/* Where both halves of 32 weights have one min: the eight of them times dmin. */
ALWAYS_INLINE __m256 mins_per_32(__m256i mins, __m256 dmin)
{
    return _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(_mm256_madd_epi16(mins, _mm256_set1_epi32(1))));
}

ALWAYS_INLINE struct scales16 scales_q2_k(const uint8_t scales[16])
{
    __m128i x = _mm_loadu_si128((const void *)scales), nibble = _mm_set1_epi8(15);
    return (struct scales16){_mm256_cvtepu8_epi16(_mm_and_si128(x, nibble)),
                             _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(x, 4), nibble))};
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

/* q is 0..7 here, so the offset 4 becomes a min. */
ALWAYS_INLINE struct scales16 scales_q3_k(const uint8_t scales[12])
{
    __m256i scale = _mm256_cvtepi8_epi16(bytes_q3_k(scales));
    return (struct scales16){scale, _mm256_slli_epi16(scale, 2)};
}

/* q is 0..63 here, so the offset 32 becomes a min. */
ALWAYS_INLINE struct scales16 scales_q6_k(const int8_t scales[16])
{
    __m256i scale = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)scales));
    return (struct scales16){scale, _mm256_slli_epi16(scale, 5)};
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

/* Mins are those of levels stored with an offset of 128. */
ALWAYS_INLINE struct scales16 scales_iq4_xs(const struct block_iq4_xs *b)
{
    __m128i s = words_iq4_xs(b);
    __m256i scale = _mm256_set_m128i(_mm_unpackhi_epi16(s, s), _mm_unpacklo_epi16(s, s));
    return (struct scales16){scale, _mm256_slli_epi16(scale, 7)};
}

ALWAYS_INLINE __m128i iq4_levels(void)
{
    return _mm_loadu_si128((const void *)quant_iq4_values);
}

#endif
