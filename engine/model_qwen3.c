/* Qwen 3, dense: an RMS norm per head on q and k before the rotation, no biases. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    return weights_attention(m, index, layer, WEIGHTS_BIAS_NONE, err) &&
           weights_head_norms(m, index, layer, m->config.head_dim, m->config.head_dim, err) &&
           weights_feed_forward(m, index, layer, err);
}

const struct model_family family_qwen3 = {
    .arch = "qwen3", .rope_mode = ROPE_NEOX, .bind_layer = bind_layer, .forward = decoder_forward};
