/* dot_common.h: private to the kernel files of every instruction set: inlining, unrolling, reading ahead,
 * packed scales. */
#ifndef FERRUM_DOT_COMMON_H
#define FERRUM_DOT_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Before a loop of a few rounds, whose arrays of vectors must become registers at any optimisation level. */
#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* Reads this far ahead of a decode stream; past the end of a map a prefetch does nothing. */
#define PREFETCH_BYTES 4096

ALWAYS_INLINE void prefetch_ahead(const uint8_t *w, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += 64)
        __builtin_prefetch(w + PREFETCH_BYTES + i, 0, 3);
}

ALWAYS_INLINE uint32_t load_u32(const void *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
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

#endif
