/* The timeline and the forward pass under it: against the slow reference, and against itself when work is cut
 * short, reused or divided. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

static struct buf make_file(const char *arch, enum dtype type, uint64_t seed)
{
    struct buf file = {0};
    struct tiny_options options = {.arch = arch, .type = type, .seed = seed};
    assert_true(tiny_model_make(&options, &file));
    return file;
}

static struct model *load(const struct buf *file, struct backend *backend)
{
    struct err err;
    struct model *m = edit_load(file, backend, NULL, &err);
    if (!m)
        print_message("%s\n", err.text);
    assert_non_null(m);
    return m;
}

static struct model *load_tiny(void)
{
    struct buf file = make_file("qwen3", DTYPE_F32, 3);
    struct model *m = load(&file, &cpu);
    buf_fini(&file);
    return m;
}

static float *new_logits(size_t n)
{
    return mem_need(n * TINY_N_VOCAB * sizeof(float));
}

/* Logits of every position. */
static float *all_logits_of(const struct buf *file, struct backend *backend, enum dtype kv_type)
{
    struct model *m = load(file, backend);
    struct timeline *t = open_timeline(m, kv_type, 0);
    float *out = new_logits(N_TOKENS);
    assert_true(timeline_eval(t, ids, N_TOKENS, NULL, out, NULL));
    assert_memory_equal(timeline_logits(t), out + (N_TOKENS - 1) * TINY_N_VOCAB, TINY_N_VOCAB * sizeof *out);
    timeline_free(t);
    model_free(m);
    return out;
}

static void check_against_reference(const struct buf *file, enum dtype kv_type, double bound)
{
    float *fast = all_logits_of(file, &cpu, kv_type), *slow = all_logits_of(file, &reference, kv_type);
    double worst = 0;
    for (int i = 0; i < N_TOKENS; i++) {
        double each = nmse(fast + i * TINY_N_VOCAB, slow + i * TINY_N_VOCAB, TINY_N_VOCAB);
        worst = each > worst ? each : worst;
    }
    print_message("worst position: nmse %.2e (bound %.0e)\n", worst, bound);
    assert_true(worst < bound);
    mem_free(fast);
    mem_free(slow);
}

static void timeline__eval__equals_the_reference(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "qwen2", "qwen3"};
    static const struct {
        enum dtype type;
        double bound;
    } types[] = {{DTYPE_F32, 1e-9}, {DTYPE_Q8_0, 5e-3}, {DTYPE_Q4_0, 5e-3}};
    for (size_t a = 0; a < 3; a++)
        for (size_t i = 0; i < 3; i++) {
            struct buf file = make_file(archs[a], types[i].type, 10 * a + i);
            check_against_reference(&file, DTYPE_F32, types[i].bound);
            buf_fini(&file);
        }
}

static void timeline__eval__f16_cache_equals_the_reference(void **state)
{
    (void)state;
    struct buf file = make_file("qwen3", DTYPE_F32, 4);
    check_against_reference(&file, DTYPE_F16, 1e-5);
    buf_fini(&file);
}

static void timeline__window__equals_the_reference_and_matters(void **state)
{
    (void)state;
    struct buf file = make_file("llama", DTYPE_F32, 5);
    float *whole = all_logits_of(&file, &cpu, DTYPE_F32);
    struct gguf_writer keys = {0};
    gguf_write_u32(&keys, "llama.attention.sliding_window", 20);
    edit_insert_keys(&file, &keys);
    check_against_reference(&file, DTYPE_F32, 1e-9);
    float *narrow = all_logits_of(&file, &cpu, DTYPE_F32);
    assert_true(nmse(narrow + 5 * TINY_N_VOCAB, whole + 5 * TINY_N_VOCAB, TINY_N_VOCAB) < 1e-12);
    assert_true(nmse(narrow + 90 * TINY_N_VOCAB, whole + 90 * TINY_N_VOCAB, TINY_N_VOCAB) > 1e-6);
    mem_free(whole);
    mem_free(narrow);
    buf_fini(&file);
}

static void timeline__rope_scaling__matters(void **state)
{
    (void)state;
    static const char *const kinds[] = {"linear", "yarn"};
    for (int i = 0; i < 2; i++) {
        struct buf file = make_file("llama", DTYPE_F32, 6);
        float *plain = all_logits_of(&file, &cpu, DTYPE_F32);
        struct gguf_writer keys = {0};
        gguf_write_string(&keys, "llama.rope.scaling.type", kinds[i]);
        gguf_write_f32(&keys, "llama.rope.scaling.factor", 4.0f);
        edit_insert_keys(&file, &keys);
        check_against_reference(&file, DTYPE_F32, 1e-9);
        float *scaled = all_logits_of(&file, &cpu, DTYPE_F32);
        assert_true(nmse(scaled + 90 * TINY_N_VOCAB, plain + 90 * TINY_N_VOCAB, TINY_N_VOCAB) > 1e-6);
        mem_free(plain);
        mem_free(scaled);
        buf_fini(&file);
    }
}

/* The last logits of ids[0 .. n), from nothing. */
static float *fresh_logits(struct model *m, const int32_t *tokens, size_t n, uint32_t n_batch)
{
    struct timeline *t = open_timeline(m, DTYPE_F32, n_batch);
    float *out = new_logits(1);
    assert_true(timeline_eval(t, tokens, n, NULL, NULL, NULL));
    memcpy(out, timeline_logits(t), TINY_N_VOCAB * sizeof *out);
    timeline_free(t);
    return out;
}

static void assert_same_logits(struct timeline *t, const float *expected)
{
    assert_non_null(timeline_logits(t));
    assert_memory_equal(timeline_logits(t), expected, TINY_N_VOCAB * sizeof *expected);
}

static void timeline__keep__equals_fresh(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    int32_t other[N_TOKENS];
    static const size_t borders[] = {0, 1, 63, 64, 65, 100, N_TOKENS - 1};
    for (size_t i = 0; i < sizeof borders / sizeof borders[0]; i++) {
        size_t n_same = borders[i];
        memcpy(other, ids, sizeof other);
        for (size_t k = n_same; k < N_TOKENS; k++)
            other[k] = ids[k] == 9 ? 10 : 9;
        struct timeline *t = open_timeline(m, DTYPE_F32, 8);
        assert_true(timeline_eval(t, ids, N_TOKENS, NULL, NULL, NULL));
        assert_int_equal(timeline_keep(t, other, N_TOKENS), n_same);
        assert_null(timeline_logits(t));
        assert_true(timeline_eval(t, other + n_same, N_TOKENS - n_same, NULL, NULL, NULL));
        float *expected = fresh_logits(m, other, N_TOKENS, 8);
        assert_same_logits(t, expected);
        mem_free(expected);
        timeline_free(t);
    }
    model_free(m);
}

static void timeline__keep__leaves_one_to_compute(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    struct timeline *t = open_timeline(m, DTYPE_F32, 0);
    assert_null(timeline_logits(t));
    assert_int_equal(timeline_keep(t, ids, 5), 0);
    assert_true(timeline_eval(t, ids, 10, NULL, NULL, NULL));
    assert_int_equal(timeline_keep(t, ids, 10), 9);
    assert_int_equal(timeline_keep(t, ids, 4), 3);
    assert_int_equal(timeline_length(t), 3);
    assert_int_equal(timeline_keep(t, ids, 0), 0);
    timeline_free(t);
    model_free(m);
}

static void set_flag(void *flag, size_t done, size_t total)
{
    if (done == 48 && total == N_TOKENS)
        atomic_store((atomic_bool *)flag, true);
}

static void timeline__cancel__then_continue_equals_uninterrupted(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    struct timeline *t = open_timeline(m, DTYPE_F32, 8);
    atomic_bool cancel = false;
    struct eval_control control = {.cancel = &cancel, .progress = set_flag, .arg = &cancel};
    struct err err = {0};
    assert_false(timeline_eval(t, ids, N_TOKENS, &control, NULL, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(timeline_length(t), 48);
    assert_null(timeline_logits(t));
    assert_int_equal(timeline_keep(t, ids, N_TOKENS), 48);
    assert_true(timeline_eval(t, ids + 48, N_TOKENS - 48, NULL, NULL, NULL));
    float *expected = fresh_logits(m, ids, N_TOKENS, 8);
    assert_same_logits(t, expected);
    mem_free(expected);
    timeline_free(t);
    model_free(m);
}

/* --- how much is computed at a time --- */

static void set_flag_at_once(void *flag, size_t done, size_t total)
{
    (void)done;
    (void)total;
    atomic_store((atomic_bool *)flag, true);
}

struct seen_progress {
    struct timeline *timeline;
    size_t first_batch, newest, n_calls, total;
};

static void note_progress(void *arg, size_t done, size_t total)
{
    struct seen_progress *seen = arg;
    assert_true(done > seen->newest && done <= total);
    seen->newest = done;
    seen->n_calls++;
    seen->total = total;
    if (!seen->first_batch && timeline_length(seen->timeline) == done)
        seen->first_batch = done;
}

/* A prompt that is stopped loses what was computed of the batch: the first one, whose cost is not known, is
 * small. */
static void timeline__batch__begins_small_and_heeds_the_limit(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_batch;
        size_t first;
    } cases[] = {{0, 64}, {512, 64}, {65, 64}, {64, 64}, {40, 40}, {1, 1}};
    int32_t tokens[100];
    for (int i = 0; i < 100; i++)
        tokens[i] = i % 20;
    struct model *m = load_tiny();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct timeline *t = open_timeline(m, DTYPE_F32, cases[i].n_batch);
        struct seen_progress seen = {.timeline = t};
        struct eval_control control = {.progress = note_progress, .arg = &seen};
        assert_true(timeline_eval(t, tokens, 100, &control, NULL, NULL));
        assert_int_equal(seen.first_batch, cases[i].first);
        assert_int_equal(seen.newest, 100);
        assert_int_equal(timeline_length(t), 100);
        timeline_free(t);
    }
    model_free(m);
}

/* A batch may take seconds: it is told about, and given up, between its layers. */
static void timeline__batch__tells_and_heeds_between_layers(void **state)
{
    (void)state;
    int32_t tokens[64];
    for (int i = 0; i < 64; i++)
        tokens[i] = i % 20;
    struct model *m = load_tiny();
    size_t n_layer = model_config(m)->n_layer;
    assert_true(n_layer > 1);
    struct timeline *t = open_timeline(m, DTYPE_F32, 0);
    struct seen_progress seen = {.timeline = t};
    struct eval_control control = {.progress = note_progress, .arg = &seen};
    assert_true(timeline_eval(t, tokens, 64, &control, NULL, NULL));
    assert_int_equal(seen.n_calls, n_layer);
    atomic_bool cancel = false;
    control = (struct eval_control){.cancel = &cancel, .progress = set_flag_at_once, .arg = &cancel};
    timeline_keep(t, tokens, 1);
    struct err err = {0};
    assert_false(timeline_eval(t, tokens, 64, &control, NULL, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(timeline_length(t), 0);
    timeline_free(t);
    model_free(m);
}

static void timeline__batch__takes_no_longer_than_somebody_waits(void **state)
{
    (void)state;
    static const struct {
        double ns_per_token;
        size_t n_batch, expected, ahead;
    } cases[] = {{0, 512, 64, 64},
                 {1e9 / 5, 512, 64, 64},
                 {1e9 / 58, 512, 192, 64},
                 {1e9 / 127, 512, 448, 64},
                 {1e9 / 300, 512, 512, 256},
                 {1e9 / 450, 512, 512, 448},
                 {1e9 / 4000, 512, 512, 512},
                 {1, 512, 512, 512},
                 {1e9 / 300, 200, 200, 200},
                 {1e9 / 58, 8, 8, 8},
                 {1e9 / 300, 4096, 1152, 256}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(timeline_batch_tokens(cases[i].ns_per_token, cases[i].n_batch, false),
                         cases[i].expected);
        assert_int_equal(timeline_batch_tokens(cases[i].ns_per_token, cases[i].n_batch, true),
                         cases[i].ahead);
    }
}

static void timeline__eval__divided_gives_the_same_bits(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    float *one = fresh_logits(m, ids, N_TOKENS, 1);
    static const uint32_t batches[] = {2, 7, 8};
    for (int i = 0; i < 3; i++) {
        float *other = fresh_logits(m, ids, N_TOKENS, batches[i]);
        assert_memory_equal(one, other, TINY_N_VOCAB * sizeof *one);
        mem_free(other);
    }
    float *large = fresh_logits(m, ids, N_TOKENS, 512);
    assert_true(nmse(large, one, TINY_N_VOCAB) < 1e-9);
    mem_free(large);
    mem_free(one);
    model_free(m);
}

static void timeline__eval__refusals_change_nothing(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    struct timeline *t = open_timeline(m, DTYPE_F32, 0);
    struct err err;
    int32_t many[300] = {0}, wrong[] = {5, TINY_N_VOCAB}, negative[] = {-1};
    assert_true(timeline_eval(t, ids, 10, NULL, NULL, NULL));
    float *before = timeline_logits(t);
    assert_false(timeline_eval(t, many, 247, NULL, NULL, &err));
    assert_int_equal(err.code, ERR_PROMPT);
    assert_non_null(strstr(err.text, "256"));
    assert_false(timeline_eval(t, wrong, 2, NULL, NULL, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_false(timeline_eval(t, negative, 1, NULL, NULL, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_int_equal(timeline_length(t), 10);
    assert_ptr_equal(timeline_logits(t), before);
    assert_true(timeline_eval(t, many, 246, NULL, NULL, &err));
    assert_int_equal(timeline_length(t), timeline_n_ctx(t));
    timeline_free(t);
    model_free(m);
}

static void timeline__decode__allocates_nothing(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    struct timeline *t = open_timeline(m, DTYPE_F16, 0);
    assert_true(timeline_eval(t, ids, 60, NULL, NULL, NULL));
    mem_fail_after(0);
    for (int i = 60; i < 70; i++) /* over a page border */
        assert_true(timeline_eval(t, ids + i, 1, NULL, NULL, NULL));
    assert_false(mem_fail_happened());
    mem_fail_after(-1);
    assert_int_equal(timeline_prof(t)->n_tokens[PROF_DECODE], 10);
    assert_int_equal(prof_sum(timeline_prof(t), PROF_DECODE, PROF_ATTENTION).calls, 10 * TINY_N_LAYERS);
    timeline_free(t);
    model_free(m);
}

static void timeline__new__every_allocation_may_fail(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    struct timeline_options options = {.n_ctx = 128, .kv_type = DTYPE_F16};
    bool done = false;
    for (long i = 0; !done; i++) {
        struct err err = {0};
        mem_fail_after(i);
        struct timeline *t = timeline_new(m, &options, &err);
        done = !mem_fail_happened();
        mem_fail_after(-1);
        assert_true(done == (t != NULL));
        if (!t)
            assert_int_equal(err.code, ERR_MEMORY);
        timeline_free(t);
    }
    model_free(m);
}

static void timeline__new__refuses_what_cannot_be(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    struct err err = {0};
    struct timeline_options options = {.n_ctx = 128, .kv_type = DTYPE_Q4_0};
    assert_null(timeline_new(m, &options, &err));
    assert_int_equal(err.code, ERR_USAGE);
    options = (struct timeline_options){.n_ctx = UINT32_MAX, .kv_type = DTYPE_F32};
    assert_null(timeline_new(m, &options, &err)); /* 4 TiB */
    assert_int_equal(err.code, ERR_MEMORY);
    assert_non_null(strstr(err.text, "--ctx"));
    model_free(m);
}

static void timeline__sizes__add_up(void **state)
{
    (void)state;
    struct model *m = load_tiny();
    bool limited = true;
    assert_int_equal(timeline_default_ctx(m, DTYPE_F16, &limited), 512);
    assert_false(limited);
    /* layers x (K, V) x KV heads x head size x bytes */
    assert_int_equal(timeline_kv_bytes(m, DTYPE_F16), TINY_N_LAYERS * 2 * 2 * 32 * 2);
    assert_int_equal(timeline_kv_bytes(m, DTYPE_F32), TINY_N_LAYERS * 2 * 2 * 32 * 4);
    model_free(m);
}

/* 256 MiB more than the process has: half of it is the context's. In a process of its own, since what is
 * lowered stays low. */
static int default_ctx_under_limit(const struct model *m, bool *limited)
{
    struct rlimit limit;
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%llu", &pages) != 1 || getrlimit(RLIMIT_AS, &limit) != 0)
        return -1;
    fclose(f);
    limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)256 << 20);
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return -1;
    return (int)timeline_default_ctx(m, DTYPE_F16, limited);
}

static void timeline__default_ctx__heeds_the_limit_of_the_process(void **state)
{
    (void)state;
    struct buf file = {0};
    struct tiny_options options = {.arch = "llama", .type = DTYPE_F32, .n_ctx = 1u << 27, .seed = 1};
    assert_true(tiny_model_make(&options, &file));
    struct model *m = edit_load(&file, &cpu, NULL, NULL);
    assert_non_null(m);
    pid_t child = fork();
    if (child == 0) {
        bool limited = false;
        int n_ctx = default_ctx_under_limit(m, &limited);
        size_t most = ((size_t)256 << 20) / 2 / timeline_kv_bytes(m, DTYPE_F16);
        _exit(n_ctx >= 512 && (size_t)n_ctx <= most && limited ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    model_free(m);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeline__eval__equals_the_reference),
        cmocka_unit_test(timeline__eval__f16_cache_equals_the_reference),
        cmocka_unit_test(timeline__window__equals_the_reference_and_matters),
        cmocka_unit_test(timeline__rope_scaling__matters),
        cmocka_unit_test(timeline__keep__equals_fresh),
        cmocka_unit_test(timeline__keep__leaves_one_to_compute),
        cmocka_unit_test(timeline__cancel__then_continue_equals_uninterrupted),
        cmocka_unit_test(timeline__batch__begins_small_and_heeds_the_limit),
        cmocka_unit_test(timeline__batch__tells_and_heeds_between_layers),
        cmocka_unit_test(timeline__batch__takes_no_longer_than_somebody_waits),
        cmocka_unit_test(timeline__eval__divided_gives_the_same_bits),
        cmocka_unit_test(timeline__eval__refusals_change_nothing),
        cmocka_unit_test(timeline__decode__allocates_nothing),
        cmocka_unit_test(timeline__new__every_allocation_may_fail),
        cmocka_unit_test(timeline__new__refuses_what_cannot_be),
        cmocka_unit_test(timeline__sizes__add_up),
        cmocka_unit_test(timeline__default_ctx__heeds_the_limit_of_the_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
