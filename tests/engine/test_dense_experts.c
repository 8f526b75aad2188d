/* Experts of a type without a kernel: the answers of an f32 model, a sentence about it, and its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/dense_experts.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/model_edit.h"
#include "tests/engine/ref_backend.h"
#include "tests/engine/timeline_fixture.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/tiny_model.h"

#define N_TOKENS 40

static struct backend cpu, without_q8, reference;
static struct backend_ops ops_without_q8;

static bool all_but_q8(void *ctx, enum dtype type)
{
    return type != DTYPE_Q8_0 && cpu.ops->supports_weight(ctx, type);
}

static int set_up(void **state)
{
    (void)state;
    ref_backend_open(&reference);
    if (!backend_cpu_open(&cpu, 2, forced_cpu(), NULL))
        return -1;
    ops_without_q8 = *cpu.ops;
    ops_without_q8.supports_weight = all_but_q8;
    without_q8 = (struct backend){&ops_without_q8, cpu.ctx};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backend_close(&cpu);
    return 0;
}

static struct buf make_file(bool fused)
{
    struct buf file = {0};
    struct tiny_options options = {
        .arch = "qwen3moe", .expert_type = DTYPE_Q8_0, .fused_experts = fused, .seed = 11};
    assert_true(tiny_model_make(&options, &file));
    return file;
}

static struct model *load(const struct buf *file, struct backend *backend)
{
    struct err err = {0};
    struct model *m = edit_load(file, backend, NULL, &err);
    if (!m)
        fail_msg("%s", err.text);
    return m;
}

static float *all_logits(struct model *m)
{
    int32_t ids[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
    float *out = mem_need((size_t)N_TOKENS * TINY_N_VOCAB * sizeof *out);
    struct timeline *t = open_timeline(m, DTYPE_F32, 0);
    assert_true(timeline_eval(t, ids, N_TOKENS, NULL, out, NULL));
    timeline_free(t);
    return out;
}

static void assert_says(const struct model *m, const char *words)
{
    struct buf text = {0};
    for (uint32_t layer = 0; layer < TINY_N_LAYERS; layer++) {
        text.len = 0;
        assert_true(model_say_experts(m, layer, &text));
        if (!strstr(buf_text(&text), words))
            fail_msg("\"%s\" is not in \"%s\"", words, buf_text(&text));
    }
    buf_fini(&text);
}

static void dense_experts__eval__equals_the_dequantised_model(void **state)
{
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        struct buf file = make_file(fused);
        struct model *dense = load(&file, &without_q8), *exact = load(&file, &reference);
        float *a = all_logits(dense), *b = all_logits(exact);
        double error = nmse(a, b, (size_t)N_TOKENS * TINY_N_VOCAB);
        print_message("nmse %.2e\n", error);
        assert_true(error < 1e-10);
        assert_says(dense, fused ? "ffn_gate_up_exps.weight q8_0, dense fallback (f32); blk."
                                 : "ffn_up_exps.weight q8_0, dense fallback (f32); blk.");
        assert_non_null(strstr(model_warning(dense), "has no kernel for the type of some experts"));
        mem_free(a);
        mem_free(b);
        model_free(dense);
        model_free(exact);
        buf_fini(&file);
    }
}

static void dense_experts__packed__is_the_rule(void **state)
{
    (void)state;
    struct buf file = make_file(false);
    struct model *m = load(&file, &cpu);
    assert_says(m, "_exps.weight q8_0, packed; blk.");
    assert_null(model_warning(m));
    model_free(m);
    buf_fini(&file);
    struct buf other = {0}, text = {0};
    assert_true(tiny_model_make(&(struct tiny_options){.arch = "qwen3", .seed = 1}, &other));
    m = load(&other, &cpu);
    assert_false(model_say_experts(m, 0, &text));
    model_free(m);
    buf_fini(&other);
    buf_fini(&text);
}

/* Other matrices do not fall back: they would take a model's whole size in f32. */
static void dense_experts__other_weights__are_refused(void **state)
{
    (void)state;
    struct buf file = {0};
    struct err err = {0};
    assert_true(tiny_model_make(
        &(struct tiny_options){.arch = "qwen3moe", .type = DTYPE_Q8_0, .expert_type = DTYPE_Q8_0}, &file));
    assert_null(edit_load(&file, &without_q8, NULL, &err));
    assert_int_equal(err.code, ERR_MODEL);
    assert_non_null(strstr(err.text, "which the cpu backend cannot compute"));
    buf_fini(&file);
}

static void dense_experts__new__too_large_is_refused_before_it_is_read(void **state)
{
    (void)state;
    static const size_t dims[][4] = {{1u << 20, 1u << 20, 64, 1}, {SIZE_MAX / 8, 3, 64, 1}};
    static const char *const words[] = {"GiB are left; get the model in another quantisation", "too large"};
    for (size_t i = 0; i < 2; i++) {
        struct dense_stack *list = NULL;
        struct err err = {0};
        struct tensor t = {.name = "blk.0.ffn_up_exps.weight", .type = DTYPE_Q8_0, .n_dims = 3};
        memcpy(t.dims, dims[i], sizeof t.dims);
        assert_null(dense_stack_new(&list, &t, "m.gguf", "cpu", &err));
        assert_null(list);
        assert_int_equal(err.code, ERR_MEMORY);
        assert_non_null(strstr(err.text, words[i]));
        assert_non_null(strstr(err.text, "blk.0.ffn_up_exps.weight"));
    }
}

static void dense_experts__load__every_allocation_may_fail(void **state)
{
    (void)state;
    struct buf file = make_file(false);
    struct model *m = load(&file, &without_q8);
    const struct gguf *g = model_gguf(m);
    const struct tensor *t = gguf_find_tensor(g, "blk.1.ffn_down_exps.weight");
    bool done = false;
    for (long i = 0; !done; i++) {
        struct dense_stack *list = NULL;
        struct err err = {0};
        mem_fail_after(i);
        const struct tensor *dense = dense_stack_new(&list, t, "m.gguf", "cpu", &err);
        done = !mem_fail_happened();
        mem_fail_after(-1);
        assert_true(done == (dense != NULL));
        assert_int_equal(err.code, done ? ERR_NONE : ERR_MEMORY);
        dense_stacks_free(list);
    }
    model_free(m);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_experts__eval__equals_the_dequantised_model),
        cmocka_unit_test(dense_experts__packed__is_the_rule),
        cmocka_unit_test(dense_experts__other_weights__are_refused),
        cmocka_unit_test(dense_experts__new__too_large_is_refused_before_it_is_read),
        cmocka_unit_test(dense_experts__load__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
