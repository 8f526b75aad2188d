/* Whole models on the OpenCL backend, in both styles: what the CPU backend says, and each other's KV blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/kv_shelving.h"
#include "engine/timeline.h"
#include "kernels_cl/cl_backend.h"
#include "tests/engine/model_edit.h"
#include "tests/kernels_cl/cl_fixture.h"
#include "tests/kernels_cpu/cpu_fixture.h"
#include "tests/support/mem_shelf.h"
#include "tests/support/tiny_model.h"

#define N_CTX 256
#define N_PROMPT 70
#define N_GREEDY 64

static struct backend cpu;
static int32_t ids[N_CTX];

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

static struct model *load(struct backend *b, const struct tiny_options *options)
{
    struct buf file = {0};
    struct err err = {0};
    assert_true(tiny_model_make(options, &file));
    struct model *m = edit_load(&file, b, NULL, &err);
    buf_fini(&file);
    if (!m)
        fail_msg("%s", err.text);
    return m;
}

static struct timeline *open(struct model *m, enum dtype kv_type, const struct kv_shelf *shelf)
{
    struct timeline_options options = {.n_ctx = N_CTX, .kv_type = kv_type, .shelf = shelf};
    struct err err = {0};
    struct timeline *t = timeline_new(m, &options, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}

static int32_t largest(const float *logits)
{
    int32_t best = 0;
    for (int32_t i = 1; i < TINY_N_VOCAB; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

/* The greedy tokens behind the prompt; in two batches, so that both ways of a product are taken. */
static void continue_greedily(struct backend *b, const struct tiny_options *options, enum dtype kv_type,
                              int32_t *out)
{
    struct model *m = load(b, options);
    struct timeline *t = open(m, kv_type, NULL);
    assert_true(timeline_eval(t, ids, 5, NULL, NULL, NULL));
    assert_true(timeline_eval(t, ids + 5, N_PROMPT - 5, NULL, NULL, NULL));
    for (int i = 0; i < N_GREEDY; i++) {
        out[i] = largest(timeline_logits(t));
        assert_true(timeline_eval(t, &out[i], 1, NULL, NULL, NULL));
    }
    timeline_free(t);
    model_free(m);
}

static void model__every_family__says_what_the_cpu_says(void **state)
{
    (void)state;
    static const struct tiny_options all[] = {
        {.arch = "llama", .type = DTYPE_F32, .seed = 1},
        {.arch = "qwen2", .type = DTYPE_F32, .seed = 2},
        {.arch = "qwen3", .type = DTYPE_F32, .seed = 3},
        {.arch = "qwen3moe", .type = DTYPE_F32, .seed = 4},
        {.arch = "qwen2moe", .type = DTYPE_F32, .seed = 5},
        {.arch = "olmoe", .type = DTYPE_F32, .seed = 6},
        {.arch = "llama", .experts = true, .type = DTYPE_F32, .seed = 7}};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) {
            int32_t found[N_GREEDY], wanted[N_GREEDY];
            continue_greedily(&cl_worlds[i].cl, &all[j], DTYPE_F32, found);
            continue_greedily(&cpu, &all[j], DTYPE_F32, wanted);
            for (int n = 0; n < N_GREEDY; n++)
                if (found[n] != wanted[n])
                    fail_msg("%s, %s style: token %d is %d, the CPU says %d", all[j].arch, cl_worlds[i].style,
                             n, found[n], wanted[n]);
        }
}

/* Behind the last token, and behind a guess that was right. */
static void expect_largest(struct timeline *t, const float *all, size_t k)
{
    size_t n;
    const struct logit *chosen = timeline_largest(t, &n);
    assert_null(timeline_logits(t));
    assert_non_null(chosen);
    assert_int_equal(n, k);
    assert_int_equal(chosen[0].id, largest(all));
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(&chosen[i].value, &all[chosen[i].id], sizeof(float));
}

static void largest__chosen_on_the_device__are_those_of_all_logits(void **state)
{
    (void)state;
    const struct tiny_options options = {.arch = "qwen3", .type = DTYPE_Q8_0, .seed = 3};
    for (int i = 0; i < n_cl_worlds; i++) {
        float all[2][TINY_N_VOCAB];
        struct model *m = load(&cl_worlds[i].cl, &options);
        struct timeline *whole = open(m, DTYPE_F32, NULL), *few = open(m, DTYPE_F32, NULL);
        for (int j = 0; j < 2; j++) {
            assert_true(timeline_eval(whole, j ? ids + 5 : ids, j ? 1 : 5, NULL, NULL, NULL));
            memcpy(all[j], timeline_logits(whole), sizeof all[j]);
        }
        timeline_want(few, 7);
        assert_true(timeline_eval(few, ids, 4, NULL, NULL, NULL));
        assert_true(timeline_try(few, ids + 4, 2, NULL, NULL));
        expect_largest(few, all[0], 7);
        timeline_want(few, 1);
        assert_true(timeline_accept(few, NULL));
        expect_largest(few, all[1], 1);
        timeline_want(few, 0);
        assert_true(timeline_eval(few, ids, 1, NULL, NULL, NULL));
        size_t n;
        assert_null(timeline_largest(few, &n));
        assert_non_null(timeline_logits(few));
        timeline_free(whole);
        timeline_free(few);
        model_free(m);
    }
}

/* However many layers choose experts, a token waits twice: for its logits, and for all ids. */
static __typeof__(&clEnqueueReadBuffer) whole_read;
static int n_reads;
static cl_int count_read(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset, size_t n,
                         void *to, cl_uint n_events, const cl_event *events, cl_event *event)
{
    n_reads++;
    return whole_read(queue, mem, blocking, offset, n, to, n_events, events, event);
}

static void experts__of_all_layers__are_read_back_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = cl_worlds[i].cl.ctx;
        const struct tiny_options options = {.arch = "qwen3moe", .type = DTYPE_F32, .seed = 4};
        struct model *m[] = {load(&cl_worlds[i].cl, &options), load(&cpu, &options)};
        struct timeline *t[] = {open(m[0], DTYPE_F32, NULL), open(m[1], DTYPE_F32, NULL)};
        for (int k = 0; k < 2; k++)
            assert_true(timeline_eval(t[k], ids, 20, NULL, NULL, NULL));
        whole_read = b->api.clEnqueueReadBuffer;
        b->api.clEnqueueReadBuffer = count_read;
        n_reads = 0;
        for (int n = 20; n < 30; n++)
            for (int k = 0; k < 2; k++)
                assert_true(timeline_eval(t[k], ids + n, 1, NULL, NULL, NULL));
        b->api.clEnqueueReadBuffer = whole_read;
        assert_int_equal(n_reads, 2 * 10);
        const struct prof *found = timeline_prof(t[0]), *wanted = timeline_prof(t[1]);
        for (uint32_t layer = 0; layer < found->shape.n_layers; layer++)
            for (int phase = 0; phase < PROF_N_PHASES; phase++) {
                enum prof_phase p = (enum prof_phase)phase;
                assert_memory_equal(prof_pairs(found, p, layer), prof_pairs(wanted, p, layer),
                                    found->shape.n_experts * sizeof(uint64_t));
                assert_int_equal(prof_at(found, p, layer, PROF_DOWN)->bytes,
                                 prof_at(wanted, p, layer, PROF_DOWN)->bytes);
            }
        for (int k = 0; k < 2; k++) {
            timeline_free(t[k]);
            model_free(m[k]);
        }
    }
}

/* Of some decoded tokens the device says what each operation took; the sums are as before. */
static void times__of_the_device__are_taken_of_some_tokens(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = cl_worlds[i].cl.ctx;
        const struct tiny_options options = {.arch = "qwen3", .type = DTYPE_F32, .seed = 3};
        struct model *m = load(&cl_worlds[i].cl, &options);
        struct timeline *t = open(m, DTYPE_F32, NULL);
        for (int n = 0; n < 40; n++)
            assert_true(timeline_eval(t, ids + n, 1, NULL, NULL, NULL));
        assert_false(b->times.on);
        struct prof *prof = prof_new(&timeline_prof(t)->shape, NULL);
        prof_copy(prof, timeline_prof(t));
        assert_int_equal(prof->n_device, 3); /* tokens 1, 17 and 33 */
        static const enum prof_op ops[] = {PROF_NORM, PROF_QKV, PROF_ROPE, PROF_ATTENTION, PROF_FFN};
        for (uint32_t layer = 0; layer < prof->shape.n_layers; layer++)
            for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
                assert_true(prof->device_ns[layer * PROF_N_OPS + ops[k]] > 0);
        assert_true(prof->device_ns[prof->shape.n_layers * PROF_N_OPS + PROF_LM_HEAD] > 0);
        uint64_t sum = prof_sum_ns(prof, PROF_DECODE);
        prof_use_device(prof);
        if (prof_sum(prof, PROF_DECODE, PROF_SYNC).ns > 0) /* the device took no longer than the host saw */
            assert_true(prof_sum_ns(prof, PROF_DECODE) <= sum && prof_sum_ns(prof, PROF_DECODE) + 1000 > sum);
        prof_free(prof);
        timeline_free(t);
        model_free(m);
    }
}

/* ---- KV blocks ---- */

#define N_SAVED 150 /* two whole pages and a tail */

static void save_chat(struct backend *b, const struct tiny_options *options, enum dtype kv_type,
                      struct mem_shelf *shelf)
{
    struct model *m = load(b, options);
    struct timeline *t = open(m, kv_type, &shelf->shelf);
    assert_true(timeline_eval(t, ids, N_SAVED, NULL, NULL, NULL));
    size_t n_left = timeline_save(t);
    for (int i = 0; n_left && i < 10; i++)
        n_left = timeline_save(t);
    assert_int_equal(n_left, 0);
    timeline_free(t);
    model_free(m);
    assert_int_equal(shelf->n_blocks, 3);
}

/* What is resumed goes on as what was never interrupted. */
static void resume_chat(struct backend *b, const struct tiny_options *options, enum dtype kv_type,
                        struct mem_shelf *shelf, double limit)
{
    struct model *m = load(b, options);
    struct timeline *t = open(m, kv_type, &shelf->shelf), *fresh = open(m, kv_type, NULL);
    struct load_stats stats;
    assert_int_equal(timeline_load(t, ids, N_SAVED, NULL, &stats), N_SAVED - 1);
    assert_true(timeline_eval(t, ids + N_SAVED - 1, 1, NULL, NULL, NULL));
    assert_true(timeline_eval(fresh, ids, N_SAVED, NULL, NULL, NULL));
    double wanted[TINY_N_VOCAB];
    for (int i = 0; i < TINY_N_VOCAB; i++)
        wanted[i] = (double)timeline_logits(fresh)[i];
    double nmse = fixture_nmse(timeline_logits(t), wanted, TINY_N_VOCAB);
    if (!(nmse <= limit))
        fail_msg("resumed on %s, KV %s: nmse %g, expected at most %g", b->ops->name,
                 dtype_info(kv_type)->name, nmse, limit);
    timeline_free(t);
    timeline_free(fresh);
    model_free(m);
}

static void kv__saved_by_one_backend__is_resumed_by_the_other(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        double limit; /* of a value that rounds the other way */
    } types[] = {{DTYPE_F32, 1e-9}, {DTYPE_F16, 1e-6}, {DTYPE_I8, 1e-4}};
    const struct tiny_options options = {.arch = "qwen3", .type = DTYPE_F32, .seed = 3};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t k = 0; k < sizeof types / sizeof *types; k++)
            for (int back = 0; back < 2; back++) {
                struct backend *from = back ? &cl_worlds[i].cl : &cpu, *to = back ? &cpu : &cl_worlds[i].cl;
                struct mem_shelf shelf;
                mem_shelf_init(&shelf);
                save_chat(from, &options, types[k].type, &shelf);
                resume_chat(to, &options, types[k].type, &shelf, types[k].limit);
                assert_true(mem_shelf_fini(&shelf));
            }
}

/* What a device says it gives in one piece, it gives, and no more. */
static __typeof__(&clCreateBuffer) whole_create;
static size_t largest_buffer;
static cl_mem create_up_to(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *code)
{
    *code = CL_INVALID_BUFFER_SIZE;
    return size <= largest_buffer ? whole_create(context, flags, size, host, code) : NULL;
}

/* The default context is one whose pages the device gives in one piece. */
static void kv__device_gives_little__the_default_context_fits(void **state)
{
    (void)state;
    const struct tiny_options options = {.arch = "qwen3", .type = DTYPE_F32, .n_ctx = 4096, .seed = 3};
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = cl_worlds[i].cl.ctx;
        cl_ulong whole = b->device.max_alloc_bytes;
        struct model *m = load(&cl_worlds[i].cl, &options);
        struct mem_shelf shelf;
        bool limited;
        mem_shelf_init(&shelf);
        whole_create = b->api.clCreateBuffer;
        b->api.clCreateBuffer = create_up_to;
        b->device.max_alloc_bytes = largest_buffer =
            (KV_SHELVING_TOKENS + 1100) * timeline_kv_bytes(m, DTYPE_F16);
        assert_int_equal(timeline_default_ctx(m, DTYPE_F16, &limited), 1088);
        assert_true(limited);
        struct timeline_options few = {.kv_type = DTYPE_F16, .shelf = &shelf.shelf};
        struct timeline *t = timeline_new(m, &few, NULL);
        assert_non_null(t);
        assert_int_equal(timeline_n_ctx(t), 1088);
        timeline_free(t);
        b->api.clCreateBuffer = whole_create;
        b->device.max_alloc_bytes = whole;
        assert_int_equal(timeline_default_ctx(m, DTYPE_F16, &limited), 4096);
        model_free(m);
        assert_true(mem_shelf_fini(&shelf));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model__every_family__says_what_the_cpu_says),
        cmocka_unit_test(largest__chosen_on_the_device__are_those_of_all_logits),
        cmocka_unit_test(experts__of_all_layers__are_read_back_at_once),
        cmocka_unit_test(times__of_the_device__are_taken_of_some_tokens),
        cmocka_unit_test(kv__saved_by_one_backend__is_resumed_by_the_other),
        cmocka_unit_test(kv__device_gives_little__the_default_context_fits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
