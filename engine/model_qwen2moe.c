/* Qwen 1.5 and 2 with experts (A2.7B, 57B-A14B): biases on q, k and v; beside the experts a shared one that
 * every token goes through, weighed by a gate of its own. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    return weights_attention(m, index, layer, WEIGHTS_BIAS_NEEDED, err) &&
           weights_experts(m, index, layer, err) && weights_shared_expert(m, index, layer, err);
}

const struct model_family family_qwen2moe = {.arch = "qwen2moe",
                                             .rope_mode = ROPE_NEOX,
                                             .moe = MOE_ALWAYS,
                                             .bind_layer = bind_layer,
                                             .forward = decoder_forward};
