/* Qwen 3 with experts (30B-A3B, 235B-A22B): Qwen 3's attention, experts in every layer. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    return weights_attention(m, index, layer, WEIGHTS_BIAS_NONE, err) &&
           weights_head_norms(m, index, layer, m->config.head_dim, m->config.head_dim, err) &&
           weights_experts(m, index, layer, err);
}

const struct model_family family_qwen3moe = {.arch = "qwen3moe",
                                             .rope_mode = ROPE_NEOX,
                                             .moe = MOE_ALWAYS,
                                             .renormalise = true,
                                             .bind_layer = bind_layer,
                                             .forward = decoder_forward};
