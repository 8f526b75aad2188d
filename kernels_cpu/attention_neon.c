/* attention_neon.c: one page of attention over f16 or f32, for NEON: the vectors of
 * attention_float_dots_body.h, 4 floats wide. */
#include "kernels_cpu/attention_neon.h"

#include "kernels_cpu/attention_softmax_neon.h"

#define LANES 4
#define ROW_STEP 4
#define FEW_ROWS 5

typedef float32x4_t vec;

VEC_INLINE vec vec_zero(void)
{
    return vdupq_n_f32(0);
}

VEC_INLINE vec vec_load(const float *x)
{
    return vld1q_f32(x);
}

VEC_INLINE void vec_store(float *out, vec x)
{
    vst1q_f32(out, x);
}

VEC_INLINE vec vec_all(const float *x)
{
    return vld1q_dup_f32(x);
}

VEC_INLINE vec vec_f16(const uint16_t *h)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

VEC_INLINE vec vec_mul_add(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

VEC_INLINE void put_sums(float *out, const vec x[4])
{
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])));
}

#include "kernels_cpu/attention_float_dots_body.h"

void attn_page_f32_neon(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, false);
}

void attn_page_f16_neon(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, true);
}
