/* The reference kernels: each block is unpacked to integers, then multiplied with integers. */
#include "kernels_cpu/dot_scalar.h"

#include <string.h>

#include "engine/half.h"
#include "engine/quant_blocks.h"

/* A block of 32: weight i is d * q[i] + m. */
struct block32 {
    int8_t q[32];
    float d, m;
};

/* A block of 256: weight i is d * scale[i / 16] * q[i] - dmin * min[i / 16]. */
struct super {
    int8_t q[256];
    int scale[16], min[16];
    float d, dmin;
};

static void unpack_q4_0(const uint8_t *w, struct block32 *out)
{
    const struct block_q4_0 *b = (const void *)w;
    for (int i = 0; i < 16; i++) {
        out->q[i] = (int8_t)((b->qs[i] & 15) - 8);
        out->q[i + 16] = (int8_t)((b->qs[i] >> 4) - 8);
    }
    out->d = f16_to_f32(b->d);
    out->m = 0;
}

static void unpack_q4_1(const uint8_t *w, struct block32 *out)
{
    const struct block_q4_1 *b = (const void *)w;
    for (int i = 0; i < 16; i++) {
        out->q[i] = b->qs[i] & 15;
        out->q[i + 16] = (int8_t)(b->qs[i] >> 4);
    }
    out->d = f16_to_f32(b->d);
    out->m = f16_to_f32(b->m);
}

static void unpack_5_bits(const uint8_t qs[16], uint32_t qh, int offset, int8_t q[32])
{
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)(((qs[i] & 15) | (qh >> i & 1) << 4) - (uint32_t)offset);
        q[i + 16] = (int8_t)(((uint32_t)qs[i] >> 4 | (qh >> (i + 16) & 1) << 4) - (uint32_t)offset);
    }
}

static void unpack_q5_0(const uint8_t *w, struct block32 *out)
{
    const struct block_q5_0 *b = (const void *)w;
    unpack_5_bits(b->qs, b->qh, 16, out->q);
    out->d = f16_to_f32(b->d);
    out->m = 0;
}

static void unpack_q5_1(const uint8_t *w, struct block32 *out)
{
    const struct block_q5_1 *b = (const void *)w;
    unpack_5_bits(b->qs, b->qh, 0, out->q);
    out->d = f16_to_f32(b->d);
    out->m = f16_to_f32(b->m);
}

static void unpack_q8_0(const uint8_t *w, struct block32 *out)
{
    const struct block_q8_0 *b = (const void *)w;
    memcpy(out->q, b->qs, sizeof out->q);
    out->d = f16_to_f32(b->d);
    out->m = 0;
}

static void unpack_iq4_nl(const uint8_t *w, struct block32 *out)
{
    const struct block_iq4_nl *b = (const void *)w;
    for (int i = 0; i < 16; i++) {
        out->q[i] = quant_iq4_values[b->qs[i] & 15];
        out->q[i + 16] = quant_iq4_values[b->qs[i] >> 4];
    }
    out->d = f16_to_f32(b->d);
    out->m = 0;
}

static void unpack_2_bits(const uint8_t qs[64], int8_t q[256])
{
    for (int i = 0; i < 256; i++)
        q[i] = (int8_t)(qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3);
}

static void unpack_q2_k(const uint8_t *w, struct super *out)
{
    const struct block_q2_k *b = (const void *)w;
    unpack_2_bits(b->qs, out->q);
    for (int j = 0; j < 16; j++) {
        out->scale[j] = b->scales[j] & 15;
        out->min[j] = b->scales[j] >> 4;
    }
    out->d = f16_to_f32(b->d);
    out->dmin = f16_to_f32(b->dmin);
}

static void unpack_q3_k(const uint8_t *w, struct super *out)
{
    const struct block_q3_k *b = (const void *)w;
    unpack_2_bits(b->qs, out->q);
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)(out->q[i] + (b->hmask[i % 32] >> (i / 32) & 1) * 4 - 4);
    for (int j = 0; j < 16; j++) {
        out->scale[j] = quant_scale_q3_k(b->scales, j);
        out->min[j] = 0;
    }
    out->d = f16_to_f32(b->d);
    out->dmin = 0;
}

static void unpack_scales_mins(const uint8_t scales[12], struct super *out)
{
    for (int j = 0; j < 16; j++)
        quant_scale_min(scales, j / 2, &out->scale[j], &out->min[j]);
}

static void unpack_q4_k(const uint8_t *w, struct super *out)
{
    const struct block_q4_k *b = (const void *)w;
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)(b->qs[32 * (i / 64) + i % 32] >> 4 * (i / 32 % 2) & 15);
    unpack_scales_mins(b->scales, out);
    out->d = f16_to_f32(b->d);
    out->dmin = f16_to_f32(b->dmin);
}

static void unpack_q5_k(const uint8_t *w, struct super *out)
{
    const struct block_q5_k *b = (const void *)w;
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)((b->qs[32 * (i / 64) + i % 32] >> 4 * (i / 32 % 2) & 15) |
                             (b->qh[i % 32] >> (i / 32) & 1) << 4);
    unpack_scales_mins(b->scales, out);
    out->d = f16_to_f32(b->d);
    out->dmin = f16_to_f32(b->dmin);
}

static void unpack_q6_k(const uint8_t *w, struct super *out)
{
    const struct block_q6_k *b = (const void *)w;
    for (int i = 0; i < 256; i++) {
        int half = i / 128, quarter = i % 128 / 32;
        int low = b->ql[64 * half + i % 64] >> 4 * (quarter / 2) & 15;
        int high = b->qh[32 * half + i % 32] >> 2 * quarter & 3;
        out->q[i] = (int8_t)((low | high << 4) - 32);
    }
    for (int j = 0; j < 16; j++) {
        out->scale[j] = b->scales[j];
        out->min[j] = 0;
    }
    out->d = f16_to_f32(b->d);
    out->dmin = 0;
}

static void unpack_iq4_xs(const uint8_t *w, struct super *out)
{
    const struct block_iq4_xs *b = (const void *)w;
    for (int i = 0; i < 256; i++)
        out->q[i] = quant_iq4_values[b->qs[16 * (i / 32) + i % 16] >> 4 * (i / 16 % 2) & 15];
    for (int j = 0; j < 16; j++) {
        out->scale[j] = quant_scale_iq4_xs(b, j / 2);
        out->min[j] = 0;
    }
    out->d = f16_to_f32(b->d);
    out->dmin = 0;
}

static int dot_i8(const int8_t *a, const int8_t *b, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void dot_blocks32(const uint8_t *w, size_t block_bytes,
                         void (*unpack)(const uint8_t *, struct block32 *), const struct dot_cols *a,
                         float *out)
{
    size_t n_blocks = a->k / 32;
    memset(out, 0, a->n * sizeof *out);
    for (size_t i = 0; i < n_blocks; i++, w += block_bytes) {
        struct block32 b;
        unpack(w, &b);
        for (size_t c = 0; c < a->n; c++) {
            size_t at = c * n_blocks + i;
            out[c] += b.d * a->d[at] * (float)dot_i8(b.q, a->q + 32 * at, 32) + b.m * a->s[at];
        }
    }
}

static void dot_supers(const uint8_t *w, size_t block_bytes, void (*unpack)(const uint8_t *, struct super *),
                       const struct dot_cols *a, float *out)
{
    size_t n_blocks = a->k / 256;
    memset(out, 0, a->n * sizeof *out);
    for (size_t i = 0; i < n_blocks; i++, w += block_bytes) {
        struct super b;
        unpack(w, &b);
        for (size_t c = 0; c < a->n; c++) {
            const int8_t *q = a->q + c * a->k + 256 * i;
            const float *dy = a->d + c * (a->k / 32) + 8 * i;
            const int16_t *sums = a->sums + c * (a->k / 16) + 16 * i;
            double products = 0, mins = 0; /* they may nearly cancel */
            for (int j = 0; j < 16; j++) {
                int product = b.scale[j] * dot_i8(b.q + 16 * j, q + 16 * j, 16);
                products += (double)dy[j / 2] * product;
                mins += (double)dy[j / 2] * (b.min[j] * sums[j]);
            }
            out[c] += (float)((double)b.d * products - (double)b.dmin * mins);
        }
    }
}

#define DOT_BLOCKS32(type)                                                                                   \
    void dot_scalar_##type(const uint8_t *w, const struct dot_cols *a, float *out)                           \
    {                                                                                                        \
        dot_blocks32(w, sizeof(struct block_##type), unpack_##type, a, out);                                 \
    }
#define DOT_SUPERS(type)                                                                                     \
    void dot_scalar_##type(const uint8_t *w, const struct dot_cols *a, float *out)                           \
    {                                                                                                        \
        dot_supers(w, sizeof(struct block_##type), unpack_##type, a, out);                                   \
    }

DOT_BLOCKS32(q4_0)
DOT_BLOCKS32(q4_1)
DOT_BLOCKS32(q5_0)
DOT_BLOCKS32(q5_1)
DOT_BLOCKS32(q8_0)
DOT_BLOCKS32(iq4_nl)
DOT_SUPERS(q2_k)
DOT_SUPERS(q3_k)
DOT_SUPERS(q4_k)
DOT_SUPERS(q5_k)
DOT_SUPERS(q6_k)
DOT_SUPERS(iq4_xs)

/* Eight running sums: the error of a long f32 sum grows with its longest chain. */
#define N_CHAINS 8

static float add_chains(const float s[N_CHAINS])
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

void dot_scalar_f32(const uint8_t *w, const struct dot_cols *a, float *out)
{
    for (size_t c = 0; c < a->n; c++) {
        float s[N_CHAINS] = {0}, wi;
        for (size_t i = 0; i < a->k; i++) {
            memcpy(&wi, w + i * sizeof wi, sizeof wi);
            s[i % N_CHAINS] += wi * a->x[c * a->k + i];
        }
        out[c] = add_chains(s);
    }
}

static void dot_halves(const uint8_t *w, float (*widen)(uint16_t), const struct dot_cols *a, float *out)
{
    for (size_t c = 0; c < a->n; c++) {
        float s[N_CHAINS] = {0};
        for (size_t i = 0; i < a->k; i++) {
            uint16_t h;
            memcpy(&h, w + i * sizeof h, sizeof h);
            s[i % N_CHAINS] += widen(h) * a->x[c * a->k + i];
        }
        out[c] = add_chains(s);
    }
}

void dot_scalar_f16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_halves(w, f16_to_f32, a, out);
}

void dot_scalar_bf16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_halves(w, bf16_to_f32, a, out);
}
