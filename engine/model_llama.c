/* Llama 2 and 3.x, Mistral, and what copies them: plain decoder; q and k rows are stored interleaved in GGUF.
 */
#include "engine/weights.h"

static bool bind_layer(struct model *m, uint32_t index, struct dense_layer *layer, struct err *err)
{
    return weights_dense_layer(m, index, layer, WEIGHTS_BIAS_IF_THERE, err);
}

const struct model_family family_llama = {"llama", ROPE_INTERLEAVED, bind_layer, dense_forward};
