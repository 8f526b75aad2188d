/* Models with experts: what their configuration says, a sentence for every way a file can be wrong, and every
 * family against the slow reference. */
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
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/model_edit.h"
#include "tests/engine/ref_backend.h"
#include "tests/engine/timeline_fixture.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/tiny_model.h"

#define N_TOKENS 150 /* more than two pages */

static const char *const archs[] = {"llama", "qwen3moe", "qwen2moe", "olmoe"};
#define N_ARCHS (sizeof archs / sizeof *archs)

static struct backend cpu, reference;
static int32_t ids[N_TOKENS];

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
    ref_backend_open(&reference);
    return backend_cpu_open(&cpu, 2, forced_cpu(), NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    backend_close(&cpu);
    return 0;
}

static struct buf make(const struct tiny_options *options)
{
    struct buf file = {0};
    assert_true(tiny_model_make(options, &file));
    return file;
}

static struct buf make_file(const char *arch, enum dtype type)
{
    return make(&(struct tiny_options){.arch = arch, .experts = true, .type = type, .seed = 21});
}

static struct model *load(const struct buf *file, struct backend *backend)
{
    struct err err;
    struct model *m = edit_load(file, backend, NULL, &err);
    if (!m)
        fail_msg("%s", err.text);
    return m;
}

/* ---- the file ---- */

static void model_moe__load__reads_the_configuration(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ARCHS; i++) {
        struct buf file = make_file(archs[i], DTYPE_F32);
        struct model *m = load(&file, &cpu);
        const struct model_config *c = model_config(m);
        assert_string_equal(c->arch, archs[i]);
        assert_int_equal(c->n_expert, TINY_N_EXPERTS);
        assert_int_equal(c->n_expert_used, TINY_N_EXPERTS_USED);
        assert_int_equal(c->n_ff_expert, TINY_N_FF_EXPERT);
        assert_int_equal(c->n_ff_shared, strcmp(archs[i], "qwen2moe") == 0 ? 96 : 0);
        model_free(m);
        buf_fini(&file);
    }
}

/* Of the stacks, the experts used. */
static void model_moe__load__token_bytes_count_what_is_used(void **state)
{
    (void)state;
    struct buf file = make_file("qwen3moe", DTYPE_Q8_0);
    struct model *m = load(&file, &cpu);
    const struct model_config *c = model_config(m);
    uint64_t row = TINY_N_EMBD / 32 * 34;
    uint64_t stacks = (uint64_t)TINY_N_LAYERS * TINY_N_EXPERTS * 3 * TINY_N_FF_EXPERT * row;
    uint64_t unused = stacks / TINY_N_EXPERTS * (TINY_N_EXPERTS - TINY_N_EXPERTS_USED);
    assert_int_equal(c->token_weight_bytes, c->weight_bytes - unused + row);
    model_free(m);
    buf_fini(&file);
}

/* Without the key a width is the one of the dense layers. */
static void model_moe__load__width_of_experts_may_be_the_feed_forward_one(void **state)
{
    (void)state;
    struct buf file = make_file("olmoe", DTYPE_F32);
    edit_rename(&file, "olmoe.expert_feed_forward_length", "olmoe.expert_feed_forward_lengtX");
    edit_u32(&file, "olmoe.feed_forward_length", TINY_N_FF_EXPERT);
    struct model *m = load(&file, &cpu);
    assert_int_equal(model_config(m)->n_ff_expert, TINY_N_FF_EXPERT);
    model_free(m);
    buf_fini(&file);
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text >= 0x7F)
            return false;
    return true;
}

/* Refused with a printable sentence that holds both words and says what to do. */
static void assert_refused(struct buf *file, const char *word, const char *other)
{
    struct err err = {0};
    assert_null(edit_load(file, &cpu, NULL, &err));
    if (err.code != ERR_MODEL || !strstr(err.text, word) || !strstr(err.text, other))
        fail_msg("expected \"%s\" and \"%s\" in: %s", word, other, err.text);
    bool has_remedy = strstr(err.text, "get ") || strstr(err.text, "use ") || strstr(err.text, "download");
    if (!has_remedy || !is_printable(err.text))
        fail_msg("no remedy, or not printable: %s", err.text);
    buf_fini(file);
}

static void model_moe__load__absurd_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        const char *word;
    } cases[] = {
        {"qwen3moe.expert_count", 0, "expert_count is 0, expected 1 to 4096"},
        {"qwen3moe.expert_count", 4097, "expert_count is 4097, expected 1 to 4096"},
        {"qwen3moe.expert_count", UINT32_MAX, "expert_count is 4294967295"},
        {"qwen3moe.expert_count", 9, "ffn_gate_inp.weight has the shape 64 x 8, expected 64 x 9"},
        {"qwen3moe.expert_used_count", 0, "expert_used_count is 0, expected 1 to 8"},
        {"qwen3moe.expert_used_count", 9, "expert_used_count is 9, expected 1 to 8"},
        {"qwen3moe.expert_used_count", UINT32_MAX, "expert_used_count is 4294967295"},
        {"qwen3moe.expert_feed_forward_length", 0, "expert_feed_forward_length is 0"},
        {"qwen3moe.expert_feed_forward_length", UINT32_MAX, "expert_feed_forward_length is 4294967295"},
        {"qwen3moe.expert_feed_forward_length", 64, "has the shape 64 x 32 x 8, expected 64 x 64 x 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf file = make_file("qwen3moe", DTYPE_F32);
        edit_u32(&file, cases[i].key, cases[i].value);
        assert_refused(&file, cases[i].word, "ferrum-model");
    }
    struct buf file = make_file("qwen2moe", DTYPE_F32);
    edit_u32(&file, "qwen2moe.expert_shared_feed_forward_length", 0);
    assert_refused(&file, "expert_shared_feed_forward_length is 0", "expected");
}

/* Experts where there are none, and other ways to choose them. */
static void model_moe__load__variants_that_are_not_known(void **state)
{
    (void)state;
    struct gguf_writer keys = {0};
    struct buf file = make(&(struct tiny_options){.arch = "qwen3", .type = DTYPE_F32, .seed = 1});
    gguf_write_u32(&keys, "qwen3.expert_count", 8);
    edit_insert_keys(&file, &keys);
    assert_refused(&file, "expert_count is 8, expected none for qwen3", "");
    file = make(&(struct tiny_options){.arch = "llama", .type = DTYPE_F32, .seed = 1});
    gguf_write_u32(&keys, "llama.expert_count", 8);
    gguf_write_u32(&keys, "llama.expert_used_count", 2);
    edit_insert_keys(&file, &keys);
    assert_refused(&file, "blk.0.ffn_gate_inp.weight is missing", "llama");
    file = make_file("llama", DTYPE_F32);
    edit_u32(&file, "llama.expert_count", 0);
    assert_refused(&file, "blk.0.ffn_gate.weight is missing", "llama");
    file = make_file("llama", DTYPE_F32);
    gguf_write_u32(&keys, "llama.expert_gating_func", 2);
    edit_insert_keys(&file, &keys);
    assert_refused(&file, "llama.expert_gating_func is 2, expected 1 (softmax)", "");
}

static void model_moe__load__missing_keys_and_tensors(void **state)
{
    (void)state;
    static const char *const names[][3] = {
        {"qwen3moe", "qwen3moe.expert_count", "qwen3moe.expert_counX"},
        {"qwen3moe", "qwen3moe.expert_used_count", "qwen3moe.expert_used_counX"},
        {"llama", "blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_inp.weighX"},
        {"llama", "blk.1.ffn_gate_exps.weight", "blk.1.ffn_gate_exps.weighX"},
        {"qwen3moe", "blk.1.ffn_up_exps.weight", "blk.1.ffn_up_exps.weighX"},
        {"olmoe", "blk.0.ffn_down_exps.weight", "blk.0.ffn_down_exps.weighX"},
        {"olmoe", "blk.0.attn_k_norm.weight", "blk.0.attn_k_norm.weighX"},
        {"qwen2moe", "blk.1.ffn_gate_inp_shexp.weight", "blk.1.ffn_gate_inp_shexp.weighX"},
        {"qwen2moe", "blk.0.ffn_up_shexp.weight", "blk.0.ffn_up_shexp.weighX"},
        {"qwen2moe", "blk.1.attn_q.bias", "blk.1.attn_q.biaX"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct buf file = make_file(names[i][0], DTYPE_F32);
        edit_rename(&file, names[i][1], names[i][2]);
        assert_refused(&file, names[i][1], i == 0 ? "expected 1 to 4096" : "missing");
    }
}

static void model_moe__load__wrong_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        int dim;
        uint64_t value;
        const char *found;
    } cases[] = {
        {"blk.0.ffn_gate_inp.weight", 1, 7, "64 x 7, expected 64 x 8"},
        {"blk.1.ffn_gate_inp.weight", 0, 32, "32 x 8, expected 64 x 8"},
        {"blk.0.ffn_gate_exps.weight", 2, 7, "64 x 32 x 7, expected 64 x 32 x 8"},
        {"blk.0.ffn_up_exps.weight", 1, 31, "64 x 31 x 8, expected 64 x 32 x 8"},
        {"blk.1.ffn_up_exps.weight", 0, 32, "32 x 32 x 8, expected 64 x 32 x 8"},
        {"blk.1.ffn_down_exps.weight", 2, 1, "32 x 64 x 1, expected 32 x 64 x 8"},
        {"blk.1.ffn_down_exps.weight", 0, 16, "16 x 64 x 8, expected 32 x 64 x 8"},
        {"blk.0.ffn_gate_inp_shexp.weight", 0, 32, "32, expected 64"},
        {"blk.0.ffn_down_shexp.weight", 0, 64, "64 x 64, expected 96 x 64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf file = make_file("qwen2moe", DTYPE_F32);
        edit_dim(&file, cases[i].tensor, cases[i].dim, cases[i].value);
        assert_refused(&file, cases[i].tensor, cases[i].found);
    }
}

enum { GGML_Q4_K = 12, GGML_IQ2_XXS = 16, GGML_I8 = 24 };

static void model_moe__load__wrong_types(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        uint32_t type;
        const char *word;
    } cases[] = {
        {"blk.0.ffn_gate_exps.weight", GGML_I8, "of type int8, which the cpu backend cannot compute"},
        {"blk.1.ffn_down_exps.weight", GGML_I8, "of type int8"},
        {"blk.1.ffn_gate_inp.weight", GGML_I8, "of type int8"},
        {"blk.1.ffn_up_exps.weight", GGML_Q4_K, "64 weights, expected a multiple of 256"},
        {"blk.1.ffn_up_exps.weight", GGML_IQ2_XXS, "this program cannot compute"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf file = make_file("qwen3moe", DTYPE_F32);
        edit_type(&file, cases[i].tensor, cases[i].type);
        assert_refused(&file, cases[i].tensor, cases[i].word);
    }
}

static void model_moe__load__a_file_cut_short(void **state)
{
    (void)state;
    struct buf file = make_file("qwen3moe", DTYPE_F32);
    buf_truncate(&file, file.len - 5000);
    assert_refused(&file, "end of the file", "download");
}

/* Early converters wrote blk.N.ffn_gate.E.weight. */
static void model_moe__load__one_tensor_per_expert_is_told_apart(void **state)
{
    (void)state;
    float zeros[8] = {0};
    struct buf file = make_file("llama", DTYPE_F32);
    struct model *m = load(&file, &cpu);
    uint64_t n = model_config(m)->weight_bytes;
    model_free(m);
    edit_rename(&file, "blk.0.ffn_gate_exps.weight", "blk.0.ffn_gate_expX.weight");
    edit_add_vector(&file, "blk.0.ffn_gate.0.weight", zeros, 8, n);
    assert_refused(&file, "blk.0.ffn_gate_exps.weight is missing",
                   "one tensor per expert, as early converters wrote it: get a newer file");
}

/* ---- the numbers ---- */

/* Logits of every position, n_batch tokens at a time (0: as many as usual). */
static float *all_logits(const struct buf *file, struct backend *backend, uint32_t n_batch)
{
    struct model *m = load(file, backend);
    struct timeline *t = open_timeline(m, DTYPE_F32, n_batch);
    float *out = mem_need((size_t)N_TOKENS * TINY_N_VOCAB * sizeof *out);
    assert_true(timeline_eval(t, ids, N_TOKENS, NULL, out, NULL));
    timeline_free(t);
    model_free(m);
    return out;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest and the median error of a position: where activations are rounded, a near tie of the router may
 * go the other way, and that position is then another answer. */
static void compare(const struct buf *file, double *largest, double *median)
{
    float *fast = all_logits(file, &cpu, 0), *slow = all_logits(file, &reference, 0);
    double each[N_TOKENS];
    for (size_t i = 0; i < N_TOKENS; i++)
        each[i] = nmse(fast + i * TINY_N_VOCAB, slow + i * TINY_N_VOCAB, TINY_N_VOCAB);
    qsort(each, N_TOKENS, sizeof *each, by_value);
    *largest = each[N_TOKENS - 1];
    *median = each[N_TOKENS / 2];
    mem_free(fast);
    mem_free(slow);
}

static void model_moe__eval__f32_equals_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ARCHS; i++) {
        struct buf file = make_file(archs[i], DTYPE_F32);
        double largest, median;
        compare(&file, &largest, &median);
        print_message("%-9s f32   largest nmse %.2e\n", archs[i], largest);
        assert_true(largest < 1e-9);
        buf_fini(&file);
    }
}

static void model_moe__eval__quantised_is_near_the_reference(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_Q8_0, DTYPE_Q4_0};
    for (size_t i = 0; i < N_ARCHS; i++)
        for (size_t j = 0; j < 2; j++) {
            struct buf file = make_file(archs[i], types[j]);
            double largest, median;
            compare(&file, &largest, &median);
            print_message("%-9s %-5s median nmse %.2e\n", archs[i], dtype_info(types[j])->name, median);
            assert_true(median < 2e-3);
            buf_fini(&file);
        }
}

static void model_moe__eval__divided_gives_the_same_bits(void **state)
{
    (void)state;
    static const uint32_t batches[] = {2, 7, 33, 512};
    static const enum dtype types[] = {DTYPE_F32, DTYPE_Q8_0};
    for (size_t i = 0; i < N_ARCHS; i++)
        for (size_t j = 0; j < 2; j++) {
            struct buf file = make_file(archs[i], types[j]);
            float *one = all_logits(&file, &cpu, 1);
            for (size_t k = 0; k < 4; k++) {
                float *other = all_logits(&file, &cpu, batches[k]);
                assert_memory_equal(one, other, (size_t)N_TOKENS * TINY_N_VOCAB * sizeof *one);
                mem_free(other);
            }
            mem_free(one);
            buf_fini(&file);
        }
}

/* One stack of gate and up rows is the same model as two. */
static void model_moe__fused_stacks__give_the_same_bits(void **state)
{
    (void)state;
    struct tiny_options options = {.arch = "qwen3moe", .type = DTYPE_Q4_0, .seed = 4};
    struct buf apart = make(&options);
    options.fused_experts = true;
    struct buf fused = make(&options);
    float *a = all_logits(&apart, &cpu, 0), *b = all_logits(&fused, &cpu, 0);
    assert_memory_equal(a, b, (size_t)N_TOKENS * TINY_N_VOCAB * sizeof *a);
    mem_free(a);
    mem_free(b);
    buf_fini(&apart);
    buf_fini(&fused);
}

/* Stacks of both kinds in one file: which of them counts? */
static void model_moe__fused_stacks__must_be_the_only_ones(void **state)
{
    (void)state;
    struct tiny_options options = {.arch = "qwen3moe", .type = DTYPE_F32, .seed = 4, .fused_experts = true};
    float zeros[8] = {0};
    struct buf file = make(&options);
    struct model *m = load(&file, &cpu);
    uint64_t n = model_config(m)->weight_bytes;
    model_free(m);
    edit_add_vector(&file, "blk.0.ffn_gate_exps.weight", zeros, 8, n);
    assert_refused(&file, "blk.0.ffn_gate_exps.weight", "not part of");
    file = make(&options);
    edit_dim(&file, "blk.1.ffn_gate_up_exps.weight", 1, 63);
    assert_refused(&file, "blk.1.ffn_gate_up_exps.weight", "64 x 63 x 8, expected 64 x 64 x 8");
}

/* A router that gives no number: no token is made up, and its neighbours before it are as they were. */
static void model_moe__router_of_nan__gives_no_finite_logit(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY};
    for (size_t i = 0; i < 2; i++) {
        struct buf file = make_file("qwen3moe", DTYPE_F32);
        for (size_t j = 0; j < TINY_N_EMBD; j++)
            edit_weight(&file, "blk.1.ffn_gate_inp.weight", 5 * TINY_N_EMBD + j, values[i]);
        struct model *m = load(&file, &cpu);
        struct timeline *t = open_timeline(m, DTYPE_F32, 0);
        assert_true(timeline_eval(t, ids, 20, NULL, NULL, NULL));
        assert_true(timeline_eval(t, ids, 1, NULL, NULL, NULL));
        for (size_t j = 0; j < TINY_N_VOCAB; j++)
            assert_false(isfinite(timeline_logits(t)[j]));
        timeline_free(t);
        model_free(m);
        buf_fini(&file);
    }
}

static void model_moe__decode__allocates_nothing_and_is_timed(void **state)
{
    (void)state;
    struct buf file = make_file("qwen2moe", DTYPE_Q8_0);
    struct model *m = load(&file, &cpu);
    struct timeline *t = open_timeline(m, DTYPE_F32, 0);
    assert_true(timeline_eval(t, ids, 60, NULL, NULL, NULL));
    mem_fail_after(0);
    for (int i = 60; i < 70; i++)
        assert_true(timeline_eval(t, ids + i, 1, NULL, NULL, NULL));
    assert_false(mem_fail_happened());
    mem_fail_after(-1);
    const struct prof *p = timeline_prof(t);
    uint64_t row = TINY_N_EMBD / 32 * 34, n_calls = 10 * TINY_N_LAYERS;
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_ROUTER).calls, n_calls);
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_GATE_UP).calls, n_calls);
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_DOWN).calls, n_calls);
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_WEIGHTED_SUM).calls,
                     2 * n_calls); /* of the experts, and of the shared one */
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_ROUTER).bytes,
                     n_calls * TINY_N_EXPERTS * TINY_N_EMBD * sizeof(float));
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_GATE_UP).bytes,
                     n_calls * TINY_N_EXPERTS_USED * 2 * TINY_N_FF_EXPERT * row);
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_DOWN).bytes,
                     n_calls * TINY_N_EXPERTS_USED * TINY_N_EMBD * 34);
    timeline_free(t);
    model_free(m);
    buf_fini(&file);
}

static void model_moe__new__every_allocation_may_fail(void **state)
{
    (void)state;
    struct buf file = make_file("qwen2moe", DTYPE_F32);
    struct model *m = load(&file, &cpu);
    struct timeline_options options = {.n_ctx = 128, .kv_type = DTYPE_F16};
    bool done = false;
    for (long i = 0; !done; i++) {
        struct err err = {0};
        mem_fail_after(i);
        struct timeline *t = timeline_new(m, &options, &err);
        done = !mem_fail_happened();
        mem_fail_after(-1);
        assert_true(done == (t != NULL));
        timeline_free(t);
    }
    model_free(m);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_moe__load__reads_the_configuration),
        cmocka_unit_test(model_moe__load__token_bytes_count_what_is_used),
        cmocka_unit_test(model_moe__load__width_of_experts_may_be_the_feed_forward_one),
        cmocka_unit_test(model_moe__load__absurd_numbers),
        cmocka_unit_test(model_moe__load__variants_that_are_not_known),
        cmocka_unit_test(model_moe__load__missing_keys_and_tensors),
        cmocka_unit_test(model_moe__load__wrong_shapes),
        cmocka_unit_test(model_moe__load__wrong_types),
        cmocka_unit_test(model_moe__load__a_file_cut_short),
        cmocka_unit_test(model_moe__load__one_tensor_per_expert_is_told_apart),
        cmocka_unit_test(model_moe__eval__f32_equals_the_reference),
        cmocka_unit_test(model_moe__eval__quantised_is_near_the_reference),
        cmocka_unit_test(model_moe__eval__divided_gives_the_same_bits),
        cmocka_unit_test(model_moe__fused_stacks__give_the_same_bits),
        cmocka_unit_test(model_moe__fused_stacks__must_be_the_only_ones),
        cmocka_unit_test(model_moe__router_of_nan__gives_no_finite_logit),
        cmocka_unit_test(model_moe__decode__allocates_nothing_and_is_timed),
        cmocka_unit_test(model_moe__new__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
