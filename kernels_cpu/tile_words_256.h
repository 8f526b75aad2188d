/* tile_words_256.h: private to the AVX2 files of tiles: how weights lie for vpmaddubsw and vpmaddwd.
 *
 * Unsigned weights lie as they are, all below 64 (dot_super_avx2.h). Signed bytes would need an operation
 * more per product to get their signs to the other side: they lie as words, for vpmaddwd. */
#ifndef FERRUM_TILE_WORDS_256_H
#define FERRUM_TILE_WORDS_256_H

#include "kernels_cpu/tile_256.h"

/* vpmaddwd multiplies by the factors that AVX-512 multiplies weights by. */
#define UPPER_BITS(n) 0
#define N_DWORDS 8
#define N_DWORDS_SIGNED 16

/* Four signed bytes a row, as two dwords of two words each. */
ALWAYS_INLINE void put_signed(const struct records *to, size_t j, size_t dword, vec_int q)
{
    const __m256i low =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13));
    const __m256i high = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15));
    put_dword(to, j, 2 * dword, _mm256_srai_epi16(_mm256_shuffle_epi8(q, low), 8));
    put_dword(to, j, 2 * dword + 1, _mm256_srai_epi16(_mm256_shuffle_epi8(q, high), 8));
}

/* One for each way in which types are multiplied (struct super_form). */
tile_multiply_fn tile_avx2_offset_below_16, tile_avx2_offset_below_32, tile_avx2_offset_signed,
    tile_avx2_min_below_16, tile_avx2_min_below_32, tile_avx2_offset_16_below_8, tile_avx2_offset_16_below_64,
    tile_avx2_min_16_below_4;

#endif
