/* Qwen 1.5, 2 and 2.5: biases on q, k and v. */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct dense_layer *layer, struct err *err)
{
    return weights_dense_layer(m, index, layer, WEIGHTS_BIAS_NEEDED, err);
}

const struct model_family family_qwen2 = {"qwen2", ROPE_NEOX, bind_layer, dense_forward};
