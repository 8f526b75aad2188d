/* Qwen 3, dense: an RMS norm per head on q and k before the rotation, no biases. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct dense_layer *layer, struct err *err)
{
    return weights_dense_layer(m, index, layer, WEIGHTS_BIAS_NONE, err) &&
           weights_head_norms(m, index, layer, err);
}

const struct model_family family_qwen3 = {"qwen3", ROPE_NEOX, bind_layer, dense_forward};
