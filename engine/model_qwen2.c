/* Qwen 1.5, 2 and 2.5: biases on q, k and v. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    return weights_attention(m, index, layer, WEIGHTS_BIAS_NEEDED, err) &&
           weights_feed_forward(m, index, layer, err);
}

const struct model_family family_qwen2 = {
    .arch = "qwen2", .rope_mode = ROPE_NEOX, .bind_layer = bind_layer, .forward = decoder_forward};
