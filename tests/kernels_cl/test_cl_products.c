/* The products of the OpenCL backend against the f64 reference: every weight type, shape class and style. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"
#include "kernels_cl/kernel_texts.h"
#include "tests/kernels_cl/cl_fixture.h"
#include "tests/kernels_cpu/cpu_fixture.h"

/* f32 arithmetic on exact weights; activations are not quantised. */
#define LIMIT 1e-10

static bool is_small; /* `test_cl_products small`: few and small shapes, for slow devices (oclgrind) */

struct product {
    enum dtype types[WEIGHT_MAX_PARTS];
    size_t n_parts, n, k, m; /* n rows each */
    size_t a_row;
    bool with_bias, add, odd;
};

static void check_product(struct cl_world *w, const struct product *p)
{
    struct rows rows[WEIGHT_MAX_PARTS], biases[WEIGHT_MAX_PARTS];
    struct weight_part parts[WEIGHT_MAX_PARTS];
    struct err err = {0};
    char what[160];
    for (size_t i = 0; i < p->n_parts; i++) {
        rows[i] = rows_new(p->types[i], 1, p->n, p->k, p->odd, (uint32_t)(i + p->n));
        biases[i] = rows_new(DTYPE_F32, 1, 1, p->n, p->odd, (uint32_t)(i + 9));
        biases[i].tensor.n_dims = 1;
        parts[i] = (struct weight_part){&rows[i].tensor, p->with_bias ? &biases[i].tensor : NULL};
    }
    struct twin a = twin_normal(w, (p->a_row + p->m) * p->k, 3);
    struct twin out =
        p->add ? twin_normal(w, p->m * p->n * p->n_parts, 4) : twin_new(w, NULL, p->m * p->n * p->n_parts);
    struct op_gemm mine = {.a = a.cl, .a_row = p->a_row, .out = out.cl, .n_tokens = p->m, .add = p->add},
                   ref = mine;
    ref.a = a.ref;
    ref.out = out.ref;
    struct bweight *bound = backend_weight_bind(&w->cl, parts, p->n_parts, &err);
    struct bweight *exact = bound ? backend_weight_bind(&w->ref, parts, p->n_parts, &err) : NULL;
    mine.w = bound;
    ref.w = exact;
    if (!exact || !backend_gemm(&w->cl, &mine, &err) || !backend_gemm(&w->ref, &ref, &err))
        fail_msg("%s", err.text);
    snprintf(what, sizeof what, "%s m %zu n %zu k %zu parts %zu%s%s%s", dtype_info(p->types[0])->name, p->m,
             p->n, p->k, p->n_parts, p->with_bias ? " bias" : "", p->add ? " add" : "", p->odd ? " odd" : "");
    twin_expect(w, &out, LIMIT, what);
    backend_weight_free(&w->cl, bound);
    backend_weight_free(&w->ref, exact);
    twin_free(w, &a);
    twin_free(w, &out);
    for (size_t i = 0; i < p->n_parts; i++) {
        rows_free(&rows[i]);
        rows_free(&biases[i]);
    }
}

/* As short as rows of a type may be, and with more than one group of 32. */
static size_t short_row(enum dtype type)
{
    return dtype_info(type)->block_weights > 64 ? dtype_info(type)->block_weights : 64;
}

static void products__every_type_and_number_of_tokens__match_the_reference(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 2, 3, 4, 7, 8, 9, 31, 33};
    for (int i = 0; i < n_cl_worlds; i++)
        for (enum dtype type = 0; type < DTYPE_I8; type++)
            for (size_t t = is_small; t < sizeof tokens / sizeof *tokens; t += is_small ? 6 : 1)
                check_product(&cl_worlds[i],
                              &(struct product){.types = {type},
                                                .n_parts = 1,
                                                .n = is_small ? 9 : 1 + (t * 13 + type) % 37,
                                                .k = is_small ? short_row(type) : 256 * (1 + t % 3),
                                                .m = tokens[t],
                                                .a_row = t % 2 * 3,
                                                .add = t % 3 == 1,
                                                .odd = t % 4 == 3});
}

/* The shapes of models: long rows, and as many tokens as a tile has, one less, one more. */
static void products__shapes_of_models__match_the_reference(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q8_0,
                                       DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};
    static const struct {
        size_t m, k;
    } shapes[] = {{1, 2048}, {8, 2048}, {129, 2048}, {2, 4096}, {9, 4096}, {64, 4096}, {32, 768}, {33, 768}};
    for (int i = 0; i < n_cl_worlds && !is_small; i++)
        for (size_t j = 0; j < sizeof shapes / sizeof *shapes * 6; j++)
            check_product(&cl_worlds[i], &(struct product){.types = {types[j % 6]},
                                                           .n_parts = 1,
                                                           .n = 35,
                                                           .k = shapes[j / 6].k,
                                                           .m = shapes[j / 6].m});
}

static void products__any_width__match_the_reference(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t k = 1; k < 72; k += is_small ? 33 : 5)
            for (size_t m = 1; m < 14; m += 11)
                check_product(
                    &cl_worlds[i],
                    &(struct product){.types = {types[k % 3]}, .n_parts = 1, .n = 19, .k = k, .m = m});
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t k = 32; k <= 160 && !is_small; k += 32)
            check_product(
                &cl_worlds[i],
                &(struct product){.types = {DTYPE_Q8_0}, .n_parts = 1, .n = 66, .k = k, .m = 1 + k / 8});
}

static void products__parts_of_different_types__act_as_one_weight(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t m = 1; m < (is_small ? 10 : 40); m += is_small ? 8 : 17)
            check_product(&cl_worlds[i],
                          &(struct product){.types = {DTYPE_Q4_K, DTYPE_F32, DTYPE_Q6_K, DTYPE_Q8_0},
                                            .n_parts = 4,
                                            .n = is_small ? 3 : 21,
                                            .k = is_small ? 256 : 512,
                                            .m = m,
                                            .with_bias = true,
                                            .add = m > 1});
}

/* Q and K, gate and up: parts of one type side by side are one launch, with biases and without. */
static void products__parts_of_one_type__act_as_one_weight(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t n_parts = 2; n_parts <= 4; n_parts++)
            for (size_t m = 1; m < (is_small ? 6 : 10); m += 4)
                check_product(&cl_worlds[i],
                              &(struct product){.types = {DTYPE_Q4_K, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K},
                                                .n_parts = n_parts,
                                                .n = 13,
                                                .k = 256,
                                                .m = m,
                                                .with_bias = n_parts % 2,
                                                .add = m == 5});
}

/* More rows than are expanded at once. */
static void products__a_large_weight__is_cut_into_pieces(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds && !is_small; i++)
        check_product(
            &cl_worlds[i],
            &(struct product){
                .types = {DTYPE_Q4_0}, .n_parts = 1, .n = 300, .k = 16384, .m = 9, .with_bias = true});
}

/* A row has the same bits for 1 to 8 tokens. */
static void products__few_tokens__same_bits(void **state)
{
    (void)state;
    const size_t n_rows = is_small ? 9 : 70, k = is_small ? 256 : 512;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_world *w = &cl_worlds[i];
        struct err err = {0};
        struct rows rows = rows_new(DTYPE_Q4_K, 1, n_rows, k, false, 5);
        struct weight_part part = {.weight = &rows.tensor};
        struct bweight *bound = backend_weight_bind(&w->cl, &part, 1, &err);
        struct twin a = twin_normal(w, 8 * k, 3), all = twin_new(w, NULL, 8 * n_rows),
                    some = twin_new(w, NULL, 8 * n_rows);
        struct op_gemm op = {.w = bound, .a = a.cl, .out = all.cl, .n_tokens = 8};
        assert_true(backend_gemm(&w->cl, &op, &err));
        float *wanted = fixture_read(&w->cl, all.cl, 8 * n_rows);
        for (size_t n = 1; n < 8; n++) {
            op.a_row = 8 - n;
            op.n_tokens = n;
            op.out = some.cl;
            assert_true(backend_gemm(&w->cl, &op, &err));
            float *found = fixture_read(&w->cl, some.cl, 8 * n_rows);
            assert_memory_equal(found, wanted + (8 - n) * n_rows, n * n_rows * sizeof *found);
            mem_free(found);
        }
        mem_free(wanted);
        backend_weight_free(&w->cl, bound);
        twin_free(w, &a);
        twin_free(w, &all);
        twin_free(w, &some);
        rows_free(&rows);
    }
}

/* Whatever tuning chooses, no bit changes. */
static void products__any_rows_in_a_group__same_bits(void **state)
{
    (void)state;
    const size_t n_rows = is_small ? 19 : 139;
    static const enum dtype types[] = {DTYPE_Q4_K, DTYPE_Q8_0, DTYPE_F16};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < 3; j++) {
            struct cl_world *w = &cl_worlds[i];
            struct cl_backend *b = w->cl.ctx;
            struct err err = {0};
            struct rows rows = rows_new(types[j], 1, n_rows, 256, false, 5);
            struct weight_part part = {.weight = &rows.tensor};
            struct bweight *bound = backend_weight_bind(&w->cl, &part, 1, &err);
            struct twin a = twin_normal(w, 5 * 256, 3);
            float *wanted = NULL;
            for (uint16_t each = PRODUCT_ROWS; each <= 16 * PRODUCT_ROWS; each = (uint16_t)(2 * each)) {
                struct twin out = twin_new(w, NULL, 5 * n_rows);
                struct op_gemm op = {.w = bound, .a = a.cl, .out = out.cl, .n_tokens = 5};
                b->tuning.rows[types[j]] = each;
                assert_true(backend_gemm(&w->cl, &op, &err));
                b->tuning.rows[types[j]] = 0;
                float *found = fixture_read(&w->cl, out.cl, 5 * n_rows);
                wanted = wanted ? wanted : found;
                assert_memory_equal(found, wanted, 5 * n_rows * sizeof *found);
                if (found != wanted)
                    mem_free(found);
                twin_free(w, &out);
            }
            mem_free(wanted);
            backend_weight_free(&w->cl, bound);
            twin_free(w, &a);
            rows_free(&rows);
        }
}

static void embed__every_type__gives_the_bits_of_the_definition(void **state)
{
    (void)state;
    const size_t k = is_small ? 256 : 512;
    static const int32_t ids[] = {13, 0, 6, 7, 0, 9};
    for (int i = 0; i < n_cl_worlds; i++)
        for (enum dtype type = 0; type < DTYPE_I8; type++) {
            struct cl_world *w = &cl_worlds[i];
            struct err err = {0};
            struct rows first = rows_new(type, 1, 7, k, type % 2, 5),
                        second = rows_new(DTYPE_F32, 1, 7, k, false, 6);
            struct weight_part parts[] = {{.weight = &first.tensor}, {.weight = &second.tensor}};
            struct bweight *bound = backend_weight_bind(&w->cl, parts, 2, &err);
            struct bweight *exact = backend_weight_bind(&w->ref, parts, 2, &err);
            struct twin out = twin_new(w, NULL, 6 * k);
            struct op_embed mine = {bound, ids, out.cl, 6}, ref = {exact, ids, out.ref, 6};
            if (!backend_embed(&w->cl, &mine, &err) || !backend_embed(&w->ref, &ref, &err))
                fail_msg("%s", err.text);
            twin_expect(w, &out, 0, dtype_info(type)->name);
            backend_weight_free(&w->cl, bound);
            backend_weight_free(&w->ref, exact);
            twin_free(w, &out);
            rows_free(&first);
            rows_free(&second);
        }
}

/* ---- experts ---- */

struct stack {
    enum dtype types[2];
    size_t n_parts, n_experts, n, k, n_tokens, n_used;
    int only; /* the expert that all want, -1: any */
};

static struct twin new_ids(struct cl_world *w, const struct stack *s)
{
    size_t n = s->n_tokens * s->n_used;
    float *ids = mem_need(n * sizeof *ids); /* moved as bits */
    for (size_t p = 0; p < n; p++) {
        int32_t id =
            s->only >= 0 ? s->only : (int32_t)((p / s->n_used * 7 + p % s->n_used * 3) % s->n_experts);
        memcpy(&ids[p], &id, sizeof id);
    }
    struct twin t = twin_new(w, ids, n);
    mem_free(ids);
    return t;
}

static void check_stack(struct cl_world *w, const struct stack *s)
{
    struct rows rows[2];
    const struct tensor *parts[2];
    struct err err = {0};
    char what[120];
    for (size_t i = 0; i < s->n_parts; i++) {
        rows[i] = rows_new(s->types[i], s->n_experts, s->n, s->k, i, (uint32_t)(i + s->n));
        parts[i] = &rows[i].tensor;
    }
    bool gated = s->n_parts == 2;
    struct twin ids = new_ids(w, s), x = twin_normal(w, s->n_tokens * (gated ? 1 : s->n_used) * s->k, 3);
    struct twin out = twin_new(w, NULL, s->n_tokens * s->n_used * s->n);
    struct bexperts *bound = backend_experts_bind(&w->cl, parts, s->n_parts, &err);
    struct bexperts *exact = bound ? backend_experts_bind(&w->ref, parts, s->n_parts, &err) : NULL;
    struct op_moe_gate_up gate_up[] = {{bound, x.cl, ids.cl, out.cl, s->n_tokens, s->n_used, NULL, 0},
                                       {exact, x.ref, ids.ref, out.ref, s->n_tokens, s->n_used, NULL, 0}};
    struct op_moe_down down[] = {{bound, x.cl, ids.cl, out.cl, s->n_tokens, s->n_used, NULL, 0},
                                 {exact, x.ref, ids.ref, out.ref, s->n_tokens, s->n_used, NULL, 0}};
    bool ok = exact != NULL;
    for (int i = 0; ok && i < 2; i++)
        ok = gated ? backend_moe_gate_up(i ? &w->ref : &w->cl, &gate_up[i], &err)
                   : backend_moe_down(i ? &w->ref : &w->cl, &down[i], &err);
    if (!ok)
        fail_msg("%s", err.text);
    snprintf(what, sizeof what, "%s experts %zu x %zu x %zu tokens %zu x %zu parts %zu",
             dtype_info(s->types[0])->name, s->n_experts, s->n, s->k, s->n_tokens, s->n_used, s->n_parts);
    twin_expect(w, &out, LIMIT, what);
    backend_experts_free(&w->cl, bound);
    backend_experts_free(&w->ref, exact);
    twin_free(w, &ids);
    twin_free(w, &x);
    twin_free(w, &out);
    for (size_t i = 0; i < s->n_parts; i++)
        rows_free(&rows[i]);
}

static void experts__every_type__match_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++)
        for (enum dtype type = 0; type < DTYPE_I8; type++)
            for (size_t n_parts = 1; n_parts <= 2; n_parts++)
                check_stack(&cl_worlds[i],
                            &(struct stack){.types = {type, (enum dtype)((type + n_parts) % DTYPE_I8)},
                                            .n_parts = n_parts,
                                            .n_experts = 5 + type,
                                            .n = is_small ? 3 : 11,
                                            .k = 256,
                                            .n_tokens = n_parts == 1 ? 1
                                                        : is_small   ? 3
                                                                     : 9,
                                            .n_used = 1 + type % 3,
                                            .only = -1});
}

static void experts__any_routing__match_the_reference(void **state)
{
    (void)state;
    static const struct stack stacks[] = {
        {{DTYPE_Q4_K, DTYPE_Q6_K}, 2, 128, 3, 256, 3, 8, -1}, /* most experts have nothing to do */
        {{DTYPE_Q8_0, DTYPE_Q8_0}, 2, 4, 9, 64, 50, 2, 3},    /* all want one, several tiles of it */
        {{DTYPE_F32}, 1, 9, 67, 40, 21, 9, -1},               /* all are wanted by all */
        {{DTYPE_Q4_0}, 1, 3, 4, 96, 300, 2, -1},              /* more tokens than a batch of a chat */
    };
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t s = 0; s < (is_small ? 1 : sizeof stacks / sizeof *stacks); s++)
            check_stack(&cl_worlds[i], &stacks[s]);
}

/* Ids outside reach memory of the stack all the same. */
static void experts__an_id_outside__stays_inside_the_stack(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_world *w = &cl_worlds[i];
        struct rows rows = rows_new(DTYPE_F32, 3, 2, 32, false, 1);
        const struct tensor *part = &rows.tensor;
        static const int32_t bad[] = {-1, 3, INT32_MAX, INT32_MIN}, good[] = {0, 2, 2, 0};
        struct err err = {0};
        struct twin x = twin_normal(w, 4 * 32, 2), out = twin_new(w, NULL, 8), other = twin_new(w, NULL, 8);
        struct bexperts *bound = backend_experts_bind(&w->cl, &part, 1, &err);
        struct bbuf *ids = backend_buf_new(&w->cl, sizeof bad, &err);
        struct op_moe_down op = {bound, x.cl, ids, out.cl, 4, 1, NULL, 0};
        assert_true(backend_buf_write(&w->cl, ids, 0, bad, sizeof bad, &err) &&
                    backend_moe_down(&w->cl, &op, &err));
        op.out = other.cl;
        assert_true(backend_buf_write(&w->cl, ids, 0, good, sizeof good, &err) &&
                    backend_moe_down(&w->cl, &op, &err));
        float *a = fixture_read(&w->cl, out.cl, 8), *b = fixture_read(&w->cl, other.cl, 8);
        assert_memory_equal(a, b, 8 * sizeof *a);
        mem_free(a);
        mem_free(b);
        backend_buf_free(&w->cl, ids);
        backend_experts_free(&w->cl, bound);
        twin_free(w, &x);
        twin_free(w, &out);
        twin_free(w, &other);
        rows_free(&rows);
    }
}

/* ---- tensors that are larger than what the device gives in one piece ---- */

static __typeof__(&clCreateBuffer) whole_create;
static size_t largest_piece, n_pieces;
static cl_mem create_piece(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *code)
{
    bool is_weight = flags & CL_MEM_READ_ONLY;
    *code = CL_INVALID_BUFFER_SIZE;
    n_pieces += is_weight;
    return is_weight && size > largest_piece ? NULL : whole_create(context, flags, size, host, code);
}

static void limit_pieces(struct cl_world *w, size_t n_bytes)
{
    struct cl_backend *b = w->cl.ctx;
    static cl_ulong whole;
    if (n_bytes) {
        whole = b->device.max_alloc_bytes;
        whole_create = b->api.clCreateBuffer;
    }
    b->api.clCreateBuffer = n_bytes ? create_piece : whole_create;
    b->device.max_alloc_bytes = n_bytes ? n_bytes : whole;
    largest_piece = n_bytes;
    n_pieces = 0;
}

static void pieces__of_a_large_tensor__act_as_one_weight(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t m = 1; m < (is_small ? 2 : 10); m += 8)
            for (int odd = 0; odd < 2; odd++) {
                limit_pieces(&cl_worlds[i], 4096 + 70 * 288);
                check_product(&cl_worlds[i], &(struct product){.types = {DTYPE_Q4_K, DTYPE_F32},
                                                               .n_parts = 2,
                                                               .n = 150,
                                                               .k = 512,
                                                               .m = m,
                                                               .with_bias = true,
                                                               .odd = odd,
                                                               .add = m > 1});
                assert_true(n_pieces > 12); /* 3 of the first, 17 of the second */
                limit_pieces(&cl_worlds[i], 0);
            }
}

static void pieces__of_a_large_table__are_looked_up(void **state)
{
    (void)state;
    static const int32_t ids[] = {149, 0, 31, 32, 64, 63, 149};
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_world *w = &cl_worlds[i];
        struct err err = {0};
        struct rows rows = rows_new(DTYPE_Q8_0, 1, 150, 64, false, 5);
        struct weight_part part = {.weight = &rows.tensor};
        limit_pieces(w, 4096 + 40 * 68);
        struct bweight *bound = backend_weight_bind(&w->cl, &part, 1, &err);
        limit_pieces(w, 0);
        struct bweight *exact = backend_weight_bind(&w->ref, &part, 1, &err);
        struct twin out = twin_new(w, NULL, 7 * 64);
        struct op_embed mine = {bound, ids, out.cl, 7}, ref = {exact, ids, out.ref, 7};
        if (!bound || !backend_embed(&w->cl, &mine, &err) || !backend_embed(&w->ref, &ref, &err))
            fail_msg("%s", err.text);
        twin_expect(w, &out, 0, "lookup in pieces");
        backend_weight_free(&w->cl, bound);
        backend_weight_free(&w->ref, exact);
        twin_free(w, &out);
        rows_free(&rows);
    }
}

static void pieces__of_a_large_stack__hold_whole_experts(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t n_parts = 1; n_parts < 3; n_parts++) {
            limit_pieces(&cl_worlds[i], 4096 + 3 * 11 * 272);
            check_stack(&cl_worlds[i], &(struct stack){.types = {DTYPE_Q8_0, DTYPE_Q8_0},
                                                       .n_parts = n_parts,
                                                       .n_experts = 10,
                                                       .n = 11,
                                                       .k = 256,
                                                       .n_tokens = 9,
                                                       .n_used = 3,
                                                       .only = -1});
            assert_int_equal(n_pieces, 4 * n_parts);
            limit_pieces(&cl_worlds[i], 0);
        }
}

/* A row that is too large by itself. */
static void pieces__a_row_does_not_fit__the_tensor_is_named(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct err err = {0};
        struct rows rows = rows_new(DTYPE_F32, 1, 4, 4096, true, 5);
        struct weight_part part = {.weight = &rows.tensor};
        limit_pieces(&cl_worlds[i], 8192);
        assert_null(backend_weight_bind(&cl_worlds[i].cl, &part, 1, &err));
        limit_pieces(&cl_worlds[i], 0);
        assert_int_equal(err.code, ERR_MEMORY);
        assert_non_null(strstr(err.text, "tensor rows"));
        rows_free(&rows);
    }
}

static void kernels__of_weights__were_all_launched(void **state)
{
    (void)state;
    cl_expect_launched(cl_text_weights, CL_GROUP_WEIGHT, DTYPE_I8, NULL);
    cl_expect_launched(cl_text_matrix, CL_GROUP_MATRIX, 1, NULL);
    cl_expect_launched(cl_text_route, CL_GROUP_ROUTE, 1, "route");
}

/* small: see is_small; a name: that test alone. */
int main(int argc, char **argv)
{
    is_small = cl_copies = argc > 1 && strcmp(argv[1], "small") == 0;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products__every_type_and_number_of_tokens__match_the_reference),
        cmocka_unit_test(products__shapes_of_models__match_the_reference),
        cmocka_unit_test(products__any_width__match_the_reference),
        cmocka_unit_test(products__parts_of_different_types__act_as_one_weight),
        cmocka_unit_test(products__parts_of_one_type__act_as_one_weight),
        cmocka_unit_test(products__a_large_weight__is_cut_into_pieces),
        cmocka_unit_test(products__few_tokens__same_bits),
        cmocka_unit_test(products__any_rows_in_a_group__same_bits),
        cmocka_unit_test(embed__every_type__gives_the_bits_of_the_definition),
        cmocka_unit_test(experts__every_type__match_the_reference),
        cmocka_unit_test(experts__any_routing__match_the_reference),
        cmocka_unit_test(experts__an_id_outside__stays_inside_the_stack),
        cmocka_unit_test(pieces__of_a_large_tensor__act_as_one_weight),
        cmocka_unit_test(pieces__of_a_large_table__are_looked_up),
        cmocka_unit_test(pieces__of_a_large_stack__hold_whole_experts),
        cmocka_unit_test(pieces__a_row_does_not_fit__the_tensor_is_named),
        cmocka_unit_test(kernels__of_weights__were_all_launched),
    };
    return cmocka_run_group_tests(tests, cl_worlds_open, cl_worlds_close);
}
