/* Llama 2 and 3.x, Mistral, and what copies them: plain decoder; q and k rows are stored interleaved in GGUF.
 * With experts: Mixtral. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    if (!weights_attention(m, index, layer, WEIGHTS_BIAS_IF_THERE, err))
        return false;
    return m->config.n_expert ? weights_experts(m, index, layer, err)
                              : weights_feed_forward(m, index, layer, err);
}

const struct model_family family_llama = {.arch = "llama",
                                          .rope_mode = ROPE_INTERLEAVED,
                                          .moe = MOE_MAYBE,
                                          .renormalise = true,
                                          .bind_layer = bind_layer,
                                          .forward = decoder_forward};
