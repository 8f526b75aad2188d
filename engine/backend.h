/* backend.h: the one seam between the engine and whatever computes. `kernels_cpu` and `kernels_cl` implement
 * it.
 *
 * Letters: T tokens of this call (of each of S sequences, where there are several), H query heads, KV
 * key/value heads (H % KV == 0), D head_dim, F ffn width, n/k output/ input features, R rotated dims (even,
 * <= D). Activations are f32, row-major, in struct bbuf; offsets count elements. Weights are [n, k]
 * row-major; a product is out[T, n] = a[T, k] * w[n, k]^T. Outputs are overwritten, never pre-cleared by the
 * caller; a row that adds says +=. No aliasing unless "in place". Buffers may be larger than the named
 * extent; nothing outside is touched. T = 0 is a no-op.
 *
 * Thread rule: one thread at a time per backend (the engine's); the backend may use threads of its own
 * inside. Errors: the checked wrappers backend_* below look at shapes, types and bounds once and answer with
 * a sentence (op, found, expected); an op slot itself only asserts, and returns false for a device fault
 * alone. Ops enqueue; a read back waits. Determinism: a row of a product has the same bits for every T
 * in 1..8 and for every number of threads. */
#ifndef FERRUM_BACKEND_H
#define FERRUM_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/kv_block.h"
#include "engine/tensor.h"

#define WEIGHT_MAX_PARTS 4

struct bbuf;     /* device memory; each backend has its own */
struct bweight;  /* a bound weight; each backend has its own */
struct bexperts; /* a bound stack of experts; each backend has its own */

/* A weight is one or several row blocks with one k, which act as one matrix: out rows are the parts in order.
 * Types may differ (Q and K in Q4_K, V in Q6_K). Tensors are 2-d, dims {k, n}; bytes stay where they are (the
 * file map) for as long as the bweight lives. */
struct weight_part {
    const struct tensor *weight;
    const struct tensor *bias; /* f32 [n], added to the product, or NULL */
};

/* out[T, n] (= or +=) a[a_row .. a_row+T, k] * w^T (+ bias). */
struct op_gemm {
    const struct bweight *w;
    const struct bbuf *a;
    size_t a_row;
    struct bbuf *out;
    size_t n_tokens;
    bool add; /* += : the residual stream */
    /* The weight whose product follows, or NULL: a hint, for what waits to fetch its beginning. */
    const struct bweight *next;
};

/* out[T, D] = rows ids[T] of the table (any weight type); an id outside is an error. */
struct op_embed {
    const struct bweight *table;
    const int32_t *ids; /* host memory */
    struct bbuf *out;
    size_t n_tokens;
};

/* out = x / sqrt(mean(x^2) + eps) * w, per row of width n; out may be x. */
struct op_rms_norm {
    const struct bbuf *x; /* [T, n] */
    size_t x_row;
    const struct bbuf *w; /* f32 [n] */
    struct bbuf *out;     /* [T, n] */
    size_t n_tokens, n;
    /* stride > 0: a part of wider rows, in place: row t is n values at t * stride + offset of x and out. */
    size_t stride, offset;
    float eps;
};

/* out[T, F] = silu(gu[T, 0..F)) * gu[T, F..2F), finite for finite input. silu(x) = x / (1 + exp(-x)). */
struct op_silu_mul {
    const struct bbuf *gate_up; /* [T, 2F], gate first */
    struct bbuf *out;           /* [T, F] */
    size_t n_tokens, n_ff;
};

/* out[T, F] = silu(x[T] * gate^T) * (x[T] * up^T): a product and op_silu_mul in one. */
struct op_gate_up {
    const struct bweight *w; /* [2F, k], gate rows first */
    const struct bbuf *x;    /* [T, k] */
    struct bbuf *product;    /* [T, 2F], to work in: afterwards it holds anything */
    struct bbuf *out;        /* [T, F] */
    size_t n_tokens;
    const struct bweight *next; /* as in op_gemm */
};

/* Bytes of one position of one KV head, K or V: 2D in f16, 4D in f32, D + 4 in int8 (its scale included). 0
 * when head_dim is no whole number of the type's blocks. */
size_t kv_row_bytes(enum dtype type, size_t head_dim);

/* ---- mixture of experts: E experts, K of them for each token, F their width, P = T*K pairs ---- */

/* Which experts a token goes to: ids[T, K] (i32) are those of the largest logits, heaviest first, ties to the
 * lower id; weights[T, K] (f32) their shares of the softmax over all E, divided by their sum if renormalise,
 * then times scale. No id ever leaves 0 .. E-1, whatever the logits are; NaN is the least of them. One that
 * is NaN or +infinity makes all weights of its token NaN: the model then gives no finite number for the next
 * token, which is where the engine says so. */
struct op_route {
    const struct bbuf *logits; /* f32 [T, E] */
    struct bbuf *ids, *weights;
    size_t n_tokens, n_experts, n_used; /* 1 <= K <= E */
    bool renormalise;
    float scale;
    size_t ids_row; /* of ids, where they begin: rows in front are others' */
};

/* out[t*K + s, F] = silu(x[t] * gate^T) * (x[t] * up^T) of expert ids[t, s]. An id outside 0 .. E-1 is an
 * error where the backend's memory can be looked at (buf_host); others keep their reads inside the stack. */
struct op_moe_gate_up {
    const struct bexperts *w; /* [E, 2F, k], gate rows first */
    const struct bbuf *x;     /* f32 [T, k] */
    const struct bbuf *ids;   /* i32 [T, K], of op_route */
    struct bbuf *out;         /* f32 [P, F] */
    size_t n_tokens, n_used;
    const struct bexperts *next; /* whose op_moe_down follows, or NULL: a hint as in op_gemm */
    size_t ids_row;              /* as in op_route */
};

/* out[t*K + s, n] = x[t*K + s] * w^T of expert ids[t, s]. */
struct op_moe_down {
    const struct bexperts *w; /* [E, n, F] */
    const struct bbuf *x;     /* f32 [P, F] */
    const struct bbuf *ids;
    struct bbuf *out; /* f32 [P, n] */
    size_t n_tokens, n_used;
    const struct bweight *next; /* a hint as in op_gemm */
    size_t ids_row;             /* as in op_route */
};

/* out[t] += sum over s, in order, of weights[t, s] * slots[t*K + s]. */
struct op_weighted_sum {
    const struct bbuf *slots;   /* f32 [P, n] */
    const struct bbuf *weights; /* f32 [T, K] */
    struct bbuf *out;           /* f32 [T, n] */
    size_t n_tokens, n_used, n;
};

/* out[t] += x[t] / (1 + exp(-gate[t])): the shared expert of Qwen 2. */
struct op_add_gated {
    const struct bbuf *x;    /* f32 [T, n] */
    const struct bbuf *gate; /* f32 [T] */
    struct bbuf *out;        /* f32 [T, n] */
    size_t n_tokens, n;
};

/* The k largest finite numbers of row `row` of x [.., n], largest first, of equals the lower id, which is the
 * place in the row. Where fewer are finite the last ids are -1. */
#define OP_LARGEST_MAX 64
struct logit {
    float value;
    int32_t id;
};
struct op_largest {
    const struct bbuf *x;
    size_t row, n, k; /* 1 <= k <= OP_LARGEST_MAX */
    struct bbuf *out; /* struct logit [k] */
};

/* Where one layer's K and V live. The pool holds pages of page_bytes; a page holds KV_BLOCK_TOKENS positions
 * of all layers as [layer][K, V][KV head][rows]: k_offset and v_offset pick this layer's slabs, in bytes.
 * Position p is row p % KV_BLOCK_TOKENS of page table[p / KV_BLOCK_TOKENS].
 *
 * The rows of one head are KV_BLOCK_TOKENS * kv_row_bytes: [KV_BLOCK_TOKENS][D] values in the KV type. In
 * int8 f32 [KV_BLOCK_TOKENS] follows, the rows' scales: a value is its integer (-127 .. 127) times the scale,
 * which is the largest magnitude of the row / 127, 0 for a row of zeros.
 *
 * Where an operation takes several sequences, table has a row of n_pages for each; what lies behind the pages
 * of a sequence's positions is not used. */
struct kv_layer {
    struct bbuf *pool;
    enum dtype type; /* DTYPE_F16, DTYPE_F32 or DTYPE_I8 */
    size_t page_bytes;
    size_t k_offset, v_offset;
    const uint32_t *table; /* host memory, [pages] or [S, pages] */
    size_t n_pages;        /* entries of table, or of a row of it */
};

/* Rotation of a pair (x0, x1): x0' = x0*c - x1*s, x1' = x1*c + x0*s. */
enum rope_mode {
    ROPE_NEOX = 2,        /* dimension i pairs with i + R/2 (Qwen) */
    ROPE_INTERLEAVED = 3, /* 2i with 2i+1 (Llama as stored in GGUF) */
};

/* Splits fused rows into q, k, v; optional RMS norm per head on q and k; rotates q and k; writes q out
 * head-major and k, v (converted to the KV type, round to nearest even) into the paged cache at positions pos
 * .. pos+T. */
struct op_qkv_rope_cache {
    const struct bbuf *qkv;             /* [T, H*D + 2*KV*D] */
    struct bbuf *q;                     /* out: [H, T, D] */
    const struct bbuf *q_norm, *k_norm; /* f32 [D], both or neither (NULL) */
    float eps;
    const struct bbuf *cos, *sin; /* f32 [n_ctx, R/2], made in f64, scaling included */
    enum rope_mode mode;
    size_t n_tokens, n_head, n_kv_head, head_dim, n_rot;
    size_t pos;
    struct kv_layer kv;
};

/* Causal attention over the paged cache, of one sequence or of several, which may have pages in common.
 * Sequence s has lens[s] positions, and its T tokens of this call are the last of them: the one at position p
 * sees positions max(0, p+1-window) <= j <= p; window 0 is off. Head h reads KV head h / (H/KV). Online
 * softmax in f32. A sequence's rows have the bits that they have in a call of its own. */
struct op_attention {
    const struct bbuf *q; /* [S, H, T, D] */
    struct bbuf *out;     /* [S, T, H, D] token-major, ready for the output projection */
    float scale;
    size_t n_seqs, n_tokens, n_head, n_kv_head, head_dim; /* S >= 1 */
    const uint32_t *lens;                                 /* host memory, [S], each at least T */
    size_t window;
    struct kv_layer kv;
};

/* How a product is computed: what peaks are measured of. */
enum arith { ARITH_F32, ARITH_INT8, ARITH_BF16, ARITH_N };

struct experts_shape {
    size_t n_experts, n, k; /* per expert [n, k] */
    size_t expert_bytes;    /* of one expert, all parts */
};

struct buf_room {
    uint64_t largest; /* bytes of one buffer */
    uint64_t left;    /* of all of them; UINT64_MAX: the memory is the system's (memory_left.h) */
};

/* Every slot is present unless marked (optional). ctx is the first argument of all. */
struct backend_ops {
    const char *name; /* "cpu", "opencl" */
    void (*close)(void *ctx);
    /* One line for people: "cpu x2 avx2". Lives as long as the backend. */
    const char *(*describe)(void *ctx);
    int (*n_threads)(void *ctx); /* host threads used */
    bool (*supports_weight)(void *ctx, enum dtype type);
    bool (*supports_kv)(void *ctx, enum dtype type);

    /* Zero-filled; NULL with ERR_MEMORY. Large buffers take memory only when touched, where the system can.
     */
    struct bbuf *(*buf_new)(void *ctx, size_t n_bytes, struct err *err);
    void (*buf_free)(void *ctx, struct bbuf *buf);
    bool (*buf_write)(void *ctx, struct bbuf *buf, size_t offset_bytes, const void *src, size_t n_bytes);
    bool (*buf_read)(void *ctx, const struct bbuf *buf, size_t offset_bytes, void *dst, size_t n_bytes);
    size_t (*buf_bytes)(const struct bbuf *buf);
    /* What there is room for now. (optional: what the system's memory leaves) */
    void (*buf_room)(void *ctx, struct buf_room *out);
    /* The bytes themselves, where they lie in host memory and every op has finished when it returns: others
     * may read them while ops touch other places. (optional) */
    void *(*buf_host)(const struct bbuf *buf);

    struct bweight *(*weight_bind)(void *ctx, const struct weight_part *parts, size_t n_parts,
                                   struct err *err);
    void (*weight_free)(void *ctx, struct bweight *w);
    void (*weight_shape)(const struct bweight *w, size_t *n, size_t *k, size_t *n_bytes);

    /* Tensors are 3-d, dims {k, n, E}; types of the parts may differ. */
    struct bexperts *(*experts_bind)(void *ctx, const struct tensor *const *parts, size_t n_parts,
                                     struct err *err);
    void (*experts_free)(void *ctx, struct bexperts *w);
    void (*experts_shape)(const struct bexperts *w, struct experts_shape *out);

    bool (*gemm)(void *ctx, const struct op_gemm *op);
    bool (*embed)(void *ctx, const struct op_embed *op);
    bool (*rms_norm)(void *ctx, const struct op_rms_norm *op);
    bool (*silu_mul)(void *ctx, const struct op_silu_mul *op);
    bool (*gate_up)(void *ctx, const struct op_gate_up *op); /* (optional: gemm, then silu_mul) */
    bool (*qkv_rope_cache)(void *ctx, const struct op_qkv_rope_cache *op);
    bool (*attention)(void *ctx, const struct op_attention *op);
    bool (*route)(void *ctx, const struct op_route *op);
    bool (*moe_gate_up)(void *ctx, const struct op_moe_gate_up *op);
    bool (*moe_down)(void *ctx, const struct op_moe_down *op);
    bool (*weighted_sum)(void *ctx, const struct op_weighted_sum *op);
    bool (*add_gated)(void *ctx, const struct op_add_gated *op);
    /* (optional: where reading a row takes long) */
    bool (*largest)(void *ctx, const struct op_largest *op);
    bool (*sync)(void *ctx);
    /* The device has failed, what it holds is gone, and every operation refuses. (optional: never) */
    bool (*is_lost)(void *ctx);

    /* What operations take on a device, sampled; nothing waits for it. Between begin and end each mark names,
     * by a number of the caller's, what was enqueued since the one before; end follows a read back, and hands
     * out a time for each mark with any. (optional: all three or none) */
    bool (*time_begin)(void *ctx);
    void (*time_mark)(void *ctx, uint32_t number);
    void (*time_end)(void *ctx, void (*take)(void *arg, uint32_t number, uint64_t ns), void *arg);

    /* Plain reads of [p, p+n) by the backend's own threads; returns GB/s. For `bench`. (optional) */
    double (*read_bandwidth)(void *ctx, const void *p, size_t n_bytes);
    /* How products with weights of that type are computed, and how many multiply-adds a second the backend's
     * own threads do that way on registers alone, over some milliseconds. For `bench`. (optional, both or
     * none) */
    enum arith (*weight_arith)(void *ctx, enum dtype type);
    double (*arith_peak)(void *ctx, enum arith arith);
    /* In idle time, again and again while it returns true: what makes later operations faster and changes no
     * number. Takes some milliseconds; a fault shows in the next operation. (optional) */
    bool (*idle)(void *ctx);
    /* Between turns: threads stop spinning until the next op. (optional) */
    void (*park)(void *ctx);
};

/* Opened by app, closed last. */
struct backend {
    const struct backend_ops *ops;
    void *ctx;
};
void backend_close(struct backend *b);
bool backend_is_lost(const struct backend *b);
/* Counts up when a kernel's results change in a single bit, so that --kv-exact refuses what an older program
 * computed. */
#define BACKEND_KERNELS_REVISION 4
/* What KV rows say of who computed them: a description without the number of threads, on which no number
 * depends, and the revision: "cpu x2 avx2" is "cpu avx2 r4". */
void backend_kernels_name(const char *description, char *out, size_t n);

/* The checked calls the engine uses; each fills err and returns false on a wrong shape, type, bound or device
 * fault. */
struct bbuf *backend_buf_new(struct backend *b, size_t n_bytes, struct err *err);
void backend_buf_free(struct backend *b, struct bbuf *buf);
bool backend_buf_write(struct backend *b, struct bbuf *buf, size_t offset_bytes, const void *src,
                       size_t n_bytes, struct err *err);
bool backend_buf_read(struct backend *b, const struct bbuf *buf, size_t offset_bytes, void *dst,
                      size_t n_bytes, struct err *err);
struct bweight *backend_weight_bind(struct backend *b, const struct weight_part *parts, size_t n_parts,
                                    struct err *err);
void backend_weight_free(struct backend *b, struct bweight *w);
struct bexperts *backend_experts_bind(struct backend *b, const struct tensor *const *parts, size_t n_parts,
                                      struct err *err);
void backend_experts_free(struct backend *b, struct bexperts *w);
bool backend_route(struct backend *b, const struct op_route *op, struct err *err);
bool backend_moe_gate_up(struct backend *b, const struct op_moe_gate_up *op, struct err *err);
bool backend_moe_down(struct backend *b, const struct op_moe_down *op, struct err *err);
bool backend_weighted_sum(struct backend *b, const struct op_weighted_sum *op, struct err *err);
bool backend_add_gated(struct backend *b, const struct op_add_gated *op, struct err *err);
/* Not where the slot is missing. */
bool backend_largest(struct backend *b, const struct op_largest *op, struct err *err);
bool backend_gemm(struct backend *b, const struct op_gemm *op, struct err *err);
bool backend_embed(struct backend *b, const struct op_embed *op, struct err *err);
bool backend_rms_norm(struct backend *b, const struct op_rms_norm *op, struct err *err);
bool backend_silu_mul(struct backend *b, const struct op_silu_mul *op, struct err *err);
bool backend_gate_up(struct backend *b, const struct op_gate_up *op, struct err *err);
bool backend_qkv_rope_cache(struct backend *b, const struct op_qkv_rope_cache *op, struct err *err);
bool backend_attention(struct backend *b, const struct op_attention *op, struct err *err);

#endif
