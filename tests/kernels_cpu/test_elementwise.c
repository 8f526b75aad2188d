#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu_fixture.h"
#include "engine/base/mem.h"
#include "engine/half.h"
#include "kernels_cpu/kernels.h"

static const char *isa_name(size_t i)
{
    return cpu_isa_name(fixture_isa(i));
}

static float *normal(size_t n, uint32_t seed)
{
    float *x = mem_need(n * sizeof *x);
    fixture_normal(x, n, seed);
    return x;
}

static void reference_norm(double *out, const float *x, const float *w, size_t n, double eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n; i++)
        out[i] = (double)x[i] / sqrt(sum / (double)n + eps) * (double)w[i];
}

/* Rows x_row.. of x; in place when x_row is 0 and in_place is set. */
static float *run_norm(const char *isa, int n_threads, size_t rows, size_t n, size_t x_row, bool in_place)
{
    struct backend b = fixture_open(n_threads, isa);
    float *x = normal((x_row + rows) * n, 1), *w = normal(n, 2);
    struct bbuf *xb = fixture_buf(&b, x, (x_row + rows) * n), *wb = fixture_buf(&b, w, n);
    struct bbuf *out = in_place ? xb : fixture_buf(&b, NULL, rows * n);
    struct err err = {0};
    struct op_rms_norm op = {
        .x = xb, .x_row = x_row, .w = wb, .out = out, .n_tokens = rows, .n = n, .eps = 1e-5f};
    if (!backend_rms_norm(&b, &op, &err))
        fail_msg("%s", err.text);
    float *found = fixture_read(&b, out, rows * n);
    double *expected = mem_need((rows * n + 1) * sizeof *expected);
    for (size_t r = 0; r < rows; r++)
        reference_norm(expected + r * n, x + (x_row + r) * n, w, n, 1e-5);
    double nmse = rows ? fixture_nmse(found, expected, rows * n) : 0;
    if (!(nmse < 1e-12))
        fail_msg("%s %zu rows of %zu from %zu: nmse %g", isa, rows, n, x_row, nmse);
    mem_free(expected);
    mem_free(x);
    mem_free(w);
    backend_buf_free(&b, wb);
    backend_buf_free(&b, xb);
    if (!in_place)
        backend_buf_free(&b, out);
    backend_close(&b);
    return found;
}

static void rms_norm__matches_reference(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 3, 8, 31, 64, 100, 1024, 4099}, rows[] = {0, 1, 2, 40};
    for (size_t isa = 0; isa < fixture_n_isas(); isa++)
        for (size_t i = 0; i < 8; i++)
            for (size_t r = 0; r < 4; r++)
                for (size_t first = 0; first < 3; first++)
                    mem_free(run_norm(isa_name(isa), 2, rows[r], widths[i], first, first == 0 && i % 2));
}

static void rms_norm__any_number_of_threads__same_bits(void **state)
{
    (void)state;
    float *one = run_norm(NULL, 1, 41, 1000, 0, false), *three = run_norm(NULL, 3, 41, 1000, 0, false);
    assert_memory_equal(one, three, 41 * 1000 * sizeof *one);
    mem_free(one);
    mem_free(three);
}

/* A part of wider rows in place: the bits of the same values on their own, the rest untouched. */
static void rms_norm__part_of_wider_rows__same_bits(void **state)
{
    (void)state;
    static const struct {
        size_t rows, n, stride, offset;
    } parts[] = {{1, 64, 64, 0}, {5, 64, 96, 32}, {3, 33, 100, 67}, {40, 1000, 2001, 1000}};
    for (size_t isa = 0; isa < fixture_n_isas(); isa++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            size_t rows = parts[i].rows, n = parts[i].n, stride = parts[i].stride, offset = parts[i].offset;
            struct backend b = fixture_open(2, isa_name(isa));
            struct err err = {0};
            float *x = normal(rows * stride, 3), *weight = normal(n, 4);
            struct bbuf *w = fixture_buf(&b, weight, n), *all = fixture_buf(&b, x, rows * stride);
            struct op_rms_norm op = {.x = all,
                                     .w = w,
                                     .out = all,
                                     .n_tokens = rows,
                                     .n = n,
                                     .stride = stride,
                                     .offset = offset,
                                     .eps = 1e-5f};
            assert_true(backend_rms_norm(&b, &op, &err));
            float *found = fixture_read(&b, all, rows * stride);
            const struct cpu_kernels *kernels = cpu_kernels_get(fixture_isa(isa));
            for (size_t r = 0; r < rows; r++)
                kernels->rms_norm(x + r * stride + offset, x + r * stride + offset, weight, n, 1e-5f);
            assert_memory_equal(found, x, rows * stride * sizeof *x);
            mem_free(found);
            mem_free(x);
            mem_free(weight);
            backend_buf_free(&b, w);
            backend_buf_free(&b, all);
            backend_close(&b);
        }
}

static float *run_silu(const char *isa, int n_threads, const float *gate_up, size_t rows, size_t n_ff)
{
    struct backend b = fixture_open(n_threads, isa);
    struct bbuf *in = fixture_buf(&b, gate_up, rows * 2 * n_ff), *out = fixture_buf(&b, NULL, rows * n_ff);
    struct err err = {0};
    struct op_silu_mul op = {in, out, rows, n_ff};
    if (!backend_silu_mul(&b, &op, &err))
        fail_msg("%s", err.text);
    float *found = fixture_read(&b, out, rows * n_ff);
    backend_buf_free(&b, in);
    backend_buf_free(&b, out);
    backend_close(&b);
    return found;
}

static void check_silu(const char *isa, size_t rows, size_t n_ff)
{
    float *x = normal(rows * 2 * n_ff, 5);
    double *expected = mem_need(rows * n_ff * sizeof *expected);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n_ff; i++) {
            double gate = (double)(x[r * 2 * n_ff + i] *= 4.0f), up = (double)x[r * 2 * n_ff + n_ff + i];
            expected[r * n_ff + i] = gate / (1 + exp(-gate)) * up;
        }
    }
    float *found = run_silu(isa, 2, x, rows, n_ff), *again = run_silu(isa, 3, x, rows, n_ff);
    double nmse = fixture_nmse(found, expected, rows * n_ff);
    if (!(nmse < 1e-12))
        fail_msg("%s %zu rows of %zu: nmse %g", isa, rows, n_ff, nmse);
    assert_memory_equal(found, again, rows * n_ff * sizeof *found);
    mem_free(x);
    mem_free(expected);
    mem_free(found);
    mem_free(again);
}

static void silu_mul__matches_reference(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 7, 8, 100, 1000};
    for (size_t isa = 0; isa < fixture_n_isas(); isa++)
        for (size_t i = 0; i < 5; i++) {
            check_silu(isa_name(isa), 1, widths[i]);
            check_silu(isa_name(isa), 33, widths[i]);
        }
}

/* Relative error at single points, the ends of exp included. */
static void silu_mul__exact_to_a_millionth(void **state)
{
    (void)state;
    enum { N = 2001 };
    static float x[2 * N];
    for (size_t i = 0; i < N; i++) {
        x[i] = ((float)i - 1000.0f) * 0.08f;
        x[N + i] = 1.0f;
    }
    for (size_t isa = 0; isa < fixture_n_isas(); isa++) {
        float *found = run_silu(isa_name(isa), 1, x, 1, N);
        for (size_t i = 0; i < N; i++) {
            double expected = (double)x[i] / (1 + exp(-(double)x[i]));
            if (!(fabs((double)found[i] - expected) <= 1e-6 * fabs(expected)))
                fail_msg("%s: silu(%g) is %g, expected %g", isa_name(isa), (double)x[i], (double)found[i],
                         expected);
        }
        mem_free(found);
    }
}

static void silu_mul__finite_for_finite_input(void **state)
{
    (void)state;
    static const float values[] = {0, 1e-40f, 1, 87, 88.5f, 89, 104, 1e10f, FLT_MAX};
    float x[2 * 18 * 18];
    size_t n = 0;
    for (size_t i = 0; i < 18; i++)
        for (size_t j = 0; j < 18; j++, n++) {
            x[n] = i < 9 ? values[i] : -values[i - 9];
            x[18 * 18 + n] = j < 9 ? values[j] : -values[j - 9];
        }
    for (size_t isa = 0; isa < fixture_n_isas(); isa++) {
        float *found = run_silu(isa_name(isa), 1, x, 1, n);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(found[i]))
                fail_msg("%s: silu(%g) * %g is %g", isa_name(isa), (double)x[i], (double)x[n + i],
                         (double)found[i]);
        mem_free(found);
    }
}

/* silu(-inf) * x and NaN are no finite input; a NaN must not be hidden. */
static void silu_mul__keeps_nan(void **state)
{
    (void)state;
    float x[16] = {NAN, 1, 1, 1, 1, 1, 1, 1, 1, NAN, 1, 1, 1, 1, 1, 1};
    for (size_t isa = 0; isa < fixture_n_isas(); isa++) {
        float *found = run_silu(isa_name(isa), 1, x, 1, 8);
        assert_true(isnan(found[0]) && isnan(found[1]) && isfinite(found[2]));
        mem_free(found);
    }
}

/* --- split, norm, rotate, cache --- */

struct qkv_shape {
    size_t n_tokens, n_head, n_kv_head, head_dim, n_rot, pos;
    bool norm;
    enum rope_mode mode;
    enum dtype type;
};

struct qkv_result {
    float *q;   /* [H, T, D] */
    char *pool; /* the whole cache, bytes */
    size_t pool_bytes;
};

enum { N_PAGES = 4 };
static const uint32_t page_table[N_PAGES] = {2, 0, 3, 1};

static struct qkv_result run_qkv(const struct qkv_shape *s, const char *isa, int n_threads)
{
    struct backend b = fixture_open(n_threads, isa);
    size_t slab = s->n_kv_head * KV_BLOCK_TOKENS * kv_row_bytes(s->type, s->head_dim);
    size_t n_in = s->n_tokens * (s->n_head + 2 * s->n_kv_head) * s->head_dim,
           n_ctx = N_PAGES * KV_BLOCK_TOKENS;
    struct qkv_result r = {.pool_bytes = N_PAGES * 3 * slab};
    float *x = normal(n_in, 1), *norms = normal(2 * s->head_dim, 2), *angles = normal(n_ctx * s->n_rot, 3);
    struct bbuf *in = fixture_buf(&b, x, n_in),
                *q = fixture_buf(&b, NULL, s->n_tokens * s->n_head * s->head_dim);
    struct bbuf *q_norm = fixture_buf(&b, norms, s->head_dim);
    struct bbuf *k_norm = fixture_buf(&b, norms + s->head_dim, s->head_dim);
    struct bbuf *cos = fixture_buf(&b, angles, n_ctx * s->n_rot / 2);
    struct bbuf *sin = fixture_buf(&b, angles + n_ctx * s->n_rot / 2, n_ctx * s->n_rot / 2);
    struct err err = {0};
    struct bbuf *pool = backend_buf_new(&b, r.pool_bytes, &err);
    struct op_qkv_rope_cache op = {
        .qkv = in,
        .q = q,
        .q_norm = s->norm ? q_norm : NULL,
        .k_norm = s->norm ? k_norm : NULL,
        .eps = 1e-6f,
        .cos = cos,
        .sin = sin,
        .mode = s->mode,
        .n_tokens = s->n_tokens,
        .n_head = s->n_head,
        .n_kv_head = s->n_kv_head,
        .head_dim = s->head_dim,
        .n_rot = s->n_rot,
        .pos = s->pos,
        .kv = {pool, s->type, 3 * slab, slab, 2 * slab, page_table, N_PAGES},
    };
    if (!pool || !backend_qkv_rope_cache(&b, &op, &err))
        fail_msg("%s", err.text);
    r.q = fixture_read(&b, q, s->n_tokens * s->n_head * s->head_dim);
    r.pool = mem_need(r.pool_bytes);
    assert_true(backend_buf_read(&b, pool, 0, r.pool, r.pool_bytes, &err));
    struct bbuf *all[] = {in, q, q_norm, k_norm, cos, sin, pool};
    for (size_t i = 0; i < 7; i++)
        backend_buf_free(&b, all[i]);
    mem_free(x);
    mem_free(norms);
    mem_free(angles);
    backend_close(&b);
    return r;
}

static void free_result(struct qkv_result *r)
{
    mem_free(r->q);
    mem_free(r->pool);
}

/* Head number `head` of a fused row, as it must come out. */
static void reference_head(const struct qkv_shape *s, size_t token, size_t head, double *out)
{
    size_t n_ctx = N_PAGES * KV_BLOCK_TOKENS, width = (s->n_head + 2 * s->n_kv_head) * s->head_dim,
           dim = s->head_dim;
    float *x = normal(s->n_tokens * width, 1), *norms = normal(2 * dim, 2),
          *angles = normal(n_ctx * s->n_rot, 3);
    const float *from = x + token * width + head * dim, *norm = head < s->n_head ? norms : norms + dim;
    const float *cos = angles + (s->pos + token) * s->n_rot / 2, *sin = cos + n_ctx * s->n_rot / 2;
    bool is_v = head >= s->n_head + s->n_kv_head;
    for (size_t d = 0; d < dim; d++)
        out[d] = (double)from[d];
    if (s->norm && !is_v)
        reference_norm(out, from, norm, dim, 1e-6);
    for (size_t i = 0; i < s->n_rot / 2 && !is_v; i++) {
        size_t i0 = s->mode == ROPE_NEOX ? i : 2 * i,
               i1 = s->mode == ROPE_NEOX ? i + s->n_rot / 2 : 2 * i + 1;
        double a = out[i0], b = out[i1];
        out[i0] = a * (double)cos[i] - b * (double)sin[i];
        out[i1] = b * (double)cos[i] + a * (double)sin[i];
    }
    mem_free(x);
    mem_free(norms);
    mem_free(angles);
}

/* The stored values; returns the largest error that rounding may have made. */
static double cached_head(const struct qkv_shape *s, const struct qkv_result *r, size_t slab, size_t kv_head,
                          size_t pos, float *out)
{
    size_t row_bytes, dim = s->head_dim, head_bytes = KV_BLOCK_TOKENS * kv_row_bytes(s->type, dim);
    const char *rows = r->pool + page_table[pos / KV_BLOCK_TOKENS] * 3 * s->n_kv_head * head_bytes +
                       (slab * s->n_kv_head + kv_head) * head_bytes;
    float scale;
    assert_true(dtype_row_bytes(s->type, dim, &row_bytes));
    dtype_to_f32(s->type, rows + pos % KV_BLOCK_TOKENS * row_bytes, out, dim);
    if (s->type != DTYPE_I8)
        return 0;
    memcpy(&scale, rows + KV_BLOCK_TOKENS * dim + pos % KV_BLOCK_TOKENS * sizeof scale, sizeof scale);
    for (size_t d = 0; d < dim; d++)
        out[d] *= scale;
    return 0.5001 * (double)scale;
}

/* int8: to the nearest step, and the largest value is 127 steps. */
static void check_i8(const float *found, const double *expected, size_t n, double max_error)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs((double)found[i] - expected[i]) <= max_error);
        largest = fmax(largest, fabs(expected[i]));
    }
    assert_true(fabs(max_error / 0.5001 * 127 / largest - 1) < 1e-5);
}

static void check_qkv(const struct qkv_shape *s, const char *isa)
{
    struct qkv_result r = run_qkv(s, isa, 2);
    double *expected = mem_need(s->head_dim * sizeof *expected),
           cache_limit = s->type == DTYPE_F16 ? 1e-6 : 1e-12;
    float *found = mem_need(s->head_dim * sizeof *found);
    for (size_t t = 0; t < s->n_tokens; t++) {
        for (size_t h = 0; h < s->n_head + 2 * s->n_kv_head; h++) {
            reference_head(s, t, h, expected);
            bool is_q = h < s->n_head;
            double max_error = 0;
            size_t kv = (h - s->n_head) % s->n_kv_head, slab = h < s->n_head + s->n_kv_head ? 1 : 2;
            if (is_q)
                memcpy(found, r.q + (h * s->n_tokens + t) * s->head_dim, s->head_dim * sizeof *found);
            else
                max_error = cached_head(s, &r, slab, kv, s->pos + t, found);
            if (!is_q && s->type == DTYPE_I8) {
                check_i8(found, expected, s->head_dim, max_error);
                continue;
            }
            double nmse = fixture_nmse(found, expected, s->head_dim);
            if (!(nmse < (is_q ? 1e-12 : cache_limit)))
                fail_msg("%s D %zu R %zu mode %d norm %d token %zu head %zu: nmse %g", isa, s->head_dim,
                         s->n_rot, (int)s->mode, s->norm, t, h, nmse);
        }
    }
    mem_free(expected);
    mem_free(found);
    free_result(&r);
}

static void qkv_rope_cache__matches_reference(void **state)
{
    (void)state;
    static const size_t dims[] = {6, 32, 64, 80, 128, 256};
    static const enum dtype types[] = {DTYPE_F16, DTYPE_I8, DTYPE_F32};
    for (size_t i = 0; i < 6 * 8; i++) {
        size_t dim = dims[i / 8];
        struct qkv_shape s = {
            .n_tokens = 1 + i % 3, .n_head = 2 + 2 * (i % 2), .n_kv_head = 2, .head_dim = dim};
        s.n_rot = i & 1 ? dim : dim / 4 * 2;
        s.mode = i & 2 ? ROPE_NEOX : ROPE_INTERLEAVED;
        s.norm = i & 4;
        s.type = types[i % 5 % 3];
        s.pos = 62 + i; /* crosses pages here and there */
        for (size_t isa = 0; isa < fixture_n_isas(); isa++)
            check_qkv(&s, isa_name(isa));
    }
}

/* The rotation alone has the same bits on every instruction set; f16 and int8 are rounded the
 * same way. */
static void qkv_rope_cache__every_set_same_bits_without_norm(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4 * fixture_n_isas(); i++) {
        struct qkv_shape s = {
            .n_tokens = 5, .n_head = 3, .n_kv_head = 1, .head_dim = 72, .n_rot = 44, .pos = 60};
        s.mode = i % 2 ? ROPE_NEOX : ROPE_INTERLEAVED;
        s.type = i / 2 % 2 ? DTYPE_I8 : DTYPE_F16;
        struct qkv_result a = run_qkv(&s, "scalar", 1), b = run_qkv(&s, isa_name(i / 4), 1);
        assert_memory_equal(a.q, b.q, 5 * 3 * 72 * sizeof(float));
        assert_memory_equal(a.pool, b.pool, a.pool_bytes);
        free_result(&a);
        free_result(&b);
    }
}

/* Shared by rows, with positions that nobody writes left as they were. */
static void qkv_rope_cache__threads_same_bits_and_nothing_else_written(void **state)
{
    (void)state;
    struct qkv_shape s = {
        .n_tokens = 100, .n_head = 4, .n_kv_head = 2, .head_dim = 64, .n_rot = 64, .pos = 70};
    s.mode = ROPE_NEOX;
    s.norm = true;
    s.type = DTYPE_F32;
    struct qkv_result a = run_qkv(&s, NULL, 1), b = run_qkv(&s, NULL, 3);
    assert_memory_equal(a.pool, b.pool, a.pool_bytes);
    assert_memory_equal(a.q, b.q, 100 * 4 * 64 * sizeof(float));
    size_t n_zero = 0, n = a.pool_bytes / sizeof(float);
    for (size_t i = 0; i < n; i++)
        n_zero += ((const float *)(const void *)a.pool)[i] == 0;
    assert_int_equal(n - n_zero, 2 * 100 * 2 * 64);
    free_result(&a);
    free_result(&b);
}

/* Pages of int8: values behind positions nobody wrote, and their scales, are as they were. */
static void qkv_rope_cache__int8__writes_a_scale_per_row(void **state)
{
    (void)state;
    struct qkv_shape s = {.n_tokens = 100,
                          .n_head = 4,
                          .n_kv_head = 2,
                          .head_dim = 64,
                          .n_rot = 64,
                          .pos = 70,
                          .mode = ROPE_NEOX,
                          .type = DTYPE_I8};
    struct qkv_result a = run_qkv(&s, NULL, 1), b = run_qkv(&s, NULL, 3);
    assert_memory_equal(a.pool, b.pool, a.pool_bytes);
    size_t head_bytes = KV_BLOCK_TOKENS * kv_row_bytes(DTYPE_I8, 64), n_scales = 0, n_values = 0;
    for (size_t at = 0; at < a.pool_bytes; at += head_bytes) {
        const float *scale = (const float *)(const void *)(a.pool + at + KV_BLOCK_TOKENS * 64);
        for (size_t i = 0; i < KV_BLOCK_TOKENS; i++)
            n_scales += scale[i] != 0;
        for (size_t i = 0; i < KV_BLOCK_TOKENS * 64; i++)
            n_values += abs((int8_t)a.pool[at + i]) == 127;
    }
    assert_int_equal(n_scales, 2 * 100 * 2);
    assert_true(n_values >= n_scales && n_values < n_scales * 11 / 10);
    free_result(&a);
    free_result(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norm__matches_reference),
        cmocka_unit_test(rms_norm__any_number_of_threads__same_bits),
        cmocka_unit_test(rms_norm__part_of_wider_rows__same_bits),
        cmocka_unit_test(silu_mul__matches_reference),
        cmocka_unit_test(silu_mul__exact_to_a_millionth),
        cmocka_unit_test(silu_mul__finite_for_finite_input),
        cmocka_unit_test(silu_mul__keeps_nan),
        cmocka_unit_test(qkv_rope_cache__matches_reference),
        cmocka_unit_test(qkv_rope_cache__every_set_same_bits_without_norm),
        cmocka_unit_test(qkv_rope_cache__threads_same_bits_and_nothing_else_written),
        cmocka_unit_test(qkv_rope_cache__int8__writes_a_scale_per_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
