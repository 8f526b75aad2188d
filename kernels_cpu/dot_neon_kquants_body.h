/* dot_neon_kquants_body.h: types of 256 weights; part of dot_neon_body.h. */
#ifndef FERRUM_DOT_NEON_KQUANTS_BODY_H
#define FERRUM_DOT_NEON_KQUANTS_BODY_H

/* How many weights have one scale (and min), and whether there are mins. */
enum kind { PER_16, PER_16_MIN, PER_32, PER_32_MIN };

/* A super-block: weight i = d * scale * q - dmin * min. q[j] holds weights 16j .. 16j + 15. */
struct super {
    int8x16_t q[16];
    int16x8_t scale[2], min[2]; /* in order; PER_32: only the first of two */
    float d, dmin;
};

typedef void unpack_super_fn(const uint8_t *w, struct super *out);

ALWAYS_INLINE float f16_at(uint16_t h)
{
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

/* Four of the scales. */
ALWAYS_INLINE int32x4_t scales_at(const struct super *s, size_t i)
{
    int16x8_t eight = s->scale[i / 8];
    return vmovl_s16(i % 8 ? vget_high_s16(eight) : vget_low_s16(eight));
}

/* Sums of scale * q * y of blocks 4h .. 4h + 3 of 32. */
ALWAYS_INLINE int32x4_t scaled_products(const struct super *s, const int8_t *y, size_t h, enum kind kind)
{
    int32x4_t sums[8];
    if (kind == PER_32 || kind == PER_32_MIN) {
        UNROLLED
        for (size_t j = 0; j < 4; j++) {
            int8x16_t y_32[2];
            load_32(y + 128 * h + 32 * j, y_32);
            sums[j] = products_32(s->q + 8 * h + 2 * j, y_32);
        }
        return vmulq_s32(sum_each(sums), scales_at(s, 4 * h));
    }
    UNROLLED
    for (size_t j = 0; j < 8; j++)
        sums[j] = products_16(s->q[8 * h + j], vld1q_s8(y + 128 * h + 16 * j));
    return vpaddq_s32(vmulq_s32(sum_each(sums), scales_at(s, 8 * h)),
                      vmulq_s32(sum_each(sums + 4), scales_at(s, 8 * h + 4)));
}

/* Sums of min * y of blocks 4h .. 4h + 3, from the sums of 16 y each. */
ALWAYS_INLINE int32x4_t scaled_mins(const struct super *s, const int16_t *sums, size_t h)
{
    int16x8_t y = vld1q_s16(sums + 8 * h);
    return vpaddq_s32(vmull_s16(vget_low_s16(s->min[h]), vget_low_s16(y)), vmull_high_s16(s->min[h], y));
}

/* dmin * min of blocks 4h .. 4h + 3. */
ALWAYS_INLINE float32x4_t mins_at(const struct super *s, size_t h)
{
    int16x4_t four = h ? vget_high_s16(s->min[0]) : vget_low_s16(s->min[0]);
    return vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(four)), s->dmin);
}

/* A super-block times one column, its number `at` of all columns. */
ALWAYS_INLINE void add_super(const struct super *s, enum kind kind, const struct dot_cols *a, size_t at,
                             float32x4_t acc[2])
{
    UNROLLED
    for (size_t h = 0; h < 2; h++) {
        float32x4_t dy = vld1q_f32(a->d + 8 * at + 4 * h);
        float32x4_t sums = vcvtq_f32_s32(scaled_products(s, a->q + QUANT_SUPER * at, h, kind));
        acc[h] = vfmaq_f32(acc[h], sums, vmulq_n_f32(dy, s->d));
        if (kind == PER_32_MIN)
            acc[h] = vfmsq_f32(acc[h], mins_at(s, h), vld1q_f32(a->s + 8 * at + 4 * h));
        if (kind == PER_16_MIN)
            acc[h] = vfmsq_f32(acc[h], vcvtq_f32_s32(scaled_mins(s, a->sums + 16 * at, h)),
                               vmulq_n_f32(dy, s->dmin));
    }
}

ALWAYS_INLINE void dot_supers(const uint8_t *w, size_t block_bytes, unpack_super_fn *unpack, enum kind kind,
                              const struct dot_cols *a, size_t n, float *out)
{
    size_t n_blocks = a->k / QUANT_SUPER;
    float32x4_t acc[DOT_MAX_COLS][2];
    for (size_t c = 0; c < n; c++)
        acc[c][0] = acc[c][1] = vdupq_n_f32(0);
    for (size_t i = 0; i < n_blocks; i++, w += block_bytes) {
        struct super s;
        unpack(w, &s);
        prefetch_ahead(w, block_bytes);
        for (size_t c = 0; c < n; c++)
            add_super(&s, kind, a, c * n_blocks + i, acc[c]);
    }
    for (size_t c = 0; c < n; c++)
        out[c] = vaddvq_f32(vaddq_f32(acc[c][0], acc[c][1]));
}

ALWAYS_INLINE void widen_u8(uint8x16_t x, int16x8_t out[2])
{
    out[0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x)));
    out[1] = vreinterpretq_s16_u16(vmovl_high_u8(x));
}

ALWAYS_INLINE void widen_s8(int8x16_t x, int16x8_t out[2])
{
    out[0] = vmovl_s8(vget_low_s8(x));
    out[1] = vmovl_high_s8(x);
}

ALWAYS_INLINE void unpack_q2_k(const uint8_t *w, struct super *out)
{
    const struct block_q2_k *b = (const void *)w;
    UNROLLED
    for (size_t j = 0; j < 16; j++) {
        uint8x16_t x = vld1q_u8(b->qs + 32 * (j / 8) + 16 * (j % 2));
        out->q[j] = vreinterpretq_s8_u8(bits(x, (int)(j % 8 / 2) * 2, 3));
    }
    uint8x16_t scales = vld1q_u8(b->scales);
    widen_u8(bits(scales, 0, 15), out->scale);
    widen_u8(bits(scales, 4, 15), out->min);
    out->d = f16_at(b->d);
    out->dmin = f16_at(b->dmin);
}

/* 16 scales of 6 bits. */
ALWAYS_INLINE int8x16_t scales_q3_k(const uint8_t scales[12])
{
    uint8x8_t x = vld1_u8(scales);
    uint8x16_t low = bits(vcombine_u8(x, vshr_n_u8(x, 4)), 0, 15);
    uint32x4_t high = vshlq_u32(vdupq_n_u32(load_u32(scales + 8)), (int32x4_t){0, -2, -4, -6});
    uint8x16_t high_bits = shift_left(bits(vreinterpretq_u8_u32(high), 0, 3), 4);
    return minus(vorrq_u8(low, high_bits), 32);
}

ALWAYS_INLINE void unpack_q3_k(const uint8_t *w, struct super *out)
{
    const struct block_q3_k *b = (const void *)w;
    UNROLLED
    for (size_t j = 0; j < 16; j++) {
        uint8x16_t low = bits(vld1q_u8(b->qs + 32 * (j / 8) + 16 * (j % 2)), (int)(j % 8 / 2) * 2, 3);
        uint8x16_t high = bits(vld1q_u8(b->hmask + 16 * (j % 2)), (int)(j / 2), 1);
        out->q[j] = minus(vorrq_u8(low, shift_left(high, 2)), 4);
    }
    widen_s8(scales_q3_k(b->scales), out->scale);
    out->d = f16_at(b->d);
}

ALWAYS_INLINE void unpack_scales_mins(const uint8_t scales[12], struct super *out)
{
    struct bytes8 both = bytes_q4_k(scales);
    out->scale[0] = vreinterpretq_s16_u16(vmovl_u8(vcreate_u8(both.scale)));
    out->min[0] = vreinterpretq_s16_u16(vmovl_u8(vcreate_u8(both.min)));
}

ALWAYS_INLINE uint8x16_t low_4_bits(const uint8_t qs[128], size_t j)
{
    return bits(vld1q_u8(qs + 32 * (j / 4) + 16 * (j % 2)), (int)(j / 2 % 2) * 4, 15);
}

ALWAYS_INLINE void unpack_q4_k(const uint8_t *w, struct super *out)
{
    const struct block_q4_k *b = (const void *)w;
    UNROLLED
    for (size_t j = 0; j < 16; j++)
        out->q[j] = vreinterpretq_s8_u8(low_4_bits(b->qs, j));
    unpack_scales_mins(b->scales, out);
    out->d = f16_at(b->d);
    out->dmin = f16_at(b->dmin);
}

ALWAYS_INLINE void unpack_q5_k(const uint8_t *w, struct super *out)
{
    const struct block_q5_k *b = (const void *)w;
    UNROLLED
    for (size_t j = 0; j < 16; j++) {
        uint8x16_t high = shift_left(bits(vld1q_u8(b->qh + 16 * (j % 2)), (int)(j / 2), 1), 4);
        out->q[j] = vreinterpretq_s8_u8(vorrq_u8(low_4_bits(b->qs, j), high));
    }
    unpack_scales_mins(b->scales, out);
    out->d = f16_at(b->d);
    out->dmin = f16_at(b->dmin);
}

ALWAYS_INLINE void unpack_q6_k(const uint8_t *w, struct super *out)
{
    const struct block_q6_k *b = (const void *)w;
    UNROLLED
    for (size_t j = 0; j < 16; j++) {
        size_t half = j / 8, quarter = j % 8 / 2, byte = 16 * (j % 2);
        uint8x16_t low =
            bits(vld1q_u8(b->ql + 64 * half + 32 * (quarter % 2) + byte), (int)(quarter / 2) * 4, 15);
        uint8x16_t high = bits(vld1q_u8(b->qh + 32 * half + byte), (int)quarter * 2, 3);
        out->q[j] = minus(vorrq_u8(low, shift_left(high, 4)), 32);
    }
    widen_s8(vld1q_s8(b->scales), out->scale);
    out->d = f16_at(b->d);
}

/* Eight scales of 6 bits. */
ALWAYS_INLINE int16x8_t scales_iq4_xs(const struct block_iq4_xs *b)
{
    uint8x8_t x = vreinterpret_u8_u32(vdup_n_u32(load_u32(b->scales_l)));
    uint16x8_t low = vmovl_u8(vzip1_u8(vand_u8(x, vdup_n_u8(15)), vshr_n_u8(x, 4)));
    uint16x8_t high = vshlq_u16(vdupq_n_u16(b->scales_h), (int16x8_t){0, -2, -4, -6, -8, -10, -12, -14});
    uint16x8_t s = vorrq_u16(low, vshlq_n_u16(vandq_u16(high, vdupq_n_u16(3)), 4));
    return vsubq_s16(vreinterpretq_s16_u16(s), vdupq_n_s16(32));
}

ALWAYS_INLINE void unpack_iq4_xs(const uint8_t *w, struct super *out)
{
    const struct block_iq4_xs *b = (const void *)w;
    UNROLLED
    for (size_t j = 0; j < 16; j++)
        out->q[j] = iq4_weights(bits(vld1q_u8(b->qs + 16 * (j / 2)), (int)(j % 2) * 4, 15));
    out->scale[0] = scales_iq4_xs(b);
    out->d = f16_at(b->d);
}

/* A single column keeps its sum in registers; more columns share one copy of the code. */
#define DOT_SUPERS(type, kind)                                                                               \
    void DOT_NAME(type)(const uint8_t *w, const struct dot_cols *a, float *out)                              \
    {                                                                                                        \
        if (a->n == 1)                                                                                       \
            dot_supers(w, sizeof(struct block_##type), unpack_##type, kind, a, 1, out);                      \
        else                                                                                                 \
            dot_supers(w, sizeof(struct block_##type), unpack_##type, kind, a, a->n, out);                   \
    }

DOT_SUPERS(q2_k, PER_16_MIN)
DOT_SUPERS(q3_k, PER_16)
DOT_SUPERS(q4_k, PER_32_MIN)
DOT_SUPERS(q5_k, PER_32_MIN)
DOT_SUPERS(q6_k, PER_16)
DOT_SUPERS(iq4_xs, PER_32)

#endif
