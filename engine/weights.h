/* weights.h: binds tensors of the file to a model under construction, by name and with strict shape checks.
 * Every failure names the tensor, what was found and what was expected. Used by the model's own files while
 * loading. Ownership: what is bound belongs to the caller's model; model_free gives it back. */
#ifndef FERRUM_WEIGHTS_H
#define FERRUM_WEIGHTS_H

#include "engine/model_internal.h"

/* Whether a family's q, k, v products have biases in the file. */
enum weights_bias { WEIGHTS_BIAS_NONE, WEIGHTS_BIAS_NEEDED, WEIGHTS_BIAS_IF_THERE };

/* NULL when absent or misshapen. n_cols is the inner dimension; n_rows 0 means a vector. layer -1: not of a
 * layer. */
const struct tensor *weights_find(struct model *m, int layer, const char *name, size_t n_cols, size_t n_rows,
                                  struct err *err);
bool weights_exists(const struct model *m, int layer, const char *name);

/* A vector of n numbers as f32 in device memory. */
bool weights_vector(struct model *m, int layer, const char *name, size_t n, struct bbuf **out,
                    struct err *err);
/* One matrix [n_rows, n_cols]. */
bool weights_matrix(struct model *m, int layer, const char *name, size_t n_cols, size_t n_rows,
                    struct bweight **out, struct err *err);

/* What every layer has: its norms, the fused q, k, v, and o. */
bool weights_attention(struct model *m, uint32_t index, struct decoder_layer *layer, enum weights_bias bias,
                       struct err *err);
/* Norms on q and k, of n_q and n_k values. */
bool weights_head_norms(struct model *m, uint32_t index, struct decoder_layer *layer, size_t n_q, size_t n_k,
                        struct err *err);
/* gate+up and down of a dense layer. */
bool weights_feed_forward(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err);
/* Router, gate+up and down of all experts, as stacks. */
bool weights_experts(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err);
/* gate+up, down and the gate of the expert every token goes through. */
bool weights_shared_expert(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err);

#endif
