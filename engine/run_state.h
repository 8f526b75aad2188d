/* run_state.h: the buffers a forward pass writes: activations of one batch, the rope tables, logits.
 *
 * Letters as in backend.h; N = n_batch rows, E n_embd, V n_vocab.
 * Ownership: owns its buffers; the backend outlives it. Belongs to one thread. */
#ifndef FERRUM_RUN_STATE_H
#define FERRUM_RUN_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/model.h"
#include "engine/rope.h"

/* Rows of logits computed at once when all are wanted: within 1..8 a row's bits do not depend on the count.
 */
#define RUN_LOGIT_ROWS 8

struct run_state {
    struct backend *backend;
    size_t n_batch;
    struct bbuf *x;       /* [N, E] the residual stream */
    struct bbuf *h;       /* [N, E] its norm */
    struct bbuf *qkv;     /* [N, H*D + 2*KV*D] */
    struct bbuf *q;       /* [H, T, D] */
    struct bbuf *attn;    /* [N, H*D] */
    struct bbuf *gate_up; /* [N, 2F] */
    struct bbuf *ff;      /* [N, F] */
    /* Mixture of experts, else NULL: X experts, K used, G their width. */
    struct bbuf *router_logits;  /* [N, X] */
    struct bbuf *expert_ids;     /* i32 [N, K]; [layers, N, K] where the host does not see it */
    struct bbuf *expert_weights; /* [N, K] */
    struct bbuf *expert_ff;      /* [N*K, G] */
    struct bbuf *expert_out;     /* [N*K, E] */
    struct bbuf *logits;         /* [RUN_LOGIT_ROWS, V] */
    struct bbuf *largest;   /* struct logit [OP_LARGEST_MAX], where the backend chooses them, else NULL */
    struct bbuf *cos, *sin; /* [n_ctx, R/2], the first n_turned rows */
    struct rope_params rope;
    size_t n_ctx, n_turned;
    float *turns; /* host, cos and sin of the rows on their way to the device */
};

bool run_state_init(struct run_state *r, struct backend *backend, const struct model_config *c,
                    const struct rope_params *rope, size_t n_batch, size_t n_ctx, struct err *err);
/* Rows of the rope tables for the positions 0 .. n-1 <= n_ctx. A long context has millions of angles, and
 * most chats need few of them. Allocates nothing. */
bool run_state_turn(struct run_state *r, size_t n, struct err *err);
void run_state_fini(struct run_state *r);

#endif
