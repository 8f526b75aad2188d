/* test_kv_types.c: a whole forward pass over each type of the KV cache: how far the logits move, and that
 * they have the same bits however the prompt is cut, taken back and computed again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/timeline.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/model_edit.h"
#include "tests/engine/ref_backend.h"
#include "tests/engine/timeline_fixture.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/tiny_model.h"

#define N_TOKENS 150 /* more than two pages */
#define N_LOGITS ((size_t)N_TOKENS * TINY_N_VOCAB)

static struct backend cpu, scalar, reference;
static int32_t ids[N_TOKENS];
static const char *const archs[] = {"llama", "qwen2", "qwen3"};
static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
    ref_backend_open(&reference);
    return backend_cpu_open(&cpu, 2, forced_cpu(), NULL) && backend_cpu_open(&scalar, 1, "scalar", NULL) ? 0
                                                                                                         : -1;
}

static int tear_down(void **state)
{
    (void)state;
    backend_close(&cpu);
    backend_close(&scalar);
    return 0;
}

static struct model *load(const char *arch, struct backend *backend)
{
    struct buf file = {0};
    struct tiny_options options = {.arch = arch, .type = DTYPE_F32, .seed = 7};
    struct err err = {0};
    assert_true(tiny_model_make(&options, &file));
    struct model *m = edit_load(&file, backend, NULL, &err);
    buf_fini(&file);
    if (!m)
        fail_msg("%s", err.text);
    return m;
}

/* Logits of every position. */
static float *all_logits(const char *arch, struct backend *backend, enum dtype type, uint32_t n_batch)
{
    struct model *m = load(arch, backend);
    struct timeline *t = open_timeline(m, type, n_batch);
    float *out = mem_need(N_LOGITS * sizeof *out);
    assert_true(timeline_eval(t, ids, N_TOKENS, NULL, out, NULL));
    timeline_free(t);
    model_free(m);
    return out;
}

/* Found: 6e-5 to 8e-5. With a scale from the neighbouring position, or of K where V's belongs, 0.2 and more.
 */
static void kv_types__int8__logits_stay_close_to_those_of_f32(void **state)
{
    (void)state;
    for (size_t a = 0; a < 3; a++) {
        float *exact = all_logits(archs[a], &cpu, DTYPE_F32, 0);
        struct backend *const backends[] = {&cpu, &scalar, &reference};
        for (size_t b = 0; b < 3; b++) {
            float *found = all_logits(archs[a], backends[b], DTYPE_I8, 0);
            double off = nmse(found, exact, N_LOGITS);
            print_message("%-5s %-9s int8 against f32: nmse %.2e\n", archs[a],
                          backends[b]->ops->describe(backends[b]->ctx), off);
            assert_true(off > 0 && off < 3e-4);
            mem_free(found);
        }
        mem_free(exact);
    }
}

static void kv_types__batches__same_bits_however_cut(void **state)
{
    (void)state;
    static const uint32_t cuts[] = {1, 2, 7, 33};
    for (size_t i = 0; i < 3; i++) {
        float *whole = all_logits("qwen3", &cpu, types[i], 0);
        for (size_t c = 0; c < 4; c++) {
            float *found = all_logits("qwen3", &cpu, types[i], cuts[c]);
            assert_memory_equal(found, whole, N_LOGITS * sizeof *found);
            mem_free(found);
        }
        mem_free(whole);
    }
}

/* Positions computed again after a cut, over rows of the page that hold what was there before. */
static void kv_types__cut_and_computed_again__same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct model *m = load("llama", &cpu);
        struct timeline *t = open_timeline(m, types[i], 0);
        float first[TINY_N_VOCAB];
        int32_t other[N_TOKENS];
        for (int j = 0; j < N_TOKENS; j++)
            other[j] = j < 70 ? ids[j] : 5;
        assert_true(timeline_eval(t, ids, N_TOKENS, NULL, NULL, NULL));
        memcpy(first, timeline_logits(t), sizeof first);
        assert_int_equal(timeline_keep(t, other, N_TOKENS), 70);
        assert_true(timeline_eval(t, other + 70, N_TOKENS - 70, NULL, NULL, NULL));
        assert_memory_not_equal(timeline_logits(t), first, sizeof first);
        assert_int_equal(timeline_keep(t, ids, N_TOKENS), 70);
        assert_true(timeline_eval(t, ids + 70, N_TOKENS - 70, NULL, NULL, NULL));
        assert_memory_equal(timeline_logits(t), first, sizeof first);
        timeline_free(t);
        model_free(m);
    }
}

static void kv_types__int8__takes_little_more_than_half_of_f16(void **state)
{
    (void)state;
    struct model *m = load("qwen3", &cpu);
    size_t half = timeline_kv_bytes(m, DTYPE_F16);
    assert_int_equal(timeline_kv_bytes(m, DTYPE_F32), 2 * half);
    assert_int_equal(timeline_kv_bytes(m, DTYPE_I8), half / 2 + TINY_N_LAYERS * 2 * 2 * sizeof(float));
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_types__int8__logits_stay_close_to_those_of_f32),
        cmocka_unit_test(kv_types__batches__same_bits_however_cut),
        cmocka_unit_test(kv_types__cut_and_computed_again__same_bits),
        cmocka_unit_test(kv_types__int8__takes_little_more_than_half_of_f16),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
