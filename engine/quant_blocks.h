/* quant_blocks.h: the bit layout of every quantised block, as it lies in a GGUF file.
 *
 * Little-endian, packed (alignment 1): a pointer into the file map may be cast to these. d, m and dmin are
 * f16 bits (half.h). What the bits mean is defined by dtype_to_f32 (dtype.c), which is the reference. Source
 * of the formats: ggml (ggml-common.h, MIT), described in its own words by docs/gguf.md and the k-quants and
 * i-quants pull requests. Plain data, any thread. */
#ifndef FERRUM_QUANT_BLOCKS_H
#define FERRUM_QUANT_BLOCKS_H

#include <stdint.h>

#define QUANT_BLOCK 32  /* weights of a legacy or IQ4_NL block */
#define QUANT_SUPER 256 /* weights of a k-quant or IQ4_XS block */

#define QUANT_PACKED __attribute__((packed))

/* Blocks of 32: byte i of qs holds weight i in its low nibble, weight i + 16 in its high one. */
struct QUANT_PACKED block_q4_0 { /* d * (q - 8) */
    uint16_t d;
    uint8_t qs[16];
};

struct QUANT_PACKED block_q4_1 { /* d * q + m */
    uint16_t d, m;
    uint8_t qs[16];
};

struct QUANT_PACKED block_q5_0 { /* d * (q - 16); bit i of qh is bit 4 of weight i */
    uint16_t d;
    uint32_t qh;
    uint8_t qs[16];
};

struct QUANT_PACKED block_q5_1 { /* d * q + m */
    uint16_t d, m;
    uint32_t qh;
    uint8_t qs[16];
};

struct QUANT_PACKED block_q8_0 { /* d * q */
    uint16_t d;
    int8_t qs[32];
};

struct QUANT_PACKED block_iq4_nl { /* d * quant_iq4_values[q] */
    uint16_t d;
    uint8_t qs[16];
};

/* Blocks of 256. 2-bit parts (Q2_K, Q3_K): half h (128 weights) uses bytes 32h..32h+31; byte l carries, two
 * bits each, weights l, l + 32, l + 64, l + 96 of the half. Sub-blocks of 16, in order. */
struct QUANT_PACKED block_q2_k { /* d * (s & 15) * q - dmin * (s >> 4), s = scales[sub-block] */
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
};

struct QUANT_PACKED
    block_q3_k { /* d * (s - 32) * (q - 4); q's bit 2 of weight w is bit w / 32 of hmask[w % 32] */
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t
        scales[12]; /* 16 of 6 bits: s[j] = nibble j/8 of byte j % 8, top bits: pair j/4 of byte 8 + j % 4 */
    uint16_t d;
};

/* Group g of 32 bytes of qs: low nibbles are weights 64g.., high ones 64g + 32..; sub-blocks of 32. */
struct QUANT_PACKED block_q4_k { /* d * s * q - dmin * m */
    uint16_t d, dmin;
    uint8_t scales[12]; /* 8 pairs (s, m) of 6 bits, see quant_scale_min */
    uint8_t qs[128];
};

struct QUANT_PACKED block_q5_k { /* as Q4_K; bit j of qh[l] is bit 4 of weight l of sub-block j */
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};

struct QUANT_PACKED block_q6_k { /* d * scales[sub-block of 16] * (q - 32) */
    uint8_t ql[128]; /* half h, l < 32: byte 64h + l: weights l, l + 64; byte 64h + 32 + l: weights l + 32, l
                        + 96 */
    uint8_t qh[64];  /* byte 32h + l: the two top bits of weights l, l + 32, l + 64, l + 96 */
    int8_t scales[16];
    uint16_t d;
};

struct QUANT_PACKED
    block_iq4_xs { /* d * (s - 32) * quant_iq4_values[q]; sub-blocks of 32, each packed as IQ4_NL */
    uint16_t d;
    uint16_t scales_h;   /* bits 2j, 2j + 1: top bits of s[j] */
    uint8_t scales_l[4]; /* nibble j: low bits of s[j] */
    uint8_t qs[128];
};

_Static_assert(sizeof(struct block_q4_0) == 18, "block_q4_0");
_Static_assert(sizeof(struct block_q4_1) == 20, "block_q4_1");
_Static_assert(sizeof(struct block_q5_0) == 22, "block_q5_0");
_Static_assert(sizeof(struct block_q5_1) == 24, "block_q5_1");
_Static_assert(sizeof(struct block_q8_0) == 34, "block_q8_0");
_Static_assert(sizeof(struct block_iq4_nl) == 18, "block_iq4_nl");
_Static_assert(sizeof(struct block_q2_k) == 84, "block_q2_k");
_Static_assert(sizeof(struct block_q3_k) == 110, "block_q3_k");
_Static_assert(sizeof(struct block_q4_k) == 144, "block_q4_k");
_Static_assert(sizeof(struct block_q5_k) == 176, "block_q5_k");
_Static_assert(sizeof(struct block_q6_k) == 210, "block_q6_k");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "block_iq4_xs");

/* The levels a 4-bit index means in IQ4_NL and IQ4_XS. */
static const int8_t quant_iq4_values[16]
    __attribute__((unused)) = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* Scale and min of sub-block j (0 to 7) of a Q4_K or Q5_K block. */
static inline void quant_scale_min(const uint8_t scales[12], int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = scales[j] & 63;
        *min = scales[j + 4] & 63;
    } else {
        *scale = (scales[j + 4] & 15) | (scales[j - 4] >> 6) << 4;
        *min = scales[j + 4] >> 4 | (scales[j] >> 6) << 4;
    }
}

/* Scale of sub-block j (0 to 15) of a Q3_K block, -32 to 31. */
static inline int quant_scale_q3_k(const uint8_t scales[12], int j)
{
    int low = scales[j % 8] >> 4 * (j / 8) & 15;
    int high = scales[8 + j % 4] >> 2 * (j / 4) & 3;
    return (low | high << 4) - 32;
}

/* Scale of sub-block j (0 to 7) of an IQ4_XS block, -32 to 31. */
static inline int quant_scale_iq4_xs(const struct block_iq4_xs *b, int j)
{
    int low = b->scales_l[j / 2] >> 4 * (j % 2) & 15;
    int high = b->scales_h >> 2 * j & 3;
    return (low | high << 4) - 32;
}

#endif
