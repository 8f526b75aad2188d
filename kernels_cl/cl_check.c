/* cl_check.c: a known answer of every program before it is used: compilers of drivers have bugs, and a wrong
 * number must not become a wrong word. Small shapes, some milliseconds; the tests look closer. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/half.h"
#include "kernels_cl/cl_backend.h"

/* Relative to the size of the sums: what is wrong is wrong by much more. */
#define TOLERANCE 1e-3

#define K 256 /* a block of every type */
#define ROWS 3
#define TOKENS 5
#define HEAD 8

static float number(size_t i)
{
    return (float)((int)(i * 7919 % 1013) - 506) / 300;
}

static struct bbuf *new_numbers(struct cl_backend *b, size_t n, struct err *err)
{
    float values[ROWS * K + TOKENS * K];
    struct bbuf *buf = cl_buf_new(b, n * sizeof(float), err);
    for (size_t i = 0; i < n; i++)
        values[i] = number(i);
    if (buf && !cl_buf_write(b, buf, 0, values, n * sizeof(float))) {
        cl_buf_free(b, buf);
        return NULL;
    }
    return buf;
}

/* Whether the n numbers of buf are the expected ones; size is that of the sums they came from. */
static bool equals(struct cl_backend *b, const struct bbuf *buf, const double *want, size_t n, double size)
{
    float got[ROWS * K];
    if (!cl_buf_read(b, buf, 0, got, n * sizeof *got))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= TOLERANCE * size))
            return false;
    return true;
}

/* The largest magnitude so far. Not fmax: in these loops gcc 12 fails on it for AArch64. */
static void note_size(double *largest, double x)
{
    if (fabs(x) > *largest)
        *largest = fabs(x);
}

/* ---- weights ---- */

/* Bytes whose weights are ordinary numbers. */
static void make_rows(enum dtype type, unsigned char *rows, size_t n_bytes, float *values)
{
    uint32_t state = 1;
    bool is_float = dtype_info(type)->block_weights == 1, is_ordinary = false;
    for (size_t i = 0; is_float && i < ROWS * K; i++) {
        uint32_t bits = f32_bits(number(i));
        uint16_t half = type == DTYPE_F16 ? f16_from_f32(number(i)) : (uint16_t)(bits >> 16);
        if (type == DTYPE_F32)
            memcpy(rows + 4 * i, &bits, sizeof bits);
        else
            memcpy(rows + 2 * i, &half, sizeof half);
    }
    while (!is_ordinary) {
        for (size_t i = 0; !is_float && i < n_bytes; i++)
            rows[i] = (unsigned char)((state = state * 1664525u + 1013904223u) >> 24);
        dtype_to_f32(type, rows, values, ROWS * K);
        is_ordinary = true;
        for (size_t i = 0; i < ROWS * K; i++)
            is_ordinary = is_ordinary && fabsf(values[i]) < 1e8f;
    }
}

static bool check_expand(struct cl_backend *b, const struct cl_rows *rows, const float *values,
                         struct bbuf *out)
{
    double want[ROWS * K], largest = 0;
    for (size_t i = 0; i < ROWS * K; i++) {
        want[i] = (double)values[i];
        note_size(&largest, want[i]);
    }
    struct cl_call c = cl_call_begin(b, CL_GROUP_WEIGHT + rows->type, CL_EXPAND);
    cl_arg_mem(&c, rows->mem);
    cl_arg_u64(&c, rows->base);
    cl_arg_u64(&c, rows->row_bytes);
    cl_arg_u32(&c, K);
    cl_arg_u32(&c, 0);
    cl_arg_buf(&c, out);
    return cl_call_run(&c, ROWS, 1) && equals(b, out, want, ROWS * K, largest);
}

static bool check_product(struct cl_backend *b, const struct cl_rows *rows, const float *values,
                          struct bbuf *x, struct bbuf *out)
{
    /* Two parts, which are one launch. */
    struct cl_rows parts[2] = {*rows, *rows};
    struct bweight w = {.n = ROWS, .k = K, .n_parts = 2, .parts = parts};
    struct op_gemm op = {.w = &w, .a = x, .out = out, .n_tokens = TOKENS};
    double want[TOKENS * ROWS], largest = 0;
    parts[0].n = parts[1].first = ROWS - 1;
    parts[1].n = 1;
    parts[1].base += (ROWS - 1) * rows->row_bytes;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t r = 0; r < ROWS; r++) {
            double sum = 0, power = 0;
            for (size_t i = 0; i < K; i++) {
                double product = (double)values[r * K + i] * (double)number(t * K + i);
                sum += product;
                power += product * product;
            }
            want[t * ROWS + r] = sum;
            note_size(&largest, sqrt(power));
        }
    return cl_gemm(b, &op) && equals(b, out, want, TOKENS * ROWS, largest);
}

static bool check_weights(struct cl_backend *b, enum dtype type, struct err *err)
{
    size_t row_bytes = 0;
    unsigned char bytes[ROWS * K * sizeof(float)];
    float values[ROWS * K];
    if (!dtype_row_bytes(type, K, &row_bytes))
        return false;
    make_rows(type, bytes, ROWS * row_bytes, values);
    struct bbuf *w = cl_buf_new(b, ROWS * row_bytes, err), *x = new_numbers(b, TOKENS * K, err),
                *out = new_numbers(b, ROWS * K, err);
    bool ok = w && x && out && cl_buf_write(b, w, 0, bytes, ROWS * row_bytes);
    if (ok) {
        struct cl_rows rows = {.mem = w->mem, .type = type, .n = ROWS, .row_bytes = row_bytes};
        ok = check_expand(b, &rows, values, out) && check_product(b, &rows, values, x, out);
    }
    cl_buf_free(b, w);
    cl_buf_free(b, x);
    cl_buf_free(b, out);
    return ok;
}

/* ---- the rest ---- */

static bool check_norm(struct cl_backend *b, struct bbuf *x, struct bbuf *out)
{
    double want[TOKENS * HEAD], largest = 0;
    struct op_rms_norm op = {.x = x, .w = x, .out = out, .n_tokens = TOKENS, .n = HEAD, .eps = 1};
    for (size_t t = 0; t < TOKENS; t++) {
        double sum = 0;
        for (size_t i = 0; i < HEAD; i++)
            sum += (double)number(t * HEAD + i) * (double)number(t * HEAD + i);
        for (size_t i = 0; i < HEAD; i++) {
            want[t * HEAD + i] = (double)number(t * HEAD + i) * (double)number(i) / sqrt(sum / HEAD + 1);
            note_size(&largest, want[t * HEAD + i]);
        }
    }
    return cl_rms_norm(b, &op) && equals(b, out, want, TOKENS * HEAD, largest);
}

static bool check_silu(struct cl_backend *b, struct bbuf *x, struct bbuf *out)
{
    double want[TOKENS * HEAD];
    struct op_silu_mul op = {.gate_up = x, .out = out, .n_tokens = TOKENS, .n_ff = HEAD};
    for (size_t i = 0; i < TOKENS * HEAD; i++) {
        size_t at = i / HEAD * 2 * HEAD + i % HEAD;
        want[i] = (double)number(at) / (1 + exp(-(double)number(at))) * (double)number(at + HEAD);
    }
    return cl_silu_mul(b, &op) && equals(b, out, want, TOKENS * HEAD, 1);
}

/* The largest two, of the row as a whole or of what chunks gave. */
static bool check_largest(struct cl_backend *b, struct bbuf *x, struct bbuf *out, size_t chunk)
{
    struct logit found[2];
    size_t first = 0, second = 1;
    struct op_largest op = {.x = x, .n = TOKENS * HEAD, .k = 2, .out = out};
    for (size_t i = 1; i < TOKENS * HEAD; i++)
        first = number(i) > number(first) ? i : first;
    second = first == second ? 0 : second;
    for (size_t i = 0; i < TOKENS * HEAD; i++)
        second = i != first && number(i) > number(second) ? i : second;
    return cl_largest_in_chunks(b, &op, chunk) && cl_buf_read(b, out, 0, found, sizeof found) &&
           found[0].id == (int32_t)first && found[1].id == (int32_t)second &&
           fabsf(found[0].value - number(first)) <= 0 && fabsf(found[1].value - number(second)) <= 0;
}

/* The matrix kernel takes x [TOKENS, HEAD] for weights [TOKENS, HEAD] too. */
static bool check_matrix(struct cl_backend *b, struct bbuf *x, struct bbuf *out)
{
    double want[TOKENS * TOKENS];
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t r = 0; r < TOKENS; r++) {
            want[t * TOKENS + r] = 0;
            for (size_t i = 0; i < HEAD; i++)
                want[t * TOKENS + r] += (double)number(t * HEAD + i) * (double)number(r * HEAD + i);
        }
    struct cl_call c = cl_call_begin(b, CL_GROUP_MATRIX, CL_MATRIX);
    cl_arg_buf(&c, x);
    cl_arg_u32(&c, HEAD);
    cl_arg_u32(&c, TOKENS);
    cl_arg_buf(&c, x);
    cl_arg_u64(&c, 0);
    cl_arg_u32(&c, TOKENS);
    cl_arg_buf(&c, out);
    cl_arg_u64(&c, TOKENS);
    cl_arg_u64(&c, 0);
    cl_arg_mem(&c, NULL);
    cl_arg_u32(&c, 0);
    cl_arg_u32(&c, 0);
    return cl_call_run(&c, 1, 1) && equals(b, out, want, TOKENS * TOKENS, HEAD);
}

/* Ids as numbers: 0, 1, 2 ... in the order of choice. */
static bool check_route(struct cl_backend *b, struct bbuf *x, struct bbuf *out, struct err *err)
{
    int32_t ids[TOKENS * 2];
    struct bbuf *weights = new_numbers(b, TOKENS * 2, err);
    struct op_route op = {x, out, weights, TOKENS, HEAD, 2, true, 1, 0};
    bool ok = weights && cl_route(b, &op) && cl_buf_read(b, out, 0, ids, sizeof ids);
    cl_buf_free(b, weights);
    if (!ok)
        return false;
    for (size_t t = 0; t < TOKENS; t++) {
        int32_t first = 0, second = -1;
        for (int32_t e = 1; e < HEAD; e++)
            first = number(t * HEAD + (size_t)e) > number(t * HEAD + (size_t)first) ? e : first;
        for (int32_t e = 0; e < HEAD; e++)
            if (e != first &&
                (second < 0 || number(t * HEAD + (size_t)e) > number(t * HEAD + (size_t)second)))
                second = e;
        if (ids[2 * t] != first || ids[2 * t + 1] != second)
            return false;
    }
    return true;
}

/* In one part, and joined from several. */
static bool check_splits(struct cl_backend *b, const struct op_attention *op, struct bbuf *out,
                         const double *want, double size)
{
    static const float nothing[TOKENS * HEAD];
    for (size_t n = 1; n <= 2; n++)
        if (!cl_buf_write(b, out, 0, nothing, sizeof nothing) || !cl_attend_few(b, op, n) ||
            !equals(b, out, want, TOKENS * HEAD, size))
            return false;
    return true;
}

/* One head, no norm, rotations by nothing: x is [token][q, k, v]. What it attends to is in the cache's type.
 */
static bool check_attention(struct cl_backend *b, enum dtype type, struct bbuf *x, struct bbuf *out,
                            struct err *err)
{
    static const uint32_t table[1] = {0}, lens[1] = {TOKENS};
    double want[TOKENS * HEAD];
    size_t slab = PAGE_TOKENS * kv_row_bytes(type, HEAD);
    struct bbuf *pool = cl_buf_new(b, 2 * slab, err), *q = cl_buf_new(b, TOKENS * HEAD * sizeof(float), err);
    struct kv_layer kv = {pool, type, 2 * slab, 0, slab, table, 1};
    struct op_qkv_rope_cache rope = {.qkv = x,
                                     .q = q,
                                     .cos = x,
                                     .sin = x,
                                     .mode = ROPE_NEOX,
                                     .n_tokens = TOKENS,
                                     .n_head = 1,
                                     .n_kv_head = 1,
                                     .head_dim = HEAD,
                                     .kv = kv};
    struct op_attention op = {.q = q,
                              .out = out,
                              .scale = 0.25f,
                              .n_seqs = 1,
                              .n_tokens = TOKENS,
                              .n_head = 1,
                              .n_kv_head = 1,
                              .head_dim = HEAD,
                              .lens = lens,
                              .kv = kv};
    for (size_t t = 0; t < TOKENS; t++) {
        double total = 0, sums[HEAD] = {0};
        for (size_t j = 0; j <= t; j++) {
            double score = 0;
            for (size_t d = 0; d < HEAD; d++)
                score += (double)number(t * 3 * HEAD + d) * (double)number(j * 3 * HEAD + HEAD + d) / 4;
            total += exp(score);
            for (size_t d = 0; d < HEAD; d++)
                sums[d] += exp(score) * (double)number(j * 3 * HEAD + 2 * HEAD + d);
        }
        for (size_t d = 0; d < HEAD; d++)
            want[t * HEAD + d] = sums[d] / total;
    }
    /* An int8 value is off by up to 1/254 of the largest of its row. */
    double size = type == DTYPE_I8 ? 20 : 2;
    bool ok = pool && q && cl_qkv_rope_cache(b, &rope) && cl_attend_many(b, &op) &&
              equals(b, out, want, TOKENS * HEAD, size) && check_splits(b, &op, out, want, size);
    cl_buf_free(b, pool);
    cl_buf_free(b, q);
    return ok;
}

static bool check_group(struct cl_backend *b, enum cl_group group, struct err *err)
{
    if (group >= CL_GROUP_WEIGHT)
        return check_weights(b, (enum dtype)(group - CL_GROUP_WEIGHT), err);
    struct bbuf *x = new_numbers(b, TOKENS * 3 * HEAD, err), *out = new_numbers(b, TOKENS * 3 * HEAD, err);
    bool ok = x && out;
    if (ok && group == CL_GROUP_ELEMENTS)
        ok = check_norm(b, x, out) && check_silu(b, x, out) && check_largest(b, x, out, SIZE_MAX) &&
             check_largest(b, x, out, 16);
    else if (ok && group == CL_GROUP_MATRIX)
        ok = check_matrix(b, x, out);
    else if (ok && group == CL_GROUP_ROUTE)
        ok = check_route(b, x, out, err);
    else if (ok)
        ok = check_attention(b,
                             group == CL_GROUP_KV_F16   ? DTYPE_F16
                             : group == CL_GROUP_KV_F32 ? DTYPE_F32
                                                        : DTYPE_I8,
                             x, out, err);
    cl_buf_free(b, x);
    cl_buf_free(b, out);
    return ok;
}

enum cl_answer cl_check(void *backend, enum cl_group group, struct err *err)
{
    struct cl_backend *b = backend;
    char name[32];
    bool was_lost = b->is_lost;
    struct err why = {0};
    cl_launches_end(b); /* the list is for programs that have passed */
    if (check_group(b, group, &why))
        return CL_ANSWER_RIGHT;
    bool has_run = !why.code && b->is_lost == was_lost;
    b->is_lost = was_lost; /* a kernel that cannot be started may have another variant that can */
    cl_group_name(group, name);
    err_set(err, ERR_RUNTIME, "OpenCL: the kernels \"%s\" %s on %.60s; use --backend cpu", name,
            has_run ? "compute something wrong" : "cannot be run", b->device.name);
    return has_run ? CL_ANSWER_WRONG : CL_ANSWER_NONE;
}
