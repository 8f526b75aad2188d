/* The quantiser with AVX-512, 16 blocks of 32 at a time; bit for bit that of act_quant.c. A lane is a block
 * where scales are made; vectors are brought to lanes by trees whose every step halves the number of vectors.
 */
#include "kernels_cpu/act_quant.h"

#include <stdbool.h>

#include "kernels_cpu/dot_x86_512.h"

#define N_BLOCKS 16
#define WIDTH (N_BLOCKS * QUANT_BLOCK)

typedef __m512i merge_fn(__m512i a, __m512i b);

ALWAYS_INLINE __m512i largest(__m512i a, __m512i b)
{
    return _mm512_max_epi32(a, b);
}

ALWAYS_INLINE __m512i sum(__m512i a, __m512i b)
{
    return _mm512_add_epi32(a, b);
}

/* Of every 128 bits of four vectors the four lanes merged: in lane v of 128 bits number l, those of x[v]. */
ALWAYS_INLINE __m512i merge_quarters(const __m512i x[4], merge_fn *merge)
{
    __m512i a = merge(_mm512_unpacklo_epi64(x[0], x[1]), _mm512_unpackhi_epi64(x[0], x[1]));
    __m512i b = merge(_mm512_unpacklo_epi64(x[2], x[3]), _mm512_unpackhi_epi64(x[2], x[3]));
    __m512 low = _mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88);
    __m512 high = _mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xDD);
    return merge(_mm512_castps_si512(low), _mm512_castps_si512(high));
}

/* The largest magnitude of each block, as the bits of a float: NaN sorts above everything there. */
ALWAYS_INLINE __m512i magnitudes(const float *x)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    __m512i of_four[4];
    UNROLLED
    for (size_t v = 0; v < 4; v++) { /* blocks v, v + 4, v + 8, v + 12 */
        __m512i m[4];
        UNROLLED
        for (size_t l = 0; l < 4; l++) {
            const float *block = x + QUANT_BLOCK * (v + 4 * l);
            __m512i low = _mm512_and_si512(_mm512_loadu_si512(block), magnitude);
            __m512i high = _mm512_and_si512(_mm512_loadu_si512(block + 16), magnitude);
            m[l] = largest(low, high);
        }
        __m512i a = largest(_mm512_shuffle_i64x2(m[0], m[1], 0x44), _mm512_shuffle_i64x2(m[0], m[1], 0xEE));
        __m512i b = largest(_mm512_shuffle_i64x2(m[2], m[3], 0x44), _mm512_shuffle_i64x2(m[2], m[3], 0xEE));
        of_four[v] = largest(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xDD));
    }
    return merge_quarters(of_four, largest);
}

/* Two blocks to bytes. */
ALWAYS_INLINE __m512i round_64(const float *x, __m512 inverse, __m512 next_inverse)
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512i v[4];
    UNROLLED
    for (size_t i = 0; i < 4; i++)
        v[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), i < 2 ? inverse : next_inverse));
    __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
    return _mm512_permutexvar_epi32(order, packed);
}

/* 16 sums of 16 bytes, in order; four[v]: sums of four bytes of 64. */
ALWAYS_INLINE __m512i sums_of_16(const __m512i four[4])
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    return _mm512_permutexvar_epi32(order, merge_quarters(four, sum));
}

ALWAYS_INLINE void put_sums(const __m512i four[8], __m512 d, float *s, int16_t *sums)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512i low = sums_of_16(four), high = sums_of_16(four + 4);
    _mm256_storeu_si256((void *)sums, _mm512_cvtepi32_epi16(low));
    _mm256_storeu_si256((void *)(sums + 16), _mm512_cvtepi32_epi16(high));
    __m512i of_32 = _mm512_add_epi32(_mm512_permutex2var_epi32(low, even, high),
                                     _mm512_permutex2var_epi32(low, odd, high));
    _mm512_storeu_ps(s, _mm512_mul_ps(d, _mm512_cvtepi32_ps(of_32)));
}

/* Are all values numbers? If not, nothing is written. */
ALWAYS_INLINE bool quantise(const float *x, int8_t *q, float *d, float *s, int16_t *sums)
{
    __m512i bits = magnitudes(x);
    if (_mm512_cmpge_epi32_mask(bits, _mm512_set1_epi32(0x7F800000)))
        return false;
    __m512 amax = _mm512_castsi512_ps(bits), most = _mm512_set1_ps(127.0f);
    __mmask16 some = _mm512_cmp_ps_mask(amax, _mm512_set1_ps(ACT_TINY), _CMP_GE_OQ);
    __m512 scale = _mm512_maskz_div_ps(some, amax, most);
    float inverse[N_BLOCKS];
    _mm512_storeu_ps(inverse, _mm512_maskz_div_ps(some, most, amax));
    _mm512_storeu_ps(d, scale);
    __m512i four[N_BLOCKS / 2];
    UNROLLED
    for (size_t i = 0; i < N_BLOCKS / 2; i++) {
        __m512i bytes =
            round_64(x + 64 * i, _mm512_set1_ps(inverse[2 * i]), _mm512_set1_ps(inverse[2 * i + 1]));
        _mm512_storeu_si512(q + 64 * i, bytes);
        four[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), bytes);
    }
    put_sums(four, scale, s, sums);
    return true;
}

void act_quant_avx512(const float *x, size_t k, int8_t *q, float *d, float *s, int16_t *sums)
{
    for (; k; x += WIDTH, q += WIDTH, d += N_BLOCKS, s += N_BLOCKS, sums += 2 * N_BLOCKS) {
        size_t n = k < WIDTH ? k : WIDTH;
        if (n < WIDTH || !quantise(x, q, d, s, sums))
            act_quant_avx2(x, n, q, d, s, sums);
        k -= n;
    }
}
