/* The list of a step's launches, in both styles: a token like the one before sets no argument of theirs, and
 * no token has another bit than without the list, whatever comes in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/timeline.h"
#include "kernels_cl/cl_backend.h"
#include "tests/kernels_cl/cl_fixture.h"
#include "tests/kernels_cpu/cpu_fixture.h"
#include "tests/support/tiny_model.h"

#define N_CTX 320
#define N_PROMPT 245
#define N_TOKENS 24 /* past the position from which on attention is in two parts */
#define FIRST_IN_TWO (SPLIT_PAGES * PAGE_TOKENS)

static struct backend cpu;
static int32_t ids[N_CTX];
static const struct tiny_options dense = {.arch = "qwen3", .type = DTYPE_Q8_0, .seed = 3};

static int set_up(void **state)
{
    cpu = fixture_open(2, NULL);
    for (int i = 0; i < N_CTX; i++)
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
    cl_worlds_open(state);
    return 0;
}

static int tear_down(void **state)
{
    cl_worlds_close(state);
    backend_close(&cpu);
    return 0;
}

static struct cl_backend *device_of(int world)
{
    return cl_worlds[world].cl.ctx;
}

/* n_device: of its layers; the others are the CPU's. */
static struct model *load(struct backend *b, const struct tiny_options *options, uint32_t n_device)
{
    char path[] = "/tmp/ferrum-launches-XXXXXX";
    struct err err = {0};
    const struct model_places places = {&cpu, b, n_device};
    close(mkstemp(path));
    assert_true(tiny_model_save(options, path));
    struct model *m = model_load_on(path, &places, NULL, &err);
    unlink(path);
    if (!m)
        fail_msg("%s", err.text);
    return m;
}

static struct timeline *open(struct model *m, enum dtype kv_type)
{
    struct timeline_options options = {.n_ctx = N_CTX, .kv_type = kv_type};
    struct err err = {0};
    struct timeline *t = timeline_new(m, &options, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}

static void eval(struct timeline *t, size_t n)
{
    struct err err = {0};
    if (!timeline_eval(t, ids + timeline_length(t), n, NULL, NULL, &err))
        fail_msg("%s", err.text);
}

/* ---- what is called ---- */

static __typeof__(&clSetKernelArg) whole_arg;
static __typeof__(&clCreateKernel) whole_create;
static int n_args, n_created, n_left;

static cl_int count_arg(cl_kernel kernel, cl_uint i, size_t n, const void *value)
{
    n_args++;
    return whole_arg(kernel, i, n, value);
}

static cl_kernel count_kernel(cl_program program, const char *name, cl_int *code)
{
    n_created++;
    return whole_create(program, name, code);
}

static cl_int fail_arg(cl_kernel kernel, cl_uint i, size_t n, const void *value)
{
    return n_left-- > 0 ? whole_arg(kernel, i, n, value) : CL_OUT_OF_RESOURCES;
}

static cl_kernel no_kernel(cl_program program, const char *name, cl_int *code)
{
    (void)program;
    (void)name;
    *code = CL_OUT_OF_HOST_MEMORY;
    return NULL;
}

static void count_calls(struct cl_backend *b)
{
    whole_arg = b->api.clSetKernelArg;
    whole_create = b->api.clCreateKernel;
    b->api.clSetKernelArg = count_arg;
    b->api.clCreateKernel = count_kernel;
}

static void stop_counting(struct cl_backend *b)
{
    b->api.clSetKernelArg = whole_arg;
    b->api.clCreateKernel = whole_create;
}

static void eval_counted(struct timeline *t)
{
    n_args = n_created = 0;
    eval(t, 1);
}

static void begin_list(struct cl_backend *b)
{
    cl_launches_fini(b);
    assert_true(cl_launches_init(b, NULL));
}

/* ---- tests ---- */

/* The first token makes the list; memory that grows with it is bound with the second. */
static void check_counts(int world, const struct tiny_options *options)
{
    struct cl_backend *b = device_of(world);
    struct model *m = load(&cl_worlds[world].cl, options, TINY_N_LAYERS);
    struct timeline *t = open(m, DTYPE_F16);
    begin_list(b);
    timeline_want(t, 1);
    eval(t, N_PROMPT);
    count_calls(b);
    eval_counted(t);
    assert_true(n_created > 8 * TINY_N_LAYERS && n_args > 5 * n_created);
    eval_counted(t);
    assert_int_equal(n_created, 0);
    while (timeline_length(t) < FIRST_IN_TWO) {
        eval_counted(t);
        assert_int_equal(n_args, 0);
        assert_int_equal(n_created, 0);
    }
    eval_counted(t); /* each layer's attention has a page more and is one of two parts, and they are joined */
    assert_int_equal(n_args, TINY_N_LAYERS * (2 + 4));
    assert_int_equal(n_created, TINY_N_LAYERS);
    eval_counted(t);
    assert_int_equal(n_args, 0);
    timeline_keep(t, ids, 100); /* another turn: its prompt has not taken the place of anything */
    eval(t, 70);
    eval_counted(t);
    assert_int_equal(n_created, 0);
    eval_counted(t);
    assert_int_equal(n_args, 0);
    stop_counting(b);
    timeline_free(t);
    model_free(m);
}

static void launches__of_a_token_like_the_one_before__are_bound(void **state)
{
    (void)state;
    const struct tiny_options experts = {.arch = "qwen3moe", .type = DTYPE_F32, .seed = 4};
    for (int i = 0; i < n_cl_worlds; i++) {
        check_counts(i, &dense);
        check_counts(i, &experts);
    }
}

static void launches__of_a_cache_that_is_gone__are_bound_anew(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = device_of(i);
        struct model *m = load(&cl_worlds[i].cl, &dense, TINY_N_LAYERS);
        struct timeline *t = open(m, DTYPE_F16);
        count_calls(b);
        eval(t, 1);
        eval(t, 1);
        eval_counted(t);
        assert_int_equal(n_args, 0);
        timeline_free(t);
        t = open(m, DTYPE_F16);
        eval_counted(t);
        assert_true(n_args > 40);
        assert_int_equal(n_created, 0);
        eval_counted(t);
        assert_int_equal(n_args, 0);
        stop_counting(b);
        timeline_free(t);
        model_free(m);
    }
}

static void note(struct timeline *t, float **out)
{
    assert_non_null(timeline_logits(t));
    memcpy(*out, timeline_logits(t), TINY_N_VOCAB * sizeof **out);
    *out += TINY_N_VOCAB;
}

/* Tokens, a pass with guesses of which one is right, what was cut off again, another timeline in between. */
#define N_NOTED (N_TOKENS + 1)
static void talk(struct model *m, enum dtype kv_type, float *out)
{
    struct timeline *t = open(m, kv_type), *other = open(m, kv_type);
    eval(t, N_PROMPT - 1);
    for (int i = 0; i < N_TOKENS; i++) {
        if (i == 7) {
            assert_true(timeline_try(t, ids + timeline_length(t), 3, NULL, NULL));
            assert_true(timeline_accept(t, NULL));
        } else {
            eval(t, 1);
        }
        if (i == 15 || i == 19)
            eval(other, 1);
        if (i == 15) {
            timeline_keep(t, ids, timeline_length(t) - 3);
            eval(t, 1);
        }
        note(t, &out);
    }
    note(other, &out);
    timeline_free(t);
    timeline_free(other);
}

/* Twice the same, with the list and without. */
static void check_bits(int world, const struct tiny_options *options, enum dtype kv_type, uint32_t n_device)
{
    struct cl_backend *b = device_of(world);
    size_t n = b->launches.n;
    float *found = mem_need(N_NOTED * TINY_N_VOCAB * sizeof *found),
          *wanted = mem_need(N_NOTED * TINY_N_VOCAB * sizeof *wanted);
    struct model *m = load(&cl_worlds[world].cl, options, n_device);
    b->launches.n = 0;
    talk(m, kv_type, wanted);
    b->launches.n = n;
    talk(m, kv_type, found);
    if (memcmp(found, wanted, N_NOTED * TINY_N_VOCAB * sizeof *found) != 0)
        fail_msg("%s, KV %s, %u layers, %s style: other bits with the list", options->arch,
                 dtype_info(kv_type)->name, n_device, cl_worlds[world].style);
    model_free(m);
    mem_free(found);
    mem_free(wanted);
}

static void launches__with_the_list__have_the_same_bits(void **state)
{
    (void)state;
    static const struct tiny_options all[] = {{.arch = "llama", .type = DTYPE_Q4_0, .seed = 1},
                                              {.arch = "qwen2", .type = DTYPE_F32, .seed = 2},
                                              {.arch = "qwen3", .type = DTYPE_Q8_0, .seed = 3},
                                              {.arch = "qwen3moe", .type = DTYPE_F32, .seed = 4},
                                              {.arch = "qwen2moe", .type = DTYPE_F32, .seed = 5},
                                              {.arch = "olmoe", .type = DTYPE_F32, .seed = 6}};
    static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            check_bits(i, &all[j], types[j % 3], j % 2 ? TINY_N_LAYERS : 1);
}

/* A list without room for a whole step: what is left of it is launched as before. */
static void launches__more_than_the_list_has__have_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = device_of(i);
        size_t n = b->launches.n;
        b->launches.n = 9;
        check_bits(i, &dense, DTYPE_F32, TINY_N_LAYERS);
        b->launches.n = n;
    }
}

static void launches__a_driver_gives_no_kernel_objects__the_programs_own_are_taken(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = device_of(i);
        begin_list(b);
        whole_create = b->api.clCreateKernel;
        b->api.clCreateKernel = no_kernel;
        check_bits(i, &dense, DTYPE_F32, TINY_N_LAYERS);
        b->api.clCreateKernel = whole_create;
        assert_false(b->is_lost);
    }
}

/* What a call that failed has left behind is not taken for bound. */
static void launches__an_argument_is_refused__the_next_token_sets_it(void **state)
{
    (void)state;
    float all[2][TINY_N_VOCAB];
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = device_of(i);
        struct model *m = load(&cl_worlds[i].cl, &dense, TINY_N_LAYERS);
        struct timeline *t = open(m, DTYPE_F32);
        eval(t, 3);
        memcpy(all[0], timeline_logits(t), sizeof all[0]);
        for (int left = 0; left < 60; left += 7) {
            timeline_keep(t, ids, 3);
            cl_launches_forget(b);
            whole_arg = b->api.clSetKernelArg;
            b->api.clSetKernelArg = fail_arg;
            n_left = left;
            assert_false(timeline_eval(t, ids + 2, 1, NULL, NULL, NULL));
            b->api.clSetKernelArg = whole_arg;
            assert_true(b->is_lost);
            b->is_lost = false;
            eval(t, 1);
            memcpy(all[1], timeline_logits(t), sizeof all[1]);
            assert_memory_equal(all[1], all[0], sizeof all[0]);
        }
        timeline_free(t);
        model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launches__of_a_token_like_the_one_before__are_bound),
        cmocka_unit_test(launches__of_a_cache_that_is_gone__are_bound_anew),
        cmocka_unit_test(launches__with_the_list__have_the_same_bits),
        cmocka_unit_test(launches__more_than_the_list_has__have_the_same_bits),
        cmocka_unit_test(launches__a_driver_gives_no_kernel_objects__the_programs_own_are_taken),
        cmocka_unit_test(launches__an_argument_is_refused__the_next_token_sets_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
