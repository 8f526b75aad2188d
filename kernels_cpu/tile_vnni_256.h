/* tile_vnni_256.h: private to the AVX-VNNI files of tiles: how weights lie for vpdpbusd, which takes any
 * unsigned byte: their offset is 128 per 32 or 32 per 16, as with AVX-512. */
#ifndef FERRUM_TILE_VNNI_256_H
#define FERRUM_TILE_VNNI_256_H

#include "kernels_cpu/tile_256.h"

#define UPPER_BITS(n) (n)
#define N_DWORDS 8

/* Four signed bytes a row. */
ALWAYS_INLINE void put_signed(const struct records *to, size_t j, size_t dword, vec_int q)
{
    put_dword(to, j, dword, _mm256_xor_si256(q, _mm256_set1_epi8((char)0x80)));
}

tile_multiply_fn tile_avxvnni_offset_32, tile_avxvnni_min_32, tile_avxvnni_offset_16, tile_avxvnni_min_16;

#endif
