/* Guesses that are computed with a token: their rows have the bits they would have had alone, wrong ones
 * leave nothing behind, and the shelf sees none before it is accepted. */
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
#include "tests/support/forced_cpu.h"
#include "tests/support/mem_shelf.h"
#include "tests/support/tiny_model.h"

#define N_CTX 200
#define N_TOKENS 150

static struct backend cpu;
static int32_t ids[N_CTX];
static float expected[N_CTX][TINY_N_VOCAB]; /* of an uninterrupted timeline */

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < N_CTX; i++)
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
    return backend_cpu_open(&cpu, 2, forced_cpu(), NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    backend_close(&cpu);
    return 0;
}

static struct model *load(const char *arch, enum dtype type)
{
    struct buf file = {0};
    struct tiny_options options = {.arch = arch, .type = type, .seed = 3};
    assert_true(tiny_model_make(&options, &file));
    struct model *m = edit_load(&file, &cpu, NULL, NULL);
    assert_non_null(m);
    buf_fini(&file);
    return m;
}

static struct timeline *open_with(struct model *m, enum dtype kv_type, uint32_t n_batch,
                                  const struct kv_shelf *shelf)
{
    struct timeline_options options = {
        .n_ctx = N_CTX, .kv_type = kv_type, .n_batch = n_batch, .shelf = shelf};
    struct timeline *t = timeline_new(m, &options, NULL);
    assert_non_null(t);
    return t;
}

static void expect_all(struct model *m, enum dtype kv_type)
{
    struct timeline *t = open_with(m, kv_type, 0, NULL);
    for (int i = 0; i < N_TOKENS; i++) {
        assert_true(timeline_eval(t, ids + i, 1, NULL, NULL, NULL));
        memcpy(expected[i], timeline_logits(t), sizeof expected[i]);
    }
    timeline_free(t);
}

static void assert_logits(struct timeline *t)
{
    size_t n = timeline_length(t);
    if (memcmp(timeline_logits(t), expected[n - 1], sizeof expected[0]) != 0)
        fail_msg("the logits behind token %zu are others", n - 1);
    assert_memory_equal(timeline_ids(t), ids, n * sizeof *ids);
}

/* Tries n guesses, of which the first n_right are what follows. */
static void step(struct timeline *t, size_t n_guesses, size_t n_right)
{
    int32_t tried[8];
    size_t at = timeline_length(t);
    memcpy(tried, ids + at, (1 + n_guesses) * sizeof *tried);
    for (size_t i = 1 + n_right; i <= n_guesses; i++)
        tried[i] = 3 + (tried[i] + 5) % (TINY_N_VOCAB - 3);
    assert_true(timeline_try(t, tried, 1 + n_guesses, NULL, NULL));
    assert_int_equal(timeline_length(t), at + 1);
    assert_logits(t);
    for (size_t i = 0; i < n_right; i++) {
        assert_int_equal(timeline_guess(t), ids[at + 1 + i]);
        assert_true(timeline_accept(t, NULL));
        assert_logits(t);
    }
    assert_int_equal(timeline_length(t), at + 1 + n_right);
    assert_int_equal(timeline_guess(t), n_right < n_guesses ? tried[1 + n_right] : -1);
}

/* Every number of guesses and of right ones, across pages. */
static void walk(struct timeline *t)
{
    for (size_t i = 0; timeline_length(t) + 8 < N_TOKENS; i++) {
        size_t n_guesses = i * 5 % 8;
        step(t, n_guesses, n_guesses ? i * 3 % (n_guesses + 1) : 0);
    }
}

static void timeline_try__rows_have_the_bits_of_one_by_one(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "qwen3", "qwen3moe", "qwen2moe"};
    static const enum dtype types[] = {DTYPE_F32, DTYPE_Q8_0, DTYPE_Q4_0},
                            kv_types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    for (size_t a = 0; a < 4; a++)
        for (size_t k = 0; k < 3; k++) {
            struct model *m = load(archs[a], types[(a + k) % 3]);
            expect_all(m, kv_types[k]);
            struct timeline *t = open_with(m, kv_types[k], 0, NULL);
            walk(t);
            assert_true(timeline_eval(t, ids + timeline_length(t), 1, NULL, NULL, NULL));
            assert_logits(t);
            timeline_free(t);
            model_free(m);
        }
}

static void timeline_try__has_room_for_what_fits(void **state)
{
    (void)state;
    struct model *m = load("qwen3", DTYPE_F32);
    struct timeline *t = open_with(m, DTYPE_F16, 0, NULL);
    assert_int_equal(timeline_most_guesses(t), 7);
    assert_int_equal(timeline_guess(t), -1);
    assert_true(timeline_eval(t, ids, N_CTX - 4, NULL, NULL, NULL));
    assert_int_equal(timeline_most_guesses(t), 3);
    assert_true(timeline_try(t, ids + N_CTX - 4, 4, NULL, NULL));
    for (int i = 0; i < 3; i++)
        assert_true(timeline_accept(t, NULL));
    assert_int_equal(timeline_length(t), N_CTX);
    assert_int_equal(timeline_most_guesses(t), 0);
    struct err err = {0};
    assert_false(timeline_try(t, ids, 1, NULL, &err));
    assert_int_equal(err.code, ERR_PROMPT);
    timeline_free(t);
    t = open_with(m, DTYPE_F16, 3, NULL);
    assert_int_equal(timeline_most_guesses(t), 2);
    timeline_free(t);
    model_free(m);
}

/* Whatever happens to the timeline, guesses are forgotten. */
static void timeline_try__what_was_not_accepted_is_gone(void **state)
{
    (void)state;
    static const atomic_bool cancelled = true;
    struct eval_control control = {.cancel = &cancelled};
    struct model *m = load("qwen3", DTYPE_F32);
    expect_all(m, DTYPE_F16);
    struct timeline *t = open_with(m, DTYPE_F16, 0, NULL);
    step(t, 7, 3);
    assert_int_equal(timeline_keep(t, ids, 4), 3);
    assert_int_equal(timeline_guess(t), -1);
    assert_true(timeline_eval(t, ids + 3, 60, NULL, NULL, NULL));
    assert_logits(t);
    step(t, 5, 0);
    assert_true(timeline_eval(t, ids + timeline_length(t), 1, NULL, NULL, NULL));
    assert_int_equal(timeline_guess(t), -1);
    assert_logits(t);
    step(t, 5, 1);
    size_t n = timeline_length(t);
    struct err err = {0};
    assert_false(timeline_try(t, ids + n, 4, &control, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(timeline_length(t), n);
    assert_int_equal(timeline_guess(t), -1);
    step(t, 2, 2);
    timeline_free(t);
    model_free(m);
}

/* Blocks come when their last token is accepted, and hold the rows of a walk without guesses. */
static void timeline_try__the_shelf_sees_what_was_accepted(void **state)
{
    (void)state;
    struct mem_shelf shelf;
    struct load_stats stats;
    mem_shelf_init(&shelf);
    struct model *m = load("qwen3", DTYPE_F32);
    expect_all(m, DTYPE_F16);
    struct timeline *t = open_with(m, DTYPE_F16, 0, &shelf.shelf);
    assert_true(timeline_eval(t, ids, 59, NULL, NULL, NULL));
    step(t, 7, 3);
    assert_int_equal(timeline_length(t), 63);
    assert_int_equal(shelf.n_blocks, 0);
    step(t, 7, 2);
    assert_int_equal(shelf.n_blocks, 1);
    walk(t);
    size_t n = timeline_length(t);
    assert_int_equal(timeline_save(t), 0);
    timeline_free(t);
    t = open_with(m, DTYPE_F16, 0, &shelf.shelf);
    assert_int_equal(timeline_load(t, ids, n, NULL, &stats), n - 1);
    assert_true(timeline_eval(t, ids + n - 1, 1, NULL, NULL, NULL));
    assert_logits(t);
    timeline_free(t);
    assert_true(mem_shelf_fini(&shelf));
    model_free(m);
}

/* A pass is one call whatever it computes; tokens and experts are those of the text. */
static void timeline_try__the_profile_counts_tokens_and_passes(void **state)
{
    (void)state;
    struct model *m = load("qwen3moe", DTYPE_F32);
    expect_all(m, DTYPE_F16);
    struct timeline *plain = open_with(m, DTYPE_F16, 0, NULL), *t = open_with(m, DTYPE_F16, 0, NULL);
    for (int i = 0; i < 30; i++)
        assert_true(timeline_eval(plain, ids + i, 1, NULL, NULL, NULL));
    uint64_t n_passes = 0;
    for (; timeline_length(t) < 30; n_passes++)
        step(t, 4, timeline_length(t) < 25 ? n_passes % 5 : 0);
    const struct prof *a = timeline_prof(plain), *b = timeline_prof(t);
    assert_int_equal(b->n_tokens[PROF_DECODE], 30);
    assert_int_equal(b->n_recent, 30);
    assert_int_equal(b->n_followed, 29);
    assert_int_equal(prof_sum(b, PROF_DECODE, PROF_LM_HEAD).calls, n_passes);
    assert_true(n_passes < 30);
    for (uint32_t layer = 0; layer < a->shape.n_layers; layer++) {
        assert_int_equal(a->repeats[layer], b->repeats[layer]);
        assert_memory_equal(prof_newest(a, layer), prof_newest(b, layer), 2 * a->shape.n_used);
        assert_memory_equal(prof_pairs(a, PROF_DECODE, layer), prof_pairs(b, PROF_DECODE, layer),
                            a->shape.n_experts * sizeof(uint64_t));
    }
    timeline_free(plain);
    timeline_free(t);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeline_try__rows_have_the_bits_of_one_by_one),
        cmocka_unit_test(timeline_try__has_room_for_what_fits),
        cmocka_unit_test(timeline_try__what_was_not_accepted_is_gone),
        cmocka_unit_test(timeline_try__the_shelf_sees_what_was_accepted),
        cmocka_unit_test(timeline_try__the_profile_counts_tokens_and_passes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
