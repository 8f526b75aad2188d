/* The kernel tables, one per instruction set. */
#include "kernels_cpu/dot_kernel.h"

#include "kernels_cpu/dot_avx2.h"
#include "kernels_cpu/dot_avx512.h"
#include "kernels_cpu/dot_avx512bf16.h"
#include "kernels_cpu/dot_neon.h"
#include "kernels_cpu/dot_scalar.h"
#include "kernels_cpu/tile_avx2.h"
#include "kernels_cpu/tile_avx512.h"
#include "kernels_cpu/tile_avxvnni.h"

#define DOT_TABLE(isa, bf16_isa)                                                                             \
    {                                                                                                        \
        [DTYPE_F32] = dot_##isa##_f32, [DTYPE_F16] = dot_##isa##_f16, [DTYPE_BF16] = dot_##bf16_isa##_bf16,  \
        [DTYPE_Q4_0] = dot_##isa##_q4_0, [DTYPE_Q4_1] = dot_##isa##_q4_1, [DTYPE_Q5_0] = dot_##isa##_q5_0,   \
        [DTYPE_Q5_1] = dot_##isa##_q5_1, [DTYPE_Q8_0] = dot_##isa##_q8_0, [DTYPE_Q2_K] = dot_##isa##_q2_k,   \
        [DTYPE_Q3_K] = dot_##isa##_q3_k, [DTYPE_Q4_K] = dot_##isa##_q4_k, [DTYPE_Q5_K] = dot_##isa##_q5_k,   \
        [DTYPE_Q6_K] = dot_##isa##_q6_k, [DTYPE_IQ4_NL] = dot_##isa##_iq4_nl,                                \
        [DTYPE_IQ4_XS] = dot_##isa##_iq4_xs,                                                                 \
    }

#define TILE_TABLE(isa, float_isa, bf16_isa)                                                                 \
    {                                                                                                        \
        [DTYPE_F32] = &tile_##float_isa##_f32, [DTYPE_F16] = &tile_##float_isa##_f16,                        \
        [DTYPE_BF16] = &tile_##bf16_isa##_bf16, [DTYPE_Q4_0] = &tile_##isa##_q4_0,                           \
        [DTYPE_Q4_1] = &tile_##isa##_q4_1, [DTYPE_Q5_0] = &tile_##isa##_q5_0,                                \
        [DTYPE_Q5_1] = &tile_##isa##_q5_1, [DTYPE_Q8_0] = &tile_##isa##_q8_0,                                \
        [DTYPE_Q2_K] = &tile_##isa##_q2_k, [DTYPE_Q3_K] = &tile_##isa##_q3_k,                                \
        [DTYPE_Q4_K] = &tile_##isa##_q4_k, [DTYPE_Q5_K] = &tile_##isa##_q5_k,                                \
        [DTYPE_Q6_K] = &tile_##isa##_q6_k, [DTYPE_IQ4_NL] = &tile_##isa##_iq4_nl,                            \
        [DTYPE_IQ4_XS] = &tile_##isa##_iq4_xs,                                                               \
    }

static const struct dot_set scalar_set = {.quantise = act_quant_scalar,
                                          .dot = DOT_TABLE(scalar, scalar),
                                          .peak = {[ACT_F32] = peak_scalar_f32, [ACT_Q8] = peak_scalar_int8}};

#if defined(__x86_64__)
static const struct dot_set avx2_set = {.quantise = act_quant_avx2,
                                        .lanes = act_lanes_avx2,
                                        .natural_order = true,
                                        .dot = DOT_TABLE(avx2, avx2),
                                        .tile = TILE_TABLE(avx2, avx2, avx2),
                                        .peak = {[ACT_F32] = peak_avx2_f32, [ACT_Q8] = peak_avx2_int8}};
/* The same bits, so the same instruction set to the outside. */
static const struct dot_set avx2_vnni_set = {
    .quantise = act_quant_avx2,
    .lanes = act_lanes_avx2,
    .natural_order = true,
    .dot = DOT_TABLE(avx2, avx2),
    .tile = TILE_TABLE(avxvnni, avx2, avx2),
    .peak = {[ACT_F32] = peak_avx2_f32, [ACT_Q8] = peak_avxvnni_int8}};
static const struct dot_set avx512_set = {.quantise = act_quant_avx512,
                                          .lanes = act_lanes_avx512,
                                          .chains = act_chains_avx512,
                                          .dot = DOT_TABLE(avx512, avx512),
                                          .tile = TILE_TABLE(avx512, avx512, avx512),
                                          .peak = {[ACT_F32] = peak_avx512_f32, [ACT_Q8] = peak_avx512_int8}};
/* The same but for bf16 weights. */
static const struct dot_set avx512bf16_set = {
    .quantise = act_quant_avx512,
    .lanes = act_lanes_avx512,
    .chains = act_chains_avx512,
    .round = act_round_avx512bf16,
    .round_chains = act_round_chains_avx512bf16,
    .dot = DOT_TABLE(avx512, avx512bf16),
    .tile = TILE_TABLE(avx512, avx512, avx512bf16),
    .peak = {[ACT_F32] = peak_avx512_f32, [ACT_BF16] = peak_avx512bf16_bf16, [ACT_Q8] = peak_avx512_int8}};

const struct dot_set *dot_set_get(enum cpu_isa isa)
{
    if (isa == CPU_AVX2)
        return cpu_features_get().avx_vnni ? &avx2_vnni_set : &avx2_set;
    if (isa == CPU_AVX512BF16)
        return &avx512bf16_set;
    return isa == CPU_AVX512 ? &avx512_set : &scalar_set;
}
#elif defined(__aarch64__)
static const struct dot_set neon_set = {.quantise = act_quant_neon,
                                        .dot = DOT_TABLE(neon, neon),
                                        .peak = {[ACT_F32] = peak_neon_f32, [ACT_Q8] = peak_neon_int8}};
static const struct dot_set dotprod_set = {.quantise = act_quant_neon,
                                           .dot = DOT_TABLE(dotprod, dotprod),
                                           .peak = {[ACT_F32] = peak_neon_f32, [ACT_Q8] = peak_dotprod_int8}};

const struct dot_set *dot_set_get(enum cpu_isa isa)
{
    if (isa == CPU_DOTPROD)
        return &dotprod_set;
    return isa == CPU_NEON ? &neon_set : &scalar_set;
}
#else
const struct dot_set *dot_set_get(enum cpu_isa isa)
{
    (void)isa;
    return &scalar_set;
}
#endif

enum act_format dot_act_format(const struct dot_set *set, enum dtype type)
{
    if (type == DTYPE_BF16 && set->round)
        return ACT_BF16;
    return dtype_info(type)->block_weights == 1 ? ACT_F32 : ACT_Q8;
}
