/* OLMoE: norms over the whole rows of q and k, experts in every layer, their weights as the softmax gives
 * them. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    const struct model_config *c = &m->config;
    return weights_attention(m, index, layer, WEIGHTS_BIAS_NONE, err) &&
           weights_head_norms(m, index, layer, (size_t)c->n_head * c->head_dim,
                              (size_t)c->n_kv_head * c->head_dim, err) &&
           weights_experts(m, index, layer, err);
}

const struct model_family family_olmoe = {.arch = "olmoe",
                                          .rope_mode = ROPE_NEOX,
                                          .moe = MOE_ALWAYS,
                                          .norms_whole_rows = true,
                                          .bind_layer = bind_layer,
                                          .forward = decoder_forward};
