/* dtype.c: the table of data types, and dtype_to_f32: what every format means.
 *
 * Products of an f16 scale, a sub-scale and a quant fit in the 24 bits of an f32, so each formula below
 * rounds at most once (where a minimum is added) and gives the same bits whatever the order of the factors.
 */
#include "engine/tensor.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/half.h"
#include "engine/quant_blocks.h"

static void block_f32(const void *src, float *dst)
{
    memcpy(dst, src, sizeof *dst);
}

static void block_f16(const void *src, float *dst)
{
    uint16_t bits;
    memcpy(&bits, src, sizeof bits);
    *dst = f16_to_f32(bits);
}

static void block_bf16(const void *src, float *dst)
{
    uint16_t bits;
    memcpy(&bits, src, sizeof bits);
    *dst = bf16_to_f32(bits);
}

static void block_i8(const void *src, float *dst)
{
    int8_t value;
    memcpy(&value, src, sizeof value);
    *dst = (float)value;
}

/* Weight i (0 to 31) of the sixteen bytes of a block of 32. */
static int nibble(const uint8_t qs[16], int i)
{
    return qs[i % 16] >> 4 * (i / 16) & 15;
}

static void block_q4_0(const void *src, float *dst)
{
    const struct block_q4_0 *b = src;
    for (int i = 0; i < QUANT_BLOCK; i++)
        dst[i] = f16_to_f32(b->d) * (float)(nibble(b->qs, i) - 8);
}

static void block_q4_1(const void *src, float *dst)
{
    const struct block_q4_1 *b = src;
    for (int i = 0; i < QUANT_BLOCK; i++)
        dst[i] = f16_to_f32(b->d) * (float)nibble(b->qs, i) + f16_to_f32(b->m);
}

static void block_q5_0(const void *src, float *dst)
{
    const struct block_q5_0 *b = src;
    for (int i = 0; i < QUANT_BLOCK; i++) {
        int q = nibble(b->qs, i) | (int)(b->qh >> i & 1) << 4;
        dst[i] = f16_to_f32(b->d) * (float)(q - 16);
    }
}

static void block_q5_1(const void *src, float *dst)
{
    const struct block_q5_1 *b = src;
    for (int i = 0; i < QUANT_BLOCK; i++) {
        int q = nibble(b->qs, i) | (int)(b->qh >> i & 1) << 4;
        dst[i] = f16_to_f32(b->d) * (float)q + f16_to_f32(b->m);
    }
}

static void block_q8_0(const void *src, float *dst)
{
    const struct block_q8_0 *b = src;
    for (int i = 0; i < QUANT_BLOCK; i++)
        dst[i] = f16_to_f32(b->d) * (float)b->qs[i];
}

static void block_iq4_nl(const void *src, float *dst)
{
    const struct block_iq4_nl *b = src;
    for (int i = 0; i < QUANT_BLOCK; i++)
        dst[i] = f16_to_f32(b->d) * (float)quant_iq4_values[nibble(b->qs, i)];
}

/* The two bits of weight i (0 to 255) of a Q2_K or Q3_K block. */
static int two_bits(const uint8_t qs[64], int i)
{
    return qs[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
}

static void block_q2_k(const void *src, float *dst)
{
    const struct block_q2_k *b = src;
    for (int i = 0; i < QUANT_SUPER; i++) {
        int scale = b->scales[i / 16] & 15, min = b->scales[i / 16] >> 4;
        dst[i] = f16_to_f32(b->d) * (float)(scale * two_bits(b->qs, i)) - f16_to_f32(b->dmin) * (float)min;
    }
}

static void block_q3_k(const void *src, float *dst)
{
    const struct block_q3_k *b = src;
    for (int i = 0; i < QUANT_SUPER; i++) {
        int q = two_bits(b->qs, i) | (b->hmask[i % 32] >> i / 32 & 1) << 2;
        dst[i] = f16_to_f32(b->d) * (float)(quant_scale_q3_k(b->scales, i / 16) * (q - 4));
    }
}

/* The four bits of weight i (0 to 255) of a Q4_K or Q5_K block. */
static int four_bits(const uint8_t qs[128], int i)
{
    return qs[i / 64 * 32 + i % 32] >> 4 * (i / 32 % 2) & 15;
}

static void block_q4_k(const void *src, float *dst)
{
    const struct block_q4_k *b = src;
    for (int i = 0; i < QUANT_SUPER; i++) {
        int scale, min;
        quant_scale_min(b->scales, i / 32, &scale, &min);
        dst[i] = f16_to_f32(b->d) * (float)(scale * four_bits(b->qs, i)) - f16_to_f32(b->dmin) * (float)min;
    }
}

static void block_q5_k(const void *src, float *dst)
{
    const struct block_q5_k *b = src;
    for (int i = 0; i < QUANT_SUPER; i++) {
        int scale, min, q = four_bits(b->qs, i) | (b->qh[i % 32] >> i / 32 & 1) << 4;
        quant_scale_min(b->scales, i / 32, &scale, &min);
        dst[i] = f16_to_f32(b->d) * (float)(scale * q) - f16_to_f32(b->dmin) * (float)min;
    }
}

static void block_q6_k(const void *src, float *dst)
{
    const struct block_q6_k *b = src;
    for (int i = 0; i < QUANT_SUPER; i++) {
        int half = i / 128, quarter = i % 128 / 32, l = i % 32;
        int low = b->ql[64 * half + 32 * (quarter % 2) + l] >> 4 * (quarter / 2) & 15;
        int high = b->qh[32 * half + l] >> 2 * quarter & 3;
        dst[i] = f16_to_f32(b->d) * (float)(b->scales[i / 16] * ((low | high << 4) - 32));
    }
}

static void block_iq4_xs(const void *src, float *dst)
{
    const struct block_iq4_xs *b = src;
    for (int i = 0; i < QUANT_SUPER; i++) {
        int level = quant_iq4_values[nibble(b->qs + i / 32 * 16, i % 32)];
        dst[i] = f16_to_f32(b->d) * (float)(quant_scale_iq4_xs(b, i / 32) * level);
    }
}

struct format {
    struct dtype_info info;
    void (*block_to_f32)(const void *src, float *dst);
};

static const struct format formats[DTYPE_N] = {
    [DTYPE_F32] = {{"f32", 0, 1, 4}, block_f32},
    [DTYPE_F16] = {{"f16", 1, 1, 2}, block_f16},
    [DTYPE_BF16] = {{"bf16", 30, 1, 2}, block_bf16},
    [DTYPE_Q4_0] = {{"q4_0", 2, 32, sizeof(struct block_q4_0)}, block_q4_0},
    [DTYPE_Q4_1] = {{"q4_1", 3, 32, sizeof(struct block_q4_1)}, block_q4_1},
    [DTYPE_Q5_0] = {{"q5_0", 6, 32, sizeof(struct block_q5_0)}, block_q5_0},
    [DTYPE_Q5_1] = {{"q5_1", 7, 32, sizeof(struct block_q5_1)}, block_q5_1},
    [DTYPE_Q8_0] = {{"q8_0", 8, 32, sizeof(struct block_q8_0)}, block_q8_0},
    [DTYPE_Q2_K] = {{"q2_k", 10, 256, sizeof(struct block_q2_k)}, block_q2_k},
    [DTYPE_Q3_K] = {{"q3_k", 11, 256, sizeof(struct block_q3_k)}, block_q3_k},
    [DTYPE_Q4_K] = {{"q4_k", 12, 256, sizeof(struct block_q4_k)}, block_q4_k},
    [DTYPE_Q5_K] = {{"q5_k", 13, 256, sizeof(struct block_q5_k)}, block_q5_k},
    [DTYPE_Q6_K] = {{"q6_k", 14, 256, sizeof(struct block_q6_k)}, block_q6_k},
    [DTYPE_IQ4_NL] = {{"iq4_nl", 20, 32, sizeof(struct block_iq4_nl)}, block_iq4_nl},
    [DTYPE_IQ4_XS] = {{"iq4_xs", 23, 256, sizeof(struct block_iq4_xs)}, block_iq4_xs},
    [DTYPE_I8] = {{"int8", 24, 1, 1}, block_i8},
};

/* Types of the field without a row above, for messages. */
static const struct {
    uint32_t ggml_id;
    const char *name;
} other_names[] = {
    {9, "q8_1"},   {15, "q8_k"},  {16, "iq2_xxs"}, {17, "iq2_xs"}, {18, "iq3_xxs"}, {19, "iq1_s"},
    {21, "iq3_s"}, {22, "iq2_s"}, {25, "i16"},     {26, "i32"},    {27, "i64"},     {28, "f64"},
    {29, "iq1_m"}, {34, "tq1_0"}, {35, "tq2_0"},   {39, "mxfp4"},  {40, "nvfp4"},   {41, "q1_0"},
};

const struct dtype_info *dtype_info(enum dtype type)
{
    assert((unsigned)type < DTYPE_N);
    return &formats[type].info;
}

bool dtype_from_ggml(uint32_t ggml_id, enum dtype *out)
{
    for (int i = 0; i < DTYPE_N; i++)
        if ((uint32_t)formats[i].info.ggml_id == ggml_id) {
            *out = (enum dtype)i;
            return true;
        }
    return false;
}

const char *dtype_ggml_name(uint32_t ggml_id, char scratch[24])
{
    enum dtype type;
    if (dtype_from_ggml(ggml_id, &type))
        return formats[type].info.name;
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++)
        if (other_names[i].ggml_id == ggml_id)
            return other_names[i].name;
    snprintf(scratch, 24, "type %u", (unsigned)ggml_id);
    return scratch;
}

bool dtype_row_bytes(enum dtype type, size_t n_weights, size_t *bytes)
{
    const struct dtype_info *info = dtype_info(type);
    return n_weights % info->block_weights == 0 &&
           mem_mul(n_weights / info->block_weights, info->block_bytes, bytes);
}

void dtype_to_f32(enum dtype type, const void *src, float *dst, size_t n)
{
    const struct format *format = &formats[type];
    const struct dtype_info *info = dtype_info(type);
    assert(n % info->block_weights == 0);
    const unsigned char *block = src;
    for (size_t i = 0; i < n; i += info->block_weights, block += info->block_bytes)
        format->block_to_f32(block, dst + i);
}
