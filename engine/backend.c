/* backend.c owns the checks in front of every operation: shapes, types and bounds, once, in one place for all
 * backends. What passes here is safe to compute; an operation itself only asserts. */
#include "engine/backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"

/* One operation being checked: where its errors go and what they begin with. */
struct check {
    struct backend *b;
    const char *op;
    struct err *err;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct check *c, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(c->err, ERR_RUNTIME, "%s: %s", c->op, text);
}

/* The answer of an operation: false is a device fault. */
static bool done(const struct check *c, bool ok)
{
    return ok || fail(c, "the %s backend reports a fault of the device; start again, or use --backend cpu",
                      c->b->ops->name);
}

/* Whether buf has room for rows x width elements. */
static bool holds(const struct check *c, const char *what, const struct bbuf *buf, size_t rows, size_t width,
                  size_t element_bytes)
{
    size_t bytes;
    if (!buf)
        return fail(c, "%s is missing", what);
    if (!mem_mul(rows, width, &bytes) || !mem_mul(bytes, element_bytes, &bytes))
        return fail(c, "%s of %zu rows of %zu is larger than memory", what, rows, width);
    if (bytes > c->b->ops->buf_bytes(buf))
        return fail(c, "%s holds %zu bytes, expected %zu rows of %zu, %zu bytes", what,
                    c->b->ops->buf_bytes(buf), rows, width, bytes);
    return true;
}

static bool holds_f32(const struct check *c, const char *what, const struct bbuf *buf, size_t rows,
                      size_t width)
{
    return holds(c, what, buf, rows, width, sizeof(float));
}

/* Rows first .. first + n of buf. */
static bool holds_rows(const struct check *c, const char *what, const struct bbuf *buf, size_t first,
                       size_t n, size_t width)
{
    size_t rows;
    if (!mem_add(first, n, &rows))
        return fail(c, "%s starts at row %zu, past any memory", what, first);
    return holds_f32(c, what, buf, rows, width);
}

static bool positive(const struct check *c, const char *what, size_t n)
{
    return n > 0 || fail(c, "%s is 0, expected at least 1", what);
}

static bool apart(const struct check *c, const char *what, const struct bbuf *out, const struct bbuf *in)
{
    return out != in || fail(c, "%s and the output are the same buffer, expected two", what);
}

void backend_close(struct backend *b)
{
    if (b->ops)
        b->ops->close(b->ctx);
    *b = (struct backend){0};
}

bool backend_is_lost(const struct backend *b)
{
    return b->ops->is_lost && b->ops->is_lost(b->ctx);
}

void backend_kernels_name(const char *at, char *out, size_t n)
{
    size_t used = 0;
    char revision[12];
    snprintf(revision, sizeof revision, " r%d", BACKEND_KERNELS_REVISION);
    n -= strlen(revision); /* a long name loses its end, not this */
    out[0] = '\0';
    while (*at && used < n) {
        size_t word = strcspn(at, " ");
        bool is_threads = word > 1 && at[0] == 'x' && strspn(at + 1, "0123456789") == word - 1;
        if (!is_threads)
            used += (size_t)snprintf(out + used, n - used, "%s%.*s", used ? " " : "", (int)word, at);
        at += word + strspn(at + word, " ");
    }
    strcat(out, revision);
}

struct bbuf *backend_buf_new(struct backend *b, size_t n_bytes, struct err *err)
{
    return b->ops->buf_new(b->ctx, n_bytes, err);
}

void backend_buf_free(struct backend *b, struct bbuf *buf)
{
    if (buf)
        b->ops->buf_free(b->ctx, buf);
}

static bool check_range(const struct check *c, const struct bbuf *buf, size_t offset, size_t n)
{
    if (!buf)
        return fail(c, "the buffer is missing");
    size_t has = c->b->ops->buf_bytes(buf);
    if (offset > has || n > has - offset)
        return fail(c, "bytes %zu and the %zu that follow lie outside a buffer of %zu", offset, n, has);
    return true;
}

bool backend_buf_write(struct backend *b, struct bbuf *buf, size_t offset_bytes, const void *src,
                       size_t n_bytes, struct err *err)
{
    struct check c = {b, "buf_write", err};
    return check_range(&c, buf, offset_bytes, n_bytes) &&
           done(&c, b->ops->buf_write(b->ctx, buf, offset_bytes, src, n_bytes));
}

bool backend_buf_read(struct backend *b, const struct bbuf *buf, size_t offset_bytes, void *dst,
                      size_t n_bytes, struct err *err)
{
    struct check c = {b, "buf_read", err};
    return check_range(&c, buf, offset_bytes, n_bytes) &&
           done(&c, b->ops->buf_read(b->ctx, buf, offset_bytes, dst, n_bytes));
}

static bool is_matrix(const struct tensor *t)
{
    return t->n_dims >= 1 && t->n_dims <= 2 && t->dims[0] > 0 && t->dims[1] > 0;
}

static bool check_part(struct backend *b, const struct weight_part *part, size_t k, struct err *err)
{
    const struct tensor *w = part->weight, *bias = part->bias;
    size_t row_bytes, bytes;
    if (!b->ops->supports_weight(b->ctx, w->type))
        return err_set(
            err, ERR_MODEL,
            "tensor %s: the %s backend has no kernels for %s; use another quantisation of the model", w->name,
            b->ops->name, dtype_info(w->type)->name);
    if (!is_matrix(w) || w->dims[0] != k)
        return err_set(
            err, ERR_MODEL,
            "tensor %s: found %d dimensions with rows of %zu, expected 2 with rows of %zu; the file is "
            "made for another program: get it again from its source",
            w->name, w->n_dims, w->dims[0], k);
    if (!dtype_row_bytes(w->type, k, &row_bytes) || !mem_mul(row_bytes, w->dims[1], &bytes) ||
        bytes != w->n_bytes)
        return err_set(err, ERR_MODEL,
                       "tensor %s: found %zu bytes, which are not %zu rows of %zu in %s; the file is "
                       "damaged: get it again from its source",
                       w->name, w->n_bytes, w->dims[1], k, dtype_info(w->type)->name);
    if (bias && (bias->type != DTYPE_F32 || bias->dims[0] != w->dims[1] ||
                 bias->n_bytes != w->dims[1] * sizeof(float)))
        return err_set(
            err, ERR_MODEL,
            "tensor %s: found %zu elements of %s, expected %zu of f32, one per row of %s; the file is "
            "damaged: get it again from its source",
            bias->name, bias->dims[0], dtype_info(bias->type)->name, w->dims[1], w->name);
    return true;
}

struct bweight *backend_weight_bind(struct backend *b, const struct weight_part *parts, size_t n_parts,
                                    struct err *err)
{
    if (n_parts == 0 || n_parts > WEIGHT_MAX_PARTS) {
        err_set(err, ERR_RUNTIME, "weight_bind: found %zu parts, expected 1 to %d", n_parts,
                WEIGHT_MAX_PARTS);
        return NULL;
    }
    for (size_t i = 0; i < n_parts; i++)
        if (!check_part(b, &parts[i], parts[0].weight->dims[0], err))
            return NULL;
    return b->ops->weight_bind(b->ctx, parts, n_parts, err);
}

void backend_weight_free(struct backend *b, struct bweight *w)
{
    if (w)
        b->ops->weight_free(b->ctx, w);
}

bool backend_gemm(struct backend *b, const struct op_gemm *op, struct err *err)
{
    struct check c = {b, "gemm", err};
    size_t n, k, n_bytes;
    if (op->n_tokens == 0)
        return true;
    if (!op->w)
        return fail(&c, "the weight is missing");
    b->ops->weight_shape(op->w, &n, &k, &n_bytes);
    return holds_rows(&c, "the input", op->a, op->a_row, op->n_tokens, k) &&
           holds_f32(&c, "the output", op->out, op->n_tokens, n) && apart(&c, "the input", op->out, op->a) &&
           done(&c, b->ops->gemm(b->ctx, op));
}

bool backend_embed(struct backend *b, const struct op_embed *op, struct err *err)
{
    struct check c = {b, "embed", err};
    size_t n, k, n_bytes;
    if (op->n_tokens == 0)
        return true;
    if (!op->table || !op->ids)
        return fail(&c, "the table or the token ids are missing");
    b->ops->weight_shape(op->table, &n, &k, &n_bytes);
    for (size_t i = 0; i < op->n_tokens; i++)
        if (op->ids[i] < 0 || (size_t)op->ids[i] >= n)
            return fail(&c, "token %zu has id %d, expected 0 to %zu", i, op->ids[i], n - 1);
    return holds_f32(&c, "the output", op->out, op->n_tokens, k) && done(&c, b->ops->embed(b->ctx, op));
}

static bool check_norm_part(const struct check *c, const struct op_rms_norm *op)
{
    if (op->x != op->out || op->n > op->stride || op->offset > op->stride - op->n)
        return fail(c, "%zu values at %zu of rows of %zu, expected a part of them, in place", op->n,
                    op->offset, op->stride);
    return positive(c, "the width", op->n) && holds_f32(c, "the weight", op->w, 1, op->n) &&
           holds_f32(c, "the rows", op->out, op->n_tokens, op->stride);
}

bool backend_rms_norm(struct backend *b, const struct op_rms_norm *op, struct err *err)
{
    struct check c = {b, "rms_norm", err};
    if (op->n_tokens == 0)
        return true;
    /* In place means the same rows: with an offset, a row would be read after it was written. */
    if (op->x == op->out && op->x_row != 0)
        return fail(&c, "in place from row %zu, expected row 0", op->x_row);
    if (op->stride)
        return check_norm_part(&c, op) && done(&c, b->ops->rms_norm(b->ctx, op));
    return positive(&c, "the width", op->n) &&
           holds_rows(&c, "the input", op->x, op->x_row, op->n_tokens, op->n) &&
           holds_f32(&c, "the weight", op->w, 1, op->n) &&
           holds_f32(&c, "the output", op->out, op->n_tokens, op->n) &&
           done(&c, b->ops->rms_norm(b->ctx, op));
}

bool backend_silu_mul(struct backend *b, const struct op_silu_mul *op, struct err *err)
{
    struct check c = {b, "silu_mul", err};
    size_t width;
    if (op->n_tokens == 0 || op->n_ff == 0)
        return true;
    if (!mem_mul(op->n_ff, 2, &width))
        return fail(&c, "a width of 2 times %zu is larger than memory", op->n_ff);
    return holds_f32(&c, "the input", op->gate_up, op->n_tokens, width) &&
           holds_f32(&c, "the output", op->out, op->n_tokens, op->n_ff) &&
           apart(&c, "the input", op->out, op->gate_up) && done(&c, b->ops->silu_mul(b->ctx, op));
}

static bool gate_up_apart(struct backend *b, const struct op_gate_up *op, size_t n_ff)
{
    struct op_gemm gemm = {
        .w = op->w, .a = op->x, .out = op->product, .n_tokens = op->n_tokens, .next = op->next};
    struct op_silu_mul silu = {
        .gate_up = op->product, .out = op->out, .n_tokens = op->n_tokens, .n_ff = n_ff};
    return b->ops->gemm(b->ctx, &gemm) && b->ops->silu_mul(b->ctx, &silu);
}

bool backend_gate_up(struct backend *b, const struct op_gate_up *op, struct err *err)
{
    struct check c = {b, "gate_up", err};
    size_t n, k, n_bytes;
    if (op->n_tokens == 0)
        return true;
    if (!op->w)
        return fail(&c, "the weight is missing");
    b->ops->weight_shape(op->w, &n, &k, &n_bytes);
    if (n % 2)
        return fail(&c, "found %zu rows of gate and up, expected an even number", n);
    return holds_f32(&c, "the input", op->x, op->n_tokens, k) &&
           holds_f32(&c, "the product", op->product, op->n_tokens, n) &&
           holds_f32(&c, "the output", op->out, op->n_tokens, n / 2) &&
           apart(&c, "the input", op->product, op->x) && apart(&c, "the input", op->out, op->x) &&
           apart(&c, "the product", op->out, op->product) &&
           done(&c, b->ops->gate_up ? b->ops->gate_up(b->ctx, op) : gate_up_apart(b, op, n / 2));
}

#define HEAD_DIM_MAX 512

static bool check_heads(const struct check *c, size_t n_head, size_t n_kv_head, size_t head_dim)
{
    if (n_head == 0 || n_kv_head == 0 || n_head % n_kv_head != 0)
        return fail(c, "found %zu heads over %zu KV heads, expected a whole number each", n_head, n_kv_head);
    if (head_dim == 0 || head_dim % 2 != 0 || head_dim > HEAD_DIM_MAX)
        return fail(c, "found a head of %zu, expected an even number up to %d", head_dim, HEAD_DIM_MAX);
    return true;
}

size_t kv_row_bytes(enum dtype type, size_t head_dim)
{
    size_t values;
    if (!dtype_row_bytes(type, head_dim, &values))
        return 0;
    return values + (type == DTYPE_I8 ? sizeof(float) : 0);
}

/* Offsets and strides in a page are multiples of this, so that values and scales lie at their alignment. */
static size_t kv_align(enum dtype type)
{
    return type == DTYPE_I8 ? sizeof(float) : dtype_info(type)->block_bytes;
}

/* Whether a slab of one layer's K or V lies inside a page, at an address of its type. */
static bool check_slab(const struct check *c, const char *what, const struct kv_layer *kv, size_t offset,
                       size_t slab_bytes)
{
    if (offset % kv_align(kv->type) != 0 || offset > kv->page_bytes || slab_bytes > kv->page_bytes - offset)
        return fail(c, "%s of %zu bytes at offset %zu does not fit a page of %zu", what, slab_bytes, offset,
                    kv->page_bytes);
    return true;
}

/* The pages of a sequence's positions first .. end, end > first. */
static bool check_pages(const struct check *c, const struct kv_layer *kv, size_t seq, size_t first,
                        size_t end)
{
    size_t has = c->b->ops->buf_bytes(kv->pool), last_page = (end - 1) / KV_BLOCK_TOKENS;
    if (!kv->table || last_page >= kv->n_pages)
        return fail(c, "position %zu of sequence %zu needs page %zu, the table has %zu", end - 1, seq,
                    last_page, kv->table ? kv->n_pages : 0);
    const uint32_t *table = kv->table + seq * kv->n_pages;
    for (size_t i = first / KV_BLOCK_TOKENS; i <= last_page; i++)
        if (table[i] >= has / kv->page_bytes)
            return fail(c, "entry %zu of the page table of sequence %zu is %u, the pool has %zu pages", i,
                        seq, table[i], has / kv->page_bytes);
    return true;
}

/* All but the pages. */
static bool check_kv(const struct check *c, const struct kv_layer *kv, size_t n_kv_head, size_t head_dim)
{
    size_t slab;
    if (!kv->pool || kv->page_bytes == 0)
        return fail(c, "the KV pool is missing");
    if (!c->b->ops->supports_kv(c->b->ctx, kv->type))
        return fail(c, "the %s backend has no KV cache in %s", c->b->ops->name, dtype_info(kv->type)->name);
    if (!mem_mul(n_kv_head, KV_BLOCK_TOKENS * kv_row_bytes(kv->type, head_dim), &slab) ||
        kv->page_bytes % kv_align(kv->type) != 0)
        return fail(c, "pages of %zu bytes do not hold %zu KV heads of %zu", kv->page_bytes, n_kv_head,
                    head_dim);
    return check_slab(c, "K", kv, kv->k_offset, slab) && check_slab(c, "V", kv, kv->v_offset, slab);
}

static bool check_rope(const struct check *c, const struct op_qkv_rope_cache *op, size_t end)
{
    if (op->mode != ROPE_NEOX && op->mode != ROPE_INTERLEAVED)
        return fail(c, "found rope mode %d, expected %d or %d", (int)op->mode, ROPE_NEOX, ROPE_INTERLEAVED);
    if (op->n_rot % 2 != 0 || op->n_rot > op->head_dim)
        return fail(c, "found %zu rotated dimensions, expected an even number up to %zu", op->n_rot,
                    op->head_dim);
    if (!op->q_norm != !op->k_norm)
        return fail(c, "found one norm weight, expected one each for q and k, or none");
    if (op->q_norm && !(holds_f32(c, "the norm of q", op->q_norm, 1, op->head_dim) &&
                        holds_f32(c, "the norm of k", op->k_norm, 1, op->head_dim)))
        return false;
    return holds_f32(c, "the table of cosines", op->cos, end, op->n_rot / 2) &&
           holds_f32(c, "the table of sines", op->sin, end, op->n_rot / 2);
}

bool backend_qkv_rope_cache(struct backend *b, const struct op_qkv_rope_cache *op, struct err *err)
{
    struct check c = {b, "qkv_rope_cache", err};
    size_t end, heads, width;
    if (op->n_tokens == 0)
        return true;
    if (!check_heads(&c, op->n_head, op->n_kv_head, op->head_dim))
        return false;
    if (!mem_add(op->pos, op->n_tokens, &end))
        return fail(&c, "position %zu is past any memory", op->pos);
    if (!mem_mul(op->n_kv_head, 2, &heads) || !mem_add(heads, op->n_head, &heads) ||
        !mem_mul(heads, op->head_dim, &width))
        return fail(&c, "%zu heads of %zu are larger than memory", op->n_head, op->head_dim);
    return holds_f32(&c, "the input", op->qkv, op->n_tokens, width) &&
           holds_f32(&c, "q", op->q, op->n_tokens, op->n_head * op->head_dim) &&
           apart(&c, "the input", op->q, op->qkv) && check_rope(&c, op, end) &&
           check_kv(&c, &op->kv, op->n_kv_head, op->head_dim) && check_pages(&c, &op->kv, 0, op->pos, end) &&
           done(&c, b->ops->qkv_rope_cache(b->ctx, op));
}

/* Every sequence has the call's tokens, and the pages of what they see. */
static bool check_sequences(const struct check *c, const struct op_attention *op)
{
    if (!op->lens)
        return fail(c, "the lengths of the sequences are missing");
    for (size_t s = 0; s < op->n_seqs; s++) {
        size_t end = op->lens[s], pos = end - op->n_tokens;
        if (end < op->n_tokens)
            return fail(c, "sequence %zu has %zu positions, expected the call's %zu at least", s, end,
                        op->n_tokens);
        size_t first = op->window && pos + 1 > op->window ? pos + 1 - op->window : 0;
        if (!check_pages(c, &op->kv, s, first, end))
            return false;
    }
    return true;
}

bool backend_attention(struct backend *b, const struct op_attention *op, struct err *err)
{
    struct check c = {b, "attention", err};
    size_t rows, width;
    if (op->n_tokens == 0)
        return true;
    if (!positive(&c, "the number of sequences", op->n_seqs) ||
        !check_heads(&c, op->n_head, op->n_kv_head, op->head_dim))
        return false;
    if (!mem_mul(op->n_head, op->head_dim, &width))
        return fail(&c, "%zu heads of %zu are larger than memory", op->n_head, op->head_dim);
    if (!mem_mul(op->n_seqs, op->n_tokens, &rows))
        return fail(&c, "%zu tokens of %zu sequences are larger than memory", op->n_tokens, op->n_seqs);
    return holds_f32(&c, "q", op->q, rows, width) && holds_f32(&c, "the output", op->out, rows, width) &&
           apart(&c, "q", op->out, op->q) && check_kv(&c, &op->kv, op->n_kv_head, op->head_dim) &&
           check_sequences(&c, op) && done(&c, b->ops->attention(b->ctx, op));
}

/* ---- mixture of experts ---- */

static bool check_experts_part(struct backend *b, const struct tensor *t, const struct tensor *first,
                               struct err *err)
{
    size_t row_bytes, bytes;
    if (!b->ops->supports_weight(b->ctx, t->type))
        return err_set(
            err, ERR_MODEL,
            "tensor %s: the %s backend has no kernels for %s; use another quantisation of the model", t->name,
            b->ops->name, dtype_info(t->type)->name);
    if (t->n_dims < 2 || t->n_dims > 3 || t->dims[0] != first->dims[0] || t->dims[2] != first->dims[2] ||
        !t->dims[0] || !t->dims[1] || !t->dims[2])
        return err_set(err, ERR_MODEL,
                       "tensor %s: found %zu experts with rows of %zu, expected %zu with rows of %zu; the "
                       "file is made for "
                       "another program: get it again from its source",
                       t->name, t->dims[2], t->dims[0], first->dims[2], first->dims[0]);
    if (!dtype_row_bytes(t->type, t->dims[0], &row_bytes) || !mem_mul(row_bytes, t->dims[1], &bytes) ||
        !mem_mul(bytes, t->dims[2], &bytes) || bytes != t->n_bytes)
        return err_set(
            err, ERR_MODEL,
            "tensor %s: found %zu bytes, which are not %zu experts of %zu rows of %zu in %s; the file "
            "is damaged: get it again from its source",
            t->name, t->n_bytes, t->dims[2], t->dims[1], t->dims[0], dtype_info(t->type)->name);
    return true;
}

struct bexperts *backend_experts_bind(struct backend *b, const struct tensor *const *parts, size_t n_parts,
                                      struct err *err)
{
    if (n_parts == 0 || n_parts > WEIGHT_MAX_PARTS) {
        err_set(err, ERR_RUNTIME, "experts_bind: found %zu parts, expected 1 to %d", n_parts,
                WEIGHT_MAX_PARTS);
        return NULL;
    }
    for (size_t i = 0; i < n_parts; i++)
        if (!check_experts_part(b, parts[i], parts[0], err))
            return NULL;
    return b->ops->experts_bind(b->ctx, parts, n_parts, err);
}

void backend_experts_free(struct backend *b, struct bexperts *w)
{
    if (w)
        b->ops->experts_free(b->ctx, w);
}

static bool holds_ids(const struct check *c, const struct bbuf *ids, size_t row, size_t n_tokens,
                      size_t n_used)
{
    size_t n_rows;
    if (!mem_add(row, n_tokens, &n_rows))
        return fail(c, "row %zu of the expert ids is past any memory", row);
    return holds(c, "the expert ids", ids, n_rows, n_used, sizeof(int32_t));
}

/* T*K; false when it is 0 or too large to count. */
static bool count_pairs(const struct check *c, size_t n_tokens, size_t n_used, size_t *n_pairs)
{
    return positive(c, "the number of experts used", n_used) &&
           (mem_mul(n_tokens, n_used, n_pairs) ||
            fail(c, "%zu tokens of %zu experts are larger than memory", n_tokens, n_used));
}

static bool check_used(const struct check *c, size_t n_used, size_t n_experts)
{
    return (n_used >= 1 && n_used <= n_experts) ||
           fail(c, "found %zu experts used of %zu, expected 1 to %zu", n_used, n_experts, n_experts);
}

bool backend_route(struct backend *b, const struct op_route *op, struct err *err)
{
    struct check c = {b, "route", err};
    if (op->n_tokens == 0)
        return true;
    return check_used(&c, op->n_used, op->n_experts) &&
           holds_f32(&c, "the logits", op->logits, op->n_tokens, op->n_experts) &&
           holds_ids(&c, op->ids, op->ids_row, op->n_tokens, op->n_used) &&
           holds_f32(&c, "the weights", op->weights, op->n_tokens, op->n_used) &&
           done(&c, b->ops->route(b->ctx, op));
}

/* Where the bytes can be seen: an id outside would read another tensor. */
static bool check_ids(const struct check *c, const struct bbuf *ids, size_t first, size_t n_pairs,
                      size_t n_experts)
{
    const int32_t *id = c->b->ops->buf_host ? c->b->ops->buf_host(ids) : NULL;
    for (size_t i = first; id && i < first + n_pairs; i++)
        if (id[i] < 0 || (size_t)id[i] >= n_experts)
            return fail(c, "pair %zu has expert %d, expected 0 to %zu", i, id[i], n_experts - 1);
    return true;
}

/* What both products of experts share. */
static bool check_moe(const struct check *c, const struct bexperts *w, const struct bbuf *ids, size_t row,
                      size_t n_tokens, size_t n_used, size_t *n_pairs, struct experts_shape *shape)
{
    if (!w)
        return fail(c, "the experts are missing");
    c->b->ops->experts_shape(w, shape);
    return check_used(c, n_used, shape->n_experts) && count_pairs(c, n_tokens, n_used, n_pairs) &&
           holds_ids(c, ids, row, n_tokens, n_used) &&
           check_ids(c, ids, row * n_used, *n_pairs, shape->n_experts);
}

bool backend_moe_gate_up(struct backend *b, const struct op_moe_gate_up *op, struct err *err)
{
    struct check c = {b, "moe_gate_up", err};
    struct experts_shape s;
    size_t n_pairs;
    if (op->n_tokens == 0)
        return true;
    if (!check_moe(&c, op->w, op->ids, op->ids_row, op->n_tokens, op->n_used, &n_pairs, &s))
        return false;
    if (s.n % 2)
        return fail(&c, "found %zu rows of gate and up, expected an even number", s.n);
    return holds_f32(&c, "the input", op->x, op->n_tokens, s.k) &&
           holds_f32(&c, "the output", op->out, n_pairs, s.n / 2) && apart(&c, "the input", op->out, op->x) &&
           done(&c, b->ops->moe_gate_up(b->ctx, op));
}

bool backend_moe_down(struct backend *b, const struct op_moe_down *op, struct err *err)
{
    struct check c = {b, "moe_down", err};
    struct experts_shape s;
    size_t n_pairs;
    if (op->n_tokens == 0)
        return true;
    return check_moe(&c, op->w, op->ids, op->ids_row, op->n_tokens, op->n_used, &n_pairs, &s) &&
           holds_f32(&c, "the input", op->x, n_pairs, s.k) &&
           holds_f32(&c, "the output", op->out, n_pairs, s.n) && apart(&c, "the input", op->out, op->x) &&
           done(&c, b->ops->moe_down(b->ctx, op));
}

bool backend_weighted_sum(struct backend *b, const struct op_weighted_sum *op, struct err *err)
{
    struct check c = {b, "weighted_sum", err};
    size_t n_pairs;
    if (op->n_tokens == 0 || op->n == 0)
        return true;
    return count_pairs(&c, op->n_tokens, op->n_used, &n_pairs) &&
           holds_f32(&c, "the slots", op->slots, n_pairs, op->n) &&
           holds_f32(&c, "the weights", op->weights, op->n_tokens, op->n_used) &&
           holds_f32(&c, "the output", op->out, op->n_tokens, op->n) &&
           apart(&c, "the slots", op->out, op->slots) && done(&c, b->ops->weighted_sum(b->ctx, op));
}

bool backend_add_gated(struct backend *b, const struct op_add_gated *op, struct err *err)
{
    struct check c = {b, "add_gated", err};
    if (op->n_tokens == 0 || op->n == 0)
        return true;
    return holds_f32(&c, "the input", op->x, op->n_tokens, op->n) &&
           holds_f32(&c, "the gates", op->gate, op->n_tokens, 1) &&
           holds_f32(&c, "the output", op->out, op->n_tokens, op->n) &&
           apart(&c, "the input", op->out, op->x) && done(&c, b->ops->add_gated(b->ctx, op));
}

bool backend_largest(struct backend *b, const struct op_largest *op, struct err *err)
{
    struct check c = {b, "largest", err};
    if (op->k < 1 || op->k > OP_LARGEST_MAX || op->n > INT32_MAX)
        return fail(&c, "found %zu of %zu wanted, expected 1 to %d of at most %d", op->k, op->n,
                    OP_LARGEST_MAX, INT32_MAX);
    return positive(&c, "the width", op->n) && holds_rows(&c, "the row", op->x, op->row, 1, op->n) &&
           holds(&c, "the output", op->out, 1, op->k, sizeof(struct logit)) &&
           apart(&c, "the row", op->out, op->x) && done(&c, b->ops->largest(b->ctx, op));
}
