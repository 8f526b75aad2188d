/* dot_neon_legacy_body.h: types of 32 weights; part of dot_neon_body.h. */
#ifndef FERRUM_DOT_NEON_LEGACY_BODY_H
#define FERRUM_DOT_NEON_LEGACY_BODY_H

#define GROUP 4 /* blocks whose sums fill a vector */

/* Weight i of block j is d[j] * q[j][i] + m[j]. */
struct group {
    int8x16_t q[GROUP][2];
    float32x4_t d, m;
};

/* A block to signed bytes. */
typedef void unpack_block_fn(const uint8_t *w, int8x16_t q[2]);

struct block_type {
    unpack_block_fn *unpack;
    size_t bytes;
    bool has_min;
};

/* The same f16 of each block of a group. */
ALWAYS_INLINE float32x4_t load_scales(const uint8_t *w, size_t block_bytes)
{
    uint16_t h[GROUP];
    for (size_t j = 0; j < GROUP; j++)
        memcpy(h + j, w + j * block_bytes, sizeof *h);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

/* Every block begins with its d, and m if it has one. */
ALWAYS_INLINE void unpack_group(const uint8_t *w, struct block_type type, struct group *out)
{
    UNROLLED
    for (size_t j = 0; j < GROUP; j++)
        type.unpack(w + j * type.bytes, out->q[j]);
    out->d = load_scales(w, type.bytes);
    if (type.has_min)
        out->m = load_scales(w + sizeof(uint16_t), type.bytes);
}

/* A group times as much of a column: y [128], dy and s [4]. */
ALWAYS_INLINE float32x4_t add_group(float32x4_t acc, const struct group *g, bool has_min, const int8_t *y,
                                    const float *dy, const float *s)
{
    int32x4_t sums[GROUP];
    UNROLLED
    for (size_t j = 0; j < GROUP; j++) {
        int8x16_t y_32[2];
        load_32(y + QUANT_BLOCK * j, y_32);
        sums[j] = products_32(g->q[j], y_32);
    }
    acc = vfmaq_f32(acc, vcvtq_f32_s32(sum_each(sums)), vmulq_f32(g->d, vld1q_f32(dy)));
    return has_min ? vfmaq_f32(acc, g->m, vld1q_f32(s)) : acc;
}

/* Blocks i .. i + 4 of the row, at w, times n columns. */
ALWAYS_INLINE void add_blocks(const uint8_t *w, struct block_type type, const struct dot_cols *a, size_t n,
                              size_t i, float32x4_t *acc)
{
    struct group g;
    prefetch_ahead(w, GROUP * type.bytes);
    unpack_group(w, type, &g);
    for (size_t c = 0; c < n; c++) {
        size_t at = c * (a->k / QUANT_BLOCK) + i;
        acc[c] = add_group(acc[c], &g, type.has_min, a->q + QUANT_BLOCK * at, a->d + at, a->s + at);
    }
}

/* The same for fewer than a group: with zeros behind them. */
ALWAYS_INLINE void add_rest(const uint8_t *w, struct block_type type, const struct dot_cols *a, size_t n,
                            size_t i, float32x4_t *acc)
{
    size_t n_rest = a->k / QUANT_BLOCK - i;
    uint8_t blocks[GROUP * sizeof(struct block_q8_0)] = {0};
    struct group g;
    memcpy(blocks, w, n_rest * type.bytes);
    unpack_group(blocks, type, &g);
    for (size_t c = 0; c < n; c++) {
        size_t at = c * (a->k / QUANT_BLOCK) + i;
        int8_t y[GROUP * QUANT_BLOCK] = {0};
        float dy[GROUP] = {0}, s[GROUP] = {0};
        memcpy(y, a->q + QUANT_BLOCK * at, QUANT_BLOCK * n_rest);
        memcpy(dy, a->d + at, n_rest * sizeof *dy);
        memcpy(s, a->s + at, n_rest * sizeof *s);
        acc[c] = add_group(acc[c], &g, type.has_min, y, dy, s);
    }
}

ALWAYS_INLINE void dot_blocks(const uint8_t *w, struct block_type type, const struct dot_cols *a, size_t n,
                              float *out)
{
    size_t n_blocks = a->k / QUANT_BLOCK, i = 0;
    float32x4_t even[DOT_MAX_COLS], odd[DOT_MAX_COLS], rest[DOT_MAX_COLS];
    for (size_t c = 0; c < n; c++)
        even[c] = odd[c] = rest[c] = vdupq_n_f32(0);
    for (; i + 2 * GROUP <= n_blocks; i += 2 * GROUP) {
        add_blocks(w + i * type.bytes, type, a, n, i, even);
        add_blocks(w + (i + GROUP) * type.bytes, type, a, n, i + GROUP, odd);
    }
    if (i + GROUP <= n_blocks) {
        add_blocks(w + i * type.bytes, type, a, n, i, even);
        i += GROUP;
    }
    if (i < n_blocks)
        add_rest(w + i * type.bytes, type, a, n, i, rest);
    for (size_t c = 0; c < n; c++)
        out[c] = vaddvq_f32(vaddq_f32(vaddq_f32(even[c], odd[c]), rest[c]));
}

/* 16 bytes of nibbles, in natural order. */
ALWAYS_INLINE void nibbles(const uint8_t qs[16], uint8x16_t out[2])
{
    uint8x16_t x = vld1q_u8(qs);
    out[0] = bits(x, 0, 15);
    out[1] = bits(x, 4, 15);
}

/* Bit i of h to byte i: 16 where it is set, else 0. */
ALWAYS_INLINE void fifth_bits(uint32_t h, uint8x16_t out[2])
{
    const uint8x16_t byte_of = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint8x16_t bit_of = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t x = vreinterpretq_u8_u32(vdupq_n_u32(h));
    for (size_t i = 0; i < 2; i++) {
        uint8x16_t bytes = vqtbl1q_u8(x, vaddq_u8(byte_of, vdupq_n_u8((uint8_t)(2 * i))));
        out[i] = vandq_u8(vtstq_u8(bytes, bit_of), vdupq_n_u8(16));
    }
}

ALWAYS_INLINE void unpack_5_bits(const uint8_t qs[16], uint32_t qh, int offset, int8x16_t q[2])
{
    uint8x16_t low[2], high[2];
    nibbles(qs, low);
    fifth_bits(qh, high);
    q[0] = minus(vorrq_u8(low[0], high[0]), offset);
    q[1] = minus(vorrq_u8(low[1], high[1]), offset);
}

ALWAYS_INLINE void unpack_4_bits(const uint8_t qs[16], int offset, int8x16_t q[2])
{
    uint8x16_t low[2];
    nibbles(qs, low);
    q[0] = minus(low[0], offset);
    q[1] = minus(low[1], offset);
}

ALWAYS_INLINE void unpack_q4_0(const uint8_t *w, int8x16_t q[2])
{
    unpack_4_bits(((const struct block_q4_0 *)w)->qs, 8, q);
}

ALWAYS_INLINE void unpack_q4_1(const uint8_t *w, int8x16_t q[2])
{
    unpack_4_bits(((const struct block_q4_1 *)w)->qs, 0, q);
}

ALWAYS_INLINE void unpack_q5_0(const uint8_t *w, int8x16_t q[2])
{
    const struct block_q5_0 *b = (const void *)w;
    unpack_5_bits(b->qs, b->qh, 16, q);
}

ALWAYS_INLINE void unpack_q5_1(const uint8_t *w, int8x16_t q[2])
{
    const struct block_q5_1 *b = (const void *)w;
    unpack_5_bits(b->qs, b->qh, 0, q);
}

ALWAYS_INLINE void unpack_q8_0(const uint8_t *w, int8x16_t q[2])
{
    load_32(((const struct block_q8_0 *)w)->qs, q);
}

ALWAYS_INLINE void unpack_iq4_nl(const uint8_t *w, int8x16_t q[2])
{
    uint8x16_t index[2];
    nibbles(((const struct block_iq4_nl *)w)->qs, index);
    q[0] = iq4_weights(index[0]);
    q[1] = iq4_weights(index[1]);
}

/* A single column keeps its sums in registers; more columns share one copy of the code. */
#define DOT_BLOCKS(type, has_min)                                                                            \
    void DOT_NAME(type)(const uint8_t *w, const struct dot_cols *a, float *out)                              \
    {                                                                                                        \
        const struct block_type t = {unpack_##type, sizeof(struct block_##type), has_min};                   \
        if (a->n == 1)                                                                                       \
            dot_blocks(w, t, a, 1, out);                                                                     \
        else                                                                                                 \
            dot_blocks(w, t, a, a->n, out);                                                                  \
    }

DOT_BLOCKS(q4_0, false)
DOT_BLOCKS(q4_1, true)
DOT_BLOCKS(q5_0, false)
DOT_BLOCKS(q5_1, true)
DOT_BLOCKS(q8_0, false)
DOT_BLOCKS(iq4_nl, false)

#endif
