/* Types of 32 weights with AVX2. The weights are brought to signed bytes; vpmaddubsw gets their magnitude and
 * the activations with their sign: at most 128 * 127 * 2 = 32512 per int16. */
#include "kernels_cpu/dot_avx2.h"

#include "kernels_cpu/dot_x86.h"

/* A block: weight i is d * q[i] + m. */
struct block32 {
    __m256i q;
    uint16_t d, m;
};

typedef void unpack_fn(const uint8_t *w, struct block32 *out);

ALWAYS_INLINE __m256 products(__m256i q, const int8_t *y_at)
{
    __m256i y = _mm256_loadu_si256((const void *)y_at);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(y, q));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* m * s in lane 0. */
ALWAYS_INLINE __m256 add_min(__m256 acc, uint16_t m, const float *s)
{
    return _mm256_fmadd_ps(f16_broadcast(m), _mm256_zextps128_ps256(_mm_load_ss(s)), acc);
}

/* Block i of the row times n columns, into one of the two sums of each. */
ALWAYS_INLINE void add_block(const uint8_t *w, unpack_fn *unpack, bool has_min, const struct dot_cols *a,
                             size_t n, size_t i, __m256 *acc)
{
    struct block32 b;
    unpack(w, &b);
    __m256 d = f16_broadcast(b.d);
    for (size_t c = 0; c < n; c++) {
        size_t at = c * (a->k / QUANT_BLOCK) + i;
        __m256 scale = _mm256_mul_ps(d, _mm256_broadcast_ss(a->d + at));
        acc[c] = _mm256_fmadd_ps(products(b.q, a->q + QUANT_BLOCK * at), scale, acc[c]);
        if (has_min)
            acc[c] = add_min(acc[c], b.m, a->s + at);
    }
}

/* Even and odd blocks are summed apart: one chain of additions would be slower than memory. */
ALWAYS_INLINE void dot_blocks(const uint8_t *w, size_t block_bytes, unpack_fn *unpack, bool has_min,
                              const struct dot_cols *a, size_t n, float *out)
{
    size_t n_blocks = a->k / QUANT_BLOCK, i = 0;
    __m256 even[DOT_MAX_COLS], odd[DOT_MAX_COLS];
    for (size_t c = 0; c < n; c++)
        even[c] = odd[c] = _mm256_setzero_ps();
    for (; i + 2 <= n_blocks; i += 2, w += 2 * block_bytes) {
        prefetch_ahead(w, 2 * block_bytes);
        add_block(w, unpack, has_min, a, n, i, even);
        add_block(w + block_bytes, unpack, has_min, a, n, i + 1, odd);
    }
    if (i < n_blocks)
        add_block(w, unpack, has_min, a, n, i, even);
    for (size_t c = 0; c < n; c++)
        out[c] = add_lanes(_mm256_add_ps(even[c], odd[c]));
}

/* 16 bytes of nibbles to 32 bytes in natural order. */
ALWAYS_INLINE __m256i nibbles(const uint8_t qs[16])
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

ALWAYS_INLINE void unpack_q4_0(const uint8_t *w, struct block32 *out)
{
    const struct block_q4_0 *b = (const void *)w;
    out->q = _mm256_sub_epi8(nibbles(b->qs), _mm256_set1_epi8(8));
    out->d = b->d;
}

ALWAYS_INLINE void unpack_q4_1(const uint8_t *w, struct block32 *out)
{
    const struct block_q4_1 *b = (const void *)w;
    out->q = nibbles(b->qs);
    out->d = b->d;
    out->m = b->m;
}

ALWAYS_INLINE void unpack_q5_0(const uint8_t *w, struct block32 *out)
{
    const struct block_q5_0 *b = (const void *)w;
    out->q = _mm256_sub_epi8(_mm256_or_si256(nibbles(b->qs), fifth_bits(b->qh)), _mm256_set1_epi8(16));
    out->d = b->d;
}

ALWAYS_INLINE void unpack_q5_1(const uint8_t *w, struct block32 *out)
{
    const struct block_q5_1 *b = (const void *)w;
    out->q = _mm256_or_si256(nibbles(b->qs), fifth_bits(b->qh));
    out->d = b->d;
    out->m = b->m;
}

ALWAYS_INLINE void unpack_q8_0(const uint8_t *w, struct block32 *out)
{
    const struct block_q8_0 *b = (const void *)w;
    out->q = _mm256_loadu_si256((const void *)b->qs);
    out->d = b->d;
}

ALWAYS_INLINE void unpack_iq4_nl(const uint8_t *w, struct block32 *out)
{
    const struct block_iq4_nl *b = (const void *)w;
    out->q = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(iq4_levels()), nibbles(b->qs));
    out->d = b->d;
}

/* A single column keeps its sums in registers; more columns share one copy of the code. */
#define DOT_BLOCKS(type, has_min)                                                                            \
    void dot_avx2_##type(const uint8_t *w, const struct dot_cols *a, float *out)                             \
    {                                                                                                        \
        if (a->n == 1)                                                                                       \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, has_min, a, 1, out);                   \
        else                                                                                                 \
            dot_blocks(w, sizeof(struct block_##type), unpack_##type, has_min, a, a->n, out);                \
    }

DOT_BLOCKS(q4_0, false)
DOT_BLOCKS(q4_1, true)
DOT_BLOCKS(q5_0, false)
DOT_BLOCKS(q5_1, true)
DOT_BLOCKS(q8_0, false)
DOT_BLOCKS(iq4_nl, false)
