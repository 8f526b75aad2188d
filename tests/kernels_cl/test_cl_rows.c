/* Norms, elementwise operations, the router, the KV cache and attention of the OpenCL backend against the f64
 * reference, in both styles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "kernels_cl/cl_program.h"
#include "kernels_cl/kernel_texts.h"
#include "tests/kernels_cl/cl_fixture.h"
#include "tests/kernels_cpu/cpu_fixture.h"

#define LIMIT 1e-11

static bool is_small; /* `test_cl_rows small`: few and small shapes, for slow devices (oclgrind) */

static long only = -1; /* the shape of a test that is looked at; -1: all */

static void need(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s", err->text);
}

static void check_norm(struct cl_world *w, size_t n, size_t n_tokens, size_t x_row)
{
    struct err err = {0};
    struct twin x = twin_normal(w, (x_row + n_tokens) * n, 1), weight = twin_normal(w, n, 2),
                out = twin_new(w, NULL, n_tokens * n);
    struct op_rms_norm mine = {x.cl, x_row, weight.cl, out.cl, n_tokens, n, 0, 0, 1e-5f}, ref = mine;
    ref.x = x.ref;
    ref.w = weight.ref;
    ref.out = out.ref;
    need(backend_rms_norm(&w->cl, &mine, &err) && backend_rms_norm(&w->ref, &ref, &err), &err);
    twin_expect(w, &out, LIMIT, "rms_norm");
    twin_free(w, &x);
    twin_free(w, &weight);
    twin_free(w, &out);
}

/* A part of wider rows, in place. */
static void check_norm_part(struct cl_world *w, size_t n, size_t n_tokens)
{
    struct err err = {0};
    struct twin x = twin_normal(w, n_tokens * (n + 13), 1), weight = twin_normal(w, n, 2);
    struct op_rms_norm mine = {x.cl, 0, weight.cl, x.cl, n_tokens, n, n + 13, 5, 1e-5f}, ref = mine;
    ref.x = ref.out = x.ref;
    ref.w = weight.ref;
    need(backend_rms_norm(&w->cl, &mine, &err) && backend_rms_norm(&w->ref, &ref, &err), &err);
    twin_expect(w, &x, LIMIT, "rms_norm in place");
    twin_free(w, &x);
    twin_free(w, &weight);
}

static void rms_norm__any_width__matches_the_reference(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 15, 16, 63, 64, 65, 200, 1024, 4099};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths && !(is_small && widths[j] > 100); j++) {
            check_norm(&cl_worlds[i], widths[j], 1 + j % 4, j % 3);
            check_norm_part(&cl_worlds[i], widths[j], 1 + j % 3);
        }
}

static void silu_mul__any_width__matches_the_reference(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 15, 17, 96, 1023, 1024, 1025, 3000};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths && !(is_small && widths[j] > 100); j++) {
            struct cl_world *w = &cl_worlds[i];
            struct err err = {0};
            size_t n = widths[j], n_tokens = 1 + j % 3;
            struct twin in = twin_normal(w, n_tokens * 2 * n, 1), out = twin_new(w, NULL, n_tokens * n);
            struct op_silu_mul mine = {in.cl, out.cl, n_tokens, n}, ref = {in.ref, out.ref, n_tokens, n};
            need(backend_silu_mul(&w->cl, &mine, &err) && backend_silu_mul(&w->ref, &ref, &err), &err);
            twin_expect(w, &out, LIMIT, "silu_mul");
            twin_free(w, &in);
            twin_free(w, &out);
        }
}

static bool comes_before(const struct logit *a, const struct logit *b)
{
    return a->value > b->value || (a->value >= b->value && a->id < b->id);
}

static int by_order(const void *a, const void *b)
{
    return comes_before(a, b) ? -1 : comes_before(b, a);
}

/* Numbers of which many are equal, and every n_finite-th is finite. */
static void fill_row(float *row, size_t n, size_t n_finite, uint32_t seed)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        row[i] = i % n_finite ? odd[i % 3] : (float)((int)(seed >> 8) % 997 - 400) / 64;
    }
}

static void check_largest(struct cl_world *w, size_t n, size_t k, size_t row, size_t n_finite)
{
    struct err err = {0};
    float *x = mem_need((row + 1) * n * sizeof *x);
    struct logit *wanted = mem_need(n * sizeof *wanted), found[OP_LARGEST_MAX];
    size_t n_wanted = 0;
    fill_row(x, (row + 1) * n, 1, 7);
    fill_row(x + row * n, n, n_finite, (uint32_t)(n + k));
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[row * n + i]))
            wanted[n_wanted++] = (struct logit){x[row * n + i], (int32_t)i};
    qsort(wanted, n_wanted, sizeof *wanted, by_order);
    struct twin in = twin_new(w, x, (row + 1) * n), out = twin_new(w, NULL, 2 * OP_LARGEST_MAX);
    struct op_largest op = {in.cl, row, n, k, out.cl};
    need(backend_largest(&w->cl, &op, &err) &&
             backend_buf_read(&w->cl, out.cl, 0, found, k * sizeof *found, &err),
         &err);
    for (size_t i = 0; i < k; i++)
        if (found[i].id != (i < n_wanted ? wanted[i].id : -1) ||
            (i < n_wanted && memcmp(&found[i].value, &wanted[i].value, sizeof(float)) != 0))
            fail_msg("%s style: of %zu, number %zu of %zu is %d", w->style, n, i, k, found[i].id);
    twin_free(w, &in);
    twin_free(w, &out);
    mem_free(x);
    mem_free(wanted);
}

static void largest__any_row__gives_what_sorting_gives(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 16, 65, 1025, 15, 63, 200, 1024, 16384, 16401, 151936};
    static const size_t numbers[] = {1, 2, 40, 64};
    size_t n_widths = is_small ? 4 : sizeof widths / sizeof *widths, step = is_small ? 2 : 1;
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < n_widths; j++)
            for (size_t l = 0; l < sizeof numbers / sizeof *numbers; l += step)
                check_largest(&cl_worlds[i], widths[j], numbers[l] / (is_small && l ? 10 : 1), j % 2,
                              l % 2 ? 1 + widths[j] / 50 : 1 + j % 2);
}

static void largest__wrong_numbers__are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_world *w = &cl_worlds[i];
        struct twin in = twin_normal(w, 10, 1), out = twin_new(w, NULL, 2);
        const struct op_largest wrong[] = {{in.cl, 0, 10, 0, out.cl},
                                           {in.cl, 0, 10, OP_LARGEST_MAX + 1, out.cl},
                                           {in.cl, 0, 10, OP_LARGEST_MAX, out.cl},
                                           {in.cl, 100, 10, 1, out.cl},
                                           {in.cl, SIZE_MAX, 10, 1, out.cl}};
        for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
            struct err err = {0};
            assert_false(backend_largest(&w->cl, &wrong[j], &err));
            assert_string_not_equal(err.text, "");
        }
        twin_free(w, &in);
        twin_free(w, &out);
    }
}

static void silu_mul__large_numbers__stay_finite(void **state)
{
    (void)state;
    static const float in[] = {-1e30f, 1e30f, -200, 200, 0, -0.0f, 2, 2, 2, 2, 2, 2};
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_world *w = &cl_worlds[i];
        struct err err = {0};
        struct twin gate_up = twin_new(w, in, 12), out = twin_new(w, NULL, 6);
        struct op_silu_mul mine = {gate_up.cl, out.cl, 1, 6};
        need(backend_silu_mul(&w->cl, &mine, &err), &err);
        float *found = fixture_read(&w->cl, out.cl, 6);
        for (int j = 0; j < 6; j++)
            assert_true(isfinite(found[j]));
        assert_true(found[0] == 0 && found[1] == 2e30f && found[3] == 400);
        mem_free(found);
        twin_free(w, &gate_up);
        twin_free(w, &out);
    }
}

static void sums__of_slots_and_gated__match_the_reference(void **state)
{
    (void)state;
    static const size_t widths[] = {3, 16, 77, 1030};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths && !(is_small && widths[j] > 100); j++) {
            struct cl_world *w = &cl_worlds[i];
            struct err err = {0};
            size_t n = widths[j], n_tokens = 1 + j, n_used = 1 + j * 2;
            struct twin slots = twin_normal(w, n_tokens * n_used * n, 1),
                        weights = twin_normal(w, n_tokens * n_used, 2), out = twin_normal(w, n_tokens * n, 3);
            struct op_weighted_sum mine = {slots.cl, weights.cl, out.cl, n_tokens, n_used, n},
                                   ref = {slots.ref, weights.ref, out.ref, n_tokens, n_used, n};
            need(backend_weighted_sum(&w->cl, &mine, &err) && backend_weighted_sum(&w->ref, &ref, &err),
                 &err);
            twin_expect(w, &out, LIMIT, "weighted_sum");
            struct op_add_gated gated = {slots.cl, weights.cl, out.cl, n_tokens, n},
                                gated_ref = {slots.ref, weights.ref, out.ref, n_tokens, n};
            need(backend_add_gated(&w->cl, &gated, &err) && backend_add_gated(&w->ref, &gated_ref, &err),
                 &err);
            twin_expect(w, &out, LIMIT, "add_gated");
            twin_free(w, &slots);
            twin_free(w, &weights);
            twin_free(w, &out);
        }
}

/* ---- the router ---- */

static void check_route(struct cl_world *w, const float *logits, size_t n_tokens, size_t n_experts,
                        size_t n_used, bool renormalise)
{
    struct err err = {0};
    struct twin in = twin_new(w, logits, n_tokens * n_experts), ids = twin_new(w, NULL, n_tokens * n_used),
                weights = twin_new(w, NULL, n_tokens * n_used);
    struct op_route mine = {in.cl, ids.cl, weights.cl, n_tokens, n_experts, n_used, renormalise, 1.5f, 0},
                    ref = {in.ref, ids.ref, weights.ref, n_tokens, n_experts, n_used, renormalise, 1.5f, 0};
    need(backend_route(&w->cl, &mine, &err) && backend_route(&w->ref, &ref, &err), &err);
    float *found = fixture_read(&w->cl, ids.cl, ids.n), *wanted = fixture_read(&w->ref, ids.ref, ids.n);
    assert_memory_equal(found, wanted, ids.n * sizeof *found);
    twin_expect(w, &weights, LIMIT, "route");
    mem_free(found);
    mem_free(wanted);
    twin_free(w, &in);
    twin_free(w, &ids);
    twin_free(w, &weights);
}

static void route__any_shape__chooses_as_the_reference(void **state)
{
    (void)state;
    static const size_t experts[] = {1, 2, 8, 60, 64, 128, 257};
    float logits[7 * 257];
    fixture_normal(logits, sizeof logits / sizeof *logits, 5);
    for (size_t i = 0; i < sizeof logits / sizeof *logits; i += 5)
        logits[i] = 0.25f; /* ties go to the lower id */
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < (is_small ? 4 : sizeof experts / sizeof *experts); j++)
            for (size_t n_used = 1; n_used <= experts[j] && n_used < 11; n_used += 3)
                check_route(&cl_worlds[i], logits, 1 + j, experts[j], n_used, j % 2);
}

static void route__no_number__makes_the_weights_of_its_token_nan(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < 2; j++) {
            struct cl_world *w = &cl_worlds[i];
            struct err err = {0};
            float logits[2 * 6] = {1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0};
            logits[2] = bad[j];
            struct twin in = twin_new(w, logits, 12), ids = twin_new(w, NULL, 6),
                        weights = twin_new(w, NULL, 6);
            struct op_route op = {in.cl, ids.cl, weights.cl, 2, 6, 3, true, 1, 0};
            need(backend_route(&w->cl, &op, &err), &err);
            float *found = fixture_read(&w->cl, weights.cl, 6), *bits = fixture_read(&w->cl, ids.cl, 6);
            int32_t chosen[6];
            memcpy(chosen, bits, sizeof chosen);
            static const int32_t first[2][3] = {{1, 3, 0}, {2, 1, 3}}, second[] = {2, 1, 3};
            assert_memory_equal(chosen, first[j], sizeof first[j]);
            assert_memory_equal(chosen + 3, second, sizeof second);
            for (int s = 0; s < 3; s++)
                assert_true(isnan(found[s]) && isfinite(found[3 + s]));
            mem_free(found);
            mem_free(bits);
            twin_free(w, &in);
            twin_free(w, &ids);
            twin_free(w, &weights);
        }
}

/* ---- the KV cache and attention ---- */

struct heads {
    size_t head_dim, n_head, n_kv_head, n_tokens, pos, window, n_rot;
    enum rope_mode mode;
    bool norm;
    enum dtype type;
};

#define LAYERS 2 /* per page, so that offsets are not 0 */

static size_t slab_bytes(const struct heads *s)
{
    return s->n_kv_head * KV_BLOCK_TOKENS * kv_row_bytes(s->type, s->head_dim);
}

/* The stored values of K and V of positions 0 .. n, widened, [K, V][KV head][position][D]. */
static double *stored(struct backend *b, const struct bbuf *pool, const struct heads *s,
                      const uint32_t *table, size_t n)
{
    size_t dim = s->head_dim, slab = slab_bytes(s), n_bytes = b->ops->buf_bytes(pool), at = 0;
    size_t row_bytes = kv_row_bytes(s->type, dim), value_bytes = dtype_info(s->type)->block_bytes;
    unsigned char *bytes = mem_need(n_bytes);
    double *out = mem_need(2 * s->n_kv_head * n * dim * sizeof *out);
    float row[512], scale = 1;
    assert_true(backend_buf_read(b, pool, 0, bytes, n_bytes, NULL));
    for (size_t h = 0; h < 2 * s->n_kv_head; h++)
        for (size_t p = 0; p < n; p++) {
            const unsigned char *rows =
                bytes + table[p / 64] * LAYERS * 2 * slab + 2 * slab + h * 64 * row_bytes;
            dtype_to_f32(s->type, rows + p % 64 * dim * value_bytes, row, dim);
            if (s->type == DTYPE_I8)
                memcpy(&scale, rows + 64 * dim + p % 64 * sizeof scale, sizeof scale);
            for (size_t d = 0; d < dim; d++)
                out[at++] = (double)row[d] * (double)scale;
        }
    mem_free(bytes);
    return out;
}

static void expect_same_rows(struct cl_world *w, struct bbuf *mine, struct bbuf *ref, const struct heads *s,
                             const uint32_t *table, const char *what)
{
    size_t n = s->pos + s->n_tokens, all = 2 * s->n_kv_head * n * s->head_dim;
    double *found = stored(&w->cl, mine, s, table, n), *wanted = stored(&w->ref, ref, s, table, n);
    double error = 0, power = 0, limit = s->type == DTYPE_F32 ? 1e-12 : s->type == DTYPE_F16 ? 1e-8 : 1e-6;
    for (size_t i = 0; i < all; i++) {
        error += (found[i] - wanted[i]) * (found[i] - wanted[i]);
        power += wanted[i] * wanted[i];
    }
    if (!(error <= limit * power))
        fail_msg("%s, %s style: the cache's nmse is %g", what, w->style, error / power);
    mem_free(found);
    mem_free(wanted);
}

/* What is put into both caches, rows before pos (early) and from there on, and what is asked. */
struct asked {
    struct twin early, early_q, qkv, q, norms, cosines, sines, late, out;
};

static struct asked asked_new(struct cl_world *w, const struct heads *s)
{
    size_t width = (s->n_head + 2 * s->n_kv_head) * s->head_dim, n_q = s->n_head * s->head_dim;
    size_t n_angles = (s->pos + s->n_tokens) * (s->n_rot / 2) + 1;
    return (struct asked){.early = twin_normal(w, s->pos * width, 5),
                          .early_q = twin_new(w, NULL, s->pos * n_q),
                          .qkv = twin_normal(w, s->n_tokens * width, 1),
                          .q = twin_new(w, NULL, s->n_tokens * n_q),
                          .norms = twin_normal(w, s->head_dim, 2),
                          .cosines = twin_normal(w, n_angles, 3),
                          .sines = twin_normal(w, n_angles, 6),
                          .late = twin_normal(w, s->n_tokens * n_q, 4),
                          .out = twin_new(w, NULL, s->n_tokens * n_q)};
}

static void asked_free(struct cl_world *w, struct asked *a)
{
    struct twin *all[] = {&a->early,   &a->early_q, &a->qkv,  &a->q,  &a->norms,
                          &a->cosines, &a->sines,   &a->late, &a->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        twin_free(w, all[i]);
}

static struct bbuf *of(const struct twin *t, bool is_ref)
{
    return is_ref ? t->ref : t->cl;
}

static void put_rows(struct cl_world *w, bool is_ref, const struct heads *s, const struct asked *a,
                     bool is_early, const struct kv_layer *kv)
{
    struct err err = {0};
    const struct bbuf *norms = s->norm ? of(&a->norms, is_ref) : NULL;
    struct op_qkv_rope_cache op = {.qkv = of(is_early ? &a->early : &a->qkv, is_ref),
                                   .q = of(is_early ? &a->early_q : &a->q, is_ref),
                                   .q_norm = norms,
                                   .k_norm = norms,
                                   .eps = 1e-5f,
                                   .cos = of(&a->cosines, is_ref),
                                   .sin = of(&a->sines, is_ref),
                                   .mode = s->mode,
                                   .n_tokens = is_early ? s->pos : s->n_tokens,
                                   .n_head = s->n_head,
                                   .n_kv_head = s->n_kv_head,
                                   .head_dim = s->head_dim,
                                   .n_rot = s->n_rot,
                                   .pos = is_early ? 0 : s->pos,
                                   .kv = *kv};
    if (op.n_tokens)
        need(backend_qkv_rope_cache(is_ref ? &w->ref : &w->cl, &op, &err), &err);
}

static void ask(struct cl_world *w, bool is_ref, const struct heads *s, const struct asked *a,
                const struct kv_layer *kv)
{
    struct err err = {0};
    uint32_t len = (uint32_t)(s->pos + s->n_tokens);
    struct op_attention op = {.q = of(&a->late, is_ref),
                              .out = of(&a->out, is_ref),
                              .scale = 1 / sqrtf((float)s->head_dim),
                              .n_seqs = 1,
                              .n_tokens = s->n_tokens,
                              .n_head = s->n_head,
                              .n_kv_head = s->n_kv_head,
                              .head_dim = s->head_dim,
                              .lens = &len,
                              .window = s->window,
                              .kv = *kv};
    need(backend_attention(is_ref ? &w->ref : &w->cl, &op, &err), &err);
}

/* Both caches hold nothing but NaN, and early rows. copies: the device's are those of the reference. */
static void begin_caches(struct cl_world *w, const struct heads *s, const struct asked *a,
                         const struct kv_layer kv[2], bool copies)
{
    struct err err = {0};
    size_t n = kv[0].page_bytes * kv[0].n_pages;
    unsigned char *bytes = mem_need(n);
    memset(bytes, 0xff, n);
    need(backend_buf_write(&w->ref, kv[1].pool, 0, bytes, n, &err), &err);
    put_rows(w, true, s, a, true, &kv[1]);
    if (copies)
        need(backend_buf_read(&w->ref, kv[1].pool, 0, bytes, n, &err), &err);
    need(backend_buf_write(&w->cl, kv[0].pool, 0, bytes, n, &err), &err);
    if (!copies)
        put_rows(w, false, s, a, true, &kv[0]);
    mem_free(bytes);
}

/* The same layer in both pools; the table is backwards. */
static void new_caches(struct cl_world *w, const struct heads *s, uint32_t *table, struct kv_layer kv[2])
{
    struct err err = {0};
    size_t n_pages = (s->pos + s->n_tokens + 63) / 64, page = LAYERS * 2 * slab_bytes(s);
    for (size_t i = 0; i < n_pages; i++)
        table[i] = (uint32_t)(n_pages - 1 - i);
    for (int i = 0; i < 2; i++)
        kv[i] = (struct kv_layer){backend_buf_new(i ? &w->ref : &w->cl, n_pages * page, &err),
                                  s->type,
                                  page,
                                  page / 2,
                                  page / 4 * 3,
                                  table,
                                  n_pages};
    need(kv[0].pool && kv[1].pool, &err);
}

static void free_caches(struct cl_world *w, struct kv_layer kv[2])
{
    backend_buf_free(&w->cl, kv[0].pool);
    backend_buf_free(&w->ref, kv[1].pool);
}

/* Positions 0 .. pos + T are put into both caches; then the last T are asked. */
static void check_heads(struct cl_world *w, const struct heads *s)
{
    uint32_t table[80];
    struct kv_layer kv[2];
    char what[160];
    snprintf(what, sizeof what, "D %zu H %zu KV %zu T %zu pos %zu window %zu rot %zu mode %d %s", s->head_dim,
             s->n_head, s->n_kv_head, s->n_tokens, s->pos, s->window, s->n_rot, (int)s->mode,
             dtype_info(s->type)->name);
    new_caches(w, s, table, kv);
    struct asked a = asked_new(w, s);
    begin_caches(w, s, &a, kv, is_small); /* what the small grid's device would take minutes for */
    for (int i = 0; i < 2; i++) {
        put_rows(w, i, s, &a, false, &kv[i]);
        ask(w, i, s, &a, &kv[i]);
    }
    twin_expect(w, &a.q, LIMIT, what);
    expect_same_rows(w, kv[0].pool, kv[1].pool, s, table, what);
    /* The rows differ where rounding to a short type went the other way. */
    twin_expect(w, &a.out, s->type == DTYPE_F32 ? 1e-11 : s->type == DTYPE_F16 ? 1e-7 : 1e-5, what);
    free_caches(w, kv);
    asked_free(w, &a);
}

static void attention__any_shape__matches_the_reference(void **state)
{
    (void)state;
    static const size_t dims[] = {2, 6, 20, 32, 64, 80, 128, 512}, groups[] = {1, 2, 7},
                        tokens[] = {1, 3, 66}, starts[] = {0, 62, 130}, windows[] = {0, 1, 63, 65};
    static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < 48; j++) {
            size_t dim = dims[j % 8], group = groups[j / 3 % 3], n_tokens = tokens[j / 2 % 3];
            bool is_slow = dim > 64 || (dim > 6 && (n_tokens > 3 || starts[j / 5 % 3] > 62));
            if ((is_small && is_slow) || (only >= 0 && j != (size_t)only))
                continue;
            n_tokens = is_small && n_tokens > 9 ? 9 : n_tokens;
            check_heads(&cl_worlds[i], &(struct heads){.head_dim = dim,
                                                       .n_head = group * (1 + j % 2),
                                                       .n_kv_head = 1 + j % 2,
                                                       .n_tokens = n_tokens,
                                                       .pos = starts[j / 5 % 3],
                                                       .window = windows[j / 7 % 4],
                                                       .n_rot = j % 4 ? dim : dim / 4 * 2,
                                                       .mode = j % 5 ? ROPE_NEOX : ROPE_INTERLEAVED,
                                                       .norm = j % 3 == 0,
                                                       .type = types[(j + j / 6) % 3]});
        }
}

/* Contexts that end before, at and behind a page, a part of the keys, and many parts. */
static void attention__contexts_of_models__match_the_reference(void **state)
{
    (void)state;
    static const size_t contexts[] = {1, 63, 64, 65, 255, 256, 257, 4097};
    static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    for (int i = 0; i < n_cl_worlds && !is_small; i++)
        for (size_t j = 0; j < 2 * sizeof contexts / sizeof *contexts; j++)
            check_heads(&cl_worlds[i], &(struct heads){.head_dim = j % 2 ? 128 : 64,
                                                       .n_head = 4,
                                                       .n_kv_head = j % 2 ? 1 : 2,
                                                       .n_tokens = 1,
                                                       .pos = contexts[j / 2] - 1,
                                                       .n_rot = 64,
                                                       .mode = ROPE_NEOX,
                                                       .norm = true,
                                                       .type = types[(i + j) % 3]});
}

static void attention__long_context__matches_the_reference(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t k = 0; k < 3; k++) /* several parts of the keys, that are joined */
            if (only < 0 || k == (size_t)only)
                check_heads(&cl_worlds[i], &(struct heads){.head_dim = is_small ? 4 : 16,
                                                           .n_head = 2,
                                                           .n_kv_head = 1,
                                                           .n_tokens = 2,
                                                           .pos = is_small ? 260 : 2000,
                                                           .n_rot = 4,
                                                           .mode = ROPE_NEOX,
                                                           .type = types[k]});
}

/* ---- several sequences ---- */

/* Over one long run of positions, each from a page of it on: they have pages in common. */
struct seqs {
    size_t n, n_pages, pages[8]; /* pages of a row of the table; where each begins */
    uint32_t lens[8], table[8 * 32];
};

static void fill_table(struct seqs *q, const struct heads *s, const uint32_t *run)
{
    memset(q->table, 0xff, sizeof q->table); /* no page */
    q->n_pages = (s->pos + 63) / 64;
    assert_true(q->n * q->n_pages <= sizeof q->table / sizeof *q->table);
    for (size_t i = 0; i < q->n; i++) {
        assert_true(q->pages[i] * 64 + q->lens[i] <= s->pos);
        for (size_t j = 0; j * 64 < q->lens[i]; j++)
            q->table[i * q->n_pages + j] = run[q->pages[i] + j];
    }
}

/* Sequences first .. first + n of the call. */
static void ask_some(struct backend *b, const struct heads *s, const struct seqs *of_all, size_t first,
                     size_t n, struct kv_layer kv, struct bbuf *q, struct bbuf *out)
{
    struct err err = {0};
    kv.table = of_all->table + first * of_all->n_pages;
    kv.n_pages = of_all->n_pages;
    struct op_attention op = {.q = q,
                              .out = out,
                              .scale = 1 / sqrtf((float)s->head_dim),
                              .n_seqs = n,
                              .n_tokens = s->n_tokens,
                              .n_head = s->n_head,
                              .n_kv_head = s->n_kv_head,
                              .head_dim = s->head_dim,
                              .lens = of_all->lens + first,
                              .window = s->window,
                              .kv = kv};
    need(backend_attention(b, &op, &err), &err);
}

/* Each sequence alone has the bits that it has among the others. */
static void expect_same_alone(struct cl_world *w, const struct heads *s, const struct seqs *q,
                              struct kv_layer kv, const struct twin *late, const struct twin *out,
                              const char *what)
{
    size_t n = s->n_tokens * s->n_head * s->head_dim;
    float *all_q = fixture_read(&w->cl, late->cl, q->n * n), *all = fixture_read(&w->cl, out->cl, q->n * n);
    for (size_t i = 0; i < q->n; i++) {
        struct bbuf *one_q = fixture_buf(&w->cl, all_q + i * n, n), *one = fixture_buf(&w->cl, NULL, n);
        ask_some(&w->cl, s, q, i, 1, kv, one_q, one);
        float *found = fixture_read(&w->cl, one, n);
        if (memcmp(found, all + i * n, n * sizeof *found) != 0)
            fail_msg("%s, %s style: sequence %zu of %u has other bits alone", what, w->style, i, q->lens[i]);
        mem_free(found);
        backend_buf_free(&w->cl, one_q);
        backend_buf_free(&w->cl, one);
    }
    mem_free(all_q);
    mem_free(all);
}

/* s: its pos is how long the run is, of which no token is asked. */
static void check_sequences(struct cl_world *w, const struct heads *s, struct seqs *q)
{
    size_t n = q->n * s->n_tokens * s->n_head * s->head_dim;
    struct heads run = *s;
    uint32_t table[80];
    struct kv_layer kv[2];
    char what[160];
    snprintf(what, sizeof what, "%zu sequences, D %zu H %zu KV %zu T %zu window %zu %s", q->n, s->head_dim,
             s->n_head, s->n_kv_head, s->n_tokens, s->window, dtype_info(s->type)->name);
    run.n_tokens = 0;
    new_caches(w, &run, table, kv);
    fill_table(q, s, table);
    struct asked a = asked_new(w, &run);
    struct twin late = twin_normal(w, n, 4), out = twin_new(w, NULL, n);
    begin_caches(w, &run, &a, kv, true);
    ask_some(&w->cl, s, q, 0, q->n, kv[0], late.cl, out.cl);
    ask_some(&w->ref, s, q, 0, q->n, kv[1], late.ref, out.ref);
    twin_expect(w, &out, LIMIT, what);
    expect_same_alone(w, s, q, kv[0], &late, &out, what);
    free_caches(w, kv);
    asked_free(w, &a);
    twin_free(w, &late);
    twin_free(w, &out);
}

/* Few tokens of each and many, which are other kernels; lengths before, at and behind a page and a part of
 * the keys, and one of many parts. */
static void attention__several_sequences__match_the_reference_and_one_by_one(void **state)
{
    (void)state;
    static const size_t dims[] = {64, 128, 20}, windows[] = {0, 70, 300}, tokens[] = {1, 1, 2, 9};
    static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < 12; j++) {
            struct seqs all = {8, 0, {3, 0, 5, 1, 2, 0, 0, 4}, {1, 63, 64, 65, 256, 257, 1100, 2}, {0}};
            struct seqs few = {3, 0, {1, 0, 1}, {1, 65, 64}, {0}};
            struct heads s = {.head_dim = is_small ? 4 : dims[j / 2 % 3],
                              .n_kv_head = 1 + j % 2,
                              .n_head = (j % 3 ? 4 : 5) * (1 + j % 2),
                              .n_tokens = tokens[j % 4],
                              .pos = is_small ? 140 : 1150,
                              .window = windows[j / 3 % 3],
                              .n_rot = 4,
                              .mode = ROPE_NEOX,
                              .type = types[(j + j / 3) % 3]};
            struct seqs *q = is_small ? &few : &all;
            for (size_t l = 0; l < q->n; l++)
                q->lens[l] += (uint32_t)(s.n_tokens - 1);
            if ((is_small && j > 3) || (only >= 0 && j != (size_t)only))
                continue;
            check_sequences(&cl_worlds[i], &s, q);
        }
}

/* Rows nobody may see are not read: they hold NaN. */
static void attention__unseen_rows__are_not_read(void **state)
{
    (void)state;
    enum { DIM = 16, POS = 70, WINDOW = 10 };
    static const uint32_t table[] = {1, 0}, lens[] = {POS + 1};
    float rows[2 * 2 * 64 * DIM];
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_world *w = &cl_worlds[i];
        struct err err = {0};
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            size_t page = j / (2 * 64 * DIM) ? 0 : 1, p = page * 64 + j / DIM % 64;
            rows[j] = p + WINDOW > POS && p <= POS ? 0.5f : NAN;
        }
        struct twin pool = twin_new(w, rows, sizeof rows / sizeof *rows), q = twin_normal(w, DIM, 1),
                    out = twin_new(w, NULL, DIM);
        struct op_attention op = {.q = q.cl,
                                  .out = out.cl,
                                  .scale = 1,
                                  .n_seqs = 1,
                                  .n_tokens = 1,
                                  .n_head = 1,
                                  .n_kv_head = 1,
                                  .head_dim = DIM,
                                  .lens = lens,
                                  .window = WINDOW,
                                  .kv = {pool.cl, DTYPE_F32, 2 * 64 * DIM * 4, 0, 64 * DIM * 4, table, 2}};
        need(backend_attention(&w->cl, &op, &err), &err);
        float *found = fixture_read(&w->cl, out.cl, DIM);
        for (size_t d = 0; d < DIM; d++)
            assert_true(fabsf(found[d] - 0.5f) < 1e-6f);
        mem_free(found);
        twin_free(w, &pool);
        twin_free(w, &q);
        twin_free(w, &out);
    }
}

static void kernels__of_rows_and_heads__were_all_launched(void **state)
{
    (void)state;
    cl_expect_launched(cl_text_elements, CL_GROUP_ELEMENTS, 1, NULL);
    cl_expect_launched(cl_text_route, CL_GROUP_ROUTE, 1, "make_tiles");
    cl_expect_launched(cl_text_attention, CL_GROUP_KV_F16, 3, NULL);
}

/* small: see is_small; a name: that test alone; a number: of its shapes that one. */
int main(int argc, char **argv)
{
    is_small = cl_copies = argc > 1 && strcmp(argv[1], "small") == 0;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (argc > 3)
        only = strtol(argv[3], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norm__any_width__matches_the_reference),
        cmocka_unit_test(silu_mul__any_width__matches_the_reference),
        cmocka_unit_test(largest__any_row__gives_what_sorting_gives),
        cmocka_unit_test(largest__wrong_numbers__are_refused),
        cmocka_unit_test(silu_mul__large_numbers__stay_finite),
        cmocka_unit_test(sums__of_slots_and_gated__match_the_reference),
        cmocka_unit_test(route__any_shape__chooses_as_the_reference),
        cmocka_unit_test(route__no_number__makes_the_weights_of_its_token_nan),
        cmocka_unit_test(attention__any_shape__matches_the_reference),
        cmocka_unit_test(attention__contexts_of_models__match_the_reference),
        cmocka_unit_test(attention__long_context__matches_the_reference),
        cmocka_unit_test(attention__several_sequences__match_the_reference_and_one_by_one),
        cmocka_unit_test(attention__unseen_rows__are_not_read),
        cmocka_unit_test(kernels__of_rows_and_heads__were_all_launched),
    };
    return cmocka_run_group_tests(tests, cl_worlds_open, cl_worlds_close);
}
