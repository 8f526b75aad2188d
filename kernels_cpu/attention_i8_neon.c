/* attention_i8_neon.c: one page of attention over int8 K and V, for NEON: the vectors of attention_i8_body.h,
 * 8 products wide. Partners, whose products make one sum, are four numbers apart: so a multiply-add of the
 * lower half and one of the upper do it. */
#include "kernels_cpu/attention_neon.h"

#include "kernels_cpu/attention_softmax_neon.h"

#define LANES 8
#define ROW_STEP 4
#define FEW_ROWS 5
#define MANY_ROWS FEW_ROWS
#define FLOAT_STEP 8

/* 8 numbers of 16 bits, or 4 sums of 32. */
typedef int16x8_t vec;

VEC_INLINE vec vec_zero(void)
{
    return vdupq_n_s16(0);
}

VEC_INLINE vec vec_load(const int16_t *x)
{
    return vld1q_s16(x);
}

VEC_INLINE vec vec_i8(const int8_t *x)
{
    return vmovl_s8(vld1_s8(x));
}

VEC_INLINE vec vec_all(int32_t x)
{
    return vcombine_s16(vdup_n_s16((int16_t)x), vdup_n_s16((int16_t)(x >> 16)));
}

VEC_INLINE vec vec_mul_add(vec a, vec b, vec c)
{
    int32x4_t sums = vmlal_s16(vreinterpretq_s32_s16(c), vget_low_s16(a), vget_low_s16(b));
    return vreinterpretq_s16_s32(vmlal_high_s16(sums, a, b));
}

VEC_INLINE int32x4_t sum_4(const vec x[4])
{
    int32x4_t low = vpaddq_s32(vreinterpretq_s32_s16(x[0]), vreinterpretq_s32_s16(x[1]));
    return vpaddq_s32(low, vpaddq_s32(vreinterpretq_s32_s16(x[2]), vreinterpretq_s32_s16(x[3])));
}

/* Columns 0..4 and 4..8. */
VEC_INLINE void load_pairs(const int8_t *v, size_t dim, vec out[2])
{
    int16x8_t a = vec_i8(v), b = vec_i8(v + dim);
    out[0] = vcombine_s16(vget_low_s16(a), vget_low_s16(b));
    out[1] = vcombine_s16(vget_high_s16(a), vget_high_s16(b));
}

VEC_INLINE void add_columns(float *out, const vec sums[2], float scale)
{
    for (size_t i = 0; i < 2; i++) {
        float32x4_t sum = vcvtq_f32_s32(vreinterpretq_s32_s16(sums[i]));
        vst1q_f32(out + 4 * i, vfmaq_n_f32(vld1q_f32(out + 4 * i), sum, scale));
    }
}

VEC_INLINE void put_scaled(float *out, int32x4_t sums, const float *scale, float q_scale)
{
    vst1q_f32(out, vmulq_f32(vcvtq_f32_s32(sums), vmulq_n_f32(vld1q_f32(scale), q_scale)));
}

VEC_INLINE void round_floats(int16_t *out, const float *x, float factor)
{
    int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), factor));
    int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), factor));
    vst1q_s16(out, vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
}

VEC_INLINE void scale_seen(float *p, const float *scale, size_t j, size_t begin, size_t end)
{
    for (size_t i = 0; i < FLOAT_STEP; i += 4) {
        uint32x4_t s = vandq_u32(vreinterpretq_u32_f32(vld1q_f32(scale + i)), seen_mask(j + i, begin, end));
        vst1q_f32(p + i, vmulq_f32(vld1q_f32(p + i), vreinterpretq_f32_u32(s)));
    }
}

#include "kernels_cpu/attention_i8_body.h"

static void page_many(struct attn_tile *t, size_t first, size_t n, const struct page *page)
{
    page_rows(t, first, n, page);
}

void attn_page_i8_neon(struct attn_tile *t, const void *k, const void *v)
{
    page_i8(t, k, v);
}
