/* Layers on two backends, and a device that has little memory or fails. The device is the CPU's kernels
 * behind a table of operations of our own, which hides its memory and fails when it is told to: the numbers
 * are the same bit by bit wherever a layer is computed, so that any difference is a mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/engine.h"
#include "engine/timeline.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/mem_shelf.h"
#include "tests/support/tiny_model.h"

#define N_CTX 256
#define N_IDS 150 /* two whole pages and a tail */
#define N_ANSWER 40

/* ---- the device ---- */

static struct backend cpu, device;
static const struct backend_ops *whole;
static const char *description = "device x4 test";
static struct backend_ops ops, host_ops;
static bool is_lost_now;
static long n_left;         /* operations until it fails; -1: never */
static size_t memory_bytes; /* it has, of weights and buffers; SIZE_MAX: enough */
static size_t taken_bytes;
static bool host_is_full;
static enum err_code bind_code; /* what binding a weight fails with; ERR_NONE: it does not */

static bool works(void)
{
    if (n_left > 0)
        n_left--;
    is_lost_now = is_lost_now || n_left == 0;
    return !is_lost_now;
}

static bool gemm(void *ctx, const struct op_gemm *op)
{
    return works() && whole->gemm(ctx, op);
}

static bool attention(void *ctx, const struct op_attention *op)
{
    return works() && whole->attention(ctx, op);
}

static bool buf_read(void *ctx, const struct bbuf *buf, size_t offset, void *to, size_t n)
{
    return works() && whole->buf_read(ctx, buf, offset, to, n);
}

static bool buf_write(void *ctx, struct bbuf *buf, size_t offset, const void *from, size_t n)
{
    return works() && whole->buf_write(ctx, buf, offset, from, n);
}

static bool take(size_t n, struct err *err)
{
    if (n > memory_bytes - taken_bytes)
        return err_set(err, ERR_MEMORY, "the device gives no %zu bytes", n);
    taken_bytes += n;
    return true;
}

static void buf_free(void *ctx, struct bbuf *buf)
{
    taken_bytes -= whole->buf_bytes(buf);
    whole->buf_free(ctx, buf);
}

static void weight_free(void *ctx, struct bweight *w)
{
    size_t n, k, n_bytes = 0;
    if (w)
        whole->weight_shape(w, &n, &k, &n_bytes);
    taken_bytes -= n_bytes;
    whole->weight_free(ctx, w);
}

static struct bbuf *buf_new(void *ctx, size_t n, struct err *err)
{
    return take(n, err) ? whole->buf_new(ctx, n, err) : NULL;
}

static struct bbuf *host_buf_new(void *ctx, size_t n, struct err *err)
{
    if (!host_is_full)
        return whole->buf_new(ctx, n, err);
    err_set(err, ERR_MEMORY, "no memory");
    return NULL;
}

static struct bweight *weight_bind(void *ctx, const struct weight_part *parts, size_t n, struct err *err)
{
    if (bind_code) {
        err_set(err, bind_code, "the kernels do not build");
        return NULL;
    }
    size_t n_bytes = 0;
    for (size_t i = 0; i < n; i++)
        n_bytes += parts[i].weight->n_bytes;
    return take(n_bytes, err) ? whole->weight_bind(ctx, parts, n, err) : NULL;
}

static bool is_lost(void *ctx)
{
    (void)ctx;
    return is_lost_now;
}

static const char *describe(void *ctx)
{
    (void)ctx;
    return description;
}

static void mend(void)
{
    is_lost_now = false;
    n_left = -1;
    memory_bytes = SIZE_MAX;
    bind_code = ERR_NONE;
    host_is_full = false;
}

static int set_up(void **state)
{
    (void)state;
    if (!backend_cpu_open(&cpu, 2, NULL, NULL) || !backend_cpu_open(&device, 1, NULL, NULL))
        return -1;
    whole = device.ops;
    ops = *whole;
    ops.name = "device";
    ops.describe = describe;
    ops.gemm = gemm;
    ops.attention = attention;
    ops.buf_new = buf_new;
    ops.buf_read = buf_read;
    ops.buf_write = buf_write;
    ops.buf_host = NULL;
    ops.buf_free = buf_free;
    ops.weight_bind = weight_bind;
    ops.weight_free = weight_free;
    ops.is_lost = is_lost;
    device.ops = &ops;
    host_ops = *whole;
    host_ops.buf_new = host_buf_new;
    cpu.ops = &host_ops;
    mend();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    device.ops = whole;
    backend_close(&device);
    backend_close(&cpu);
    return 0;
}

/* ---- models and timelines ---- */

static const char *const archs[] = {"llama", "qwen2", "qwen3moe", "qwen2moe"};
static int32_t ids[N_IDS];

static char path[64];
static void make_file(const char *arch)
{
    const struct tiny_options options = {.arch = arch, .type = DTYPE_Q8_0, .n_ctx = 512, .seed = 5};
    snprintf(path, sizeof path, "/tmp/ferrum-places-XXXXXX");
    close(mkstemp(path));
    assert_true(tiny_model_save(&options, path));
    for (int i = 0; i < N_IDS; i++)
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
}

static struct model *load(uint32_t n_device)
{
    struct err err;
    const struct model_places places = {&cpu, &device, n_device};
    struct model *m = model_load_on(path, &places, NULL, &err);
    if (!m)
        fail_msg("%s", err.text);
    return m;
}

static struct timeline *open(struct model *m, const struct kv_shelf *shelf)
{
    struct err err;
    const struct timeline_options options = {.n_ctx = N_CTX, .kv_type = DTYPE_F16, .shelf = shelf};
    struct timeline *t = timeline_new(m, &options, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}

static void eval(struct timeline *t, size_t first, size_t n)
{
    struct err err;
    if (!timeline_eval(t, ids + first, n, NULL, NULL, &err))
        fail_msg("%s", err.text);
}

/* The logits behind a prompt and one token more. */
static void logits_of(uint32_t n_device, float *out)
{
    struct model *m = load(n_device);
    struct timeline *t = open(m, NULL);
    assert_int_equal(model_n_device(m), n_device < TINY_N_LAYERS ? n_device : TINY_N_LAYERS);
    eval(t, 0, N_IDS - 1);
    eval(t, N_IDS - 1, 1);
    memcpy(out, timeline_logits(t), TINY_N_VOCAB * sizeof *out);
    timeline_free(t);
    model_free(m);
}

/* Kernels of two styles are never one name, however long that of the device is. */
static void split__a_long_name__keeps_how_the_device_computes(void **state)
{
    (void)state;
    char names[2][KV_KERNELS_BYTES];
    static const char *const styles[] = {"opencl pthread-skylake-avx512-Intel(R) Xeon(R) Processor gpu",
                                         "opencl pthread-skylake-avx512-Intel(R) Xeon(R) Processor cpu"};
    make_file(archs[0]);
    struct model *m = load(1);
    for (int i = 0; i < 2; i++) {
        description = styles[i];
        model_describe_places(m, names[i]);
    }
    description = "device x4 test";
    assert_memory_equal(names[0], "opencl pthread-skylake-avx512 gpu 1/", 28);
    assert_non_null(strstr(names[0], " gpu 1/"));
    assert_non_null(strstr(names[1], " cpu 1/"));
    model_describe_places(m, names[0]);
    assert_memory_equal(names[0], "device x4 test 1/", 17);
    model_free(m);
    unlink(path);
}

static void split__any_number_of_layers__the_same_bits(void **state)
{
    (void)state;
    float wanted[TINY_N_VOCAB], found[TINY_N_VOCAB];
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        make_file(archs[i]);
        logits_of(0, wanted);
        for (uint32_t n = 1; n <= TINY_N_LAYERS + 1; n++) {
            logits_of(n, found);
            assert_memory_equal(found, wanted, sizeof found);
        }
        unlink(path);
    }
}

static void split__blocks__do_not_say_where_they_were_computed(void **state)
{
    (void)state;
    make_file("qwen3");
    for (uint32_t from = 0; from <= TINY_N_LAYERS; from++)
        for (uint32_t to = 0; to <= TINY_N_LAYERS; to++) {
            struct mem_shelf shelf;
            struct load_stats stats;
            mem_shelf_init(&shelf);
            struct model *m = load(from);
            struct timeline *t = open(m, &shelf.shelf);
            eval(t, 0, N_IDS);
            float wanted[TINY_N_VOCAB];
            memcpy(wanted, timeline_logits(t), sizeof wanted);
            while (timeline_save(t))
                continue;
            timeline_free(t);
            model_free(m);
            m = load(to);
            t = open(m, &shelf.shelf);
            assert_int_equal(timeline_load(t, ids, N_IDS, NULL, &stats), N_IDS - 1);
            eval(t, N_IDS - 1, 1);
            assert_memory_equal(timeline_logits(t), wanted, sizeof wanted);
            timeline_free(t);
            model_free(m);
            assert_true(mem_shelf_fini(&shelf));
        }
    unlink(path);
}

/* ---- too little memory, kernels that fail ---- */

static void memory__for_some_layers__the_cpu_takes_the_rest(void **state)
{
    (void)state;
    bool has_met[TINY_N_LAYERS + 1] = {false};
    make_file("llama");
    for (memory_bytes = 0; memory_bytes < 400000; memory_bytes += 10000) {
        struct model *m = load(UINT32_MAX);
        uint32_t n = model_n_device(m);
        has_met[n] = true;
        const char *text = model_fewer(m);
        assert_true((text != NULL) == (n < TINY_N_LAYERS));
        if (n < TINY_N_LAYERS) {
            assert_non_null(strstr(text, "of 2 layers"));
            assert_non_null(strstr(text, "gives no"));
        }
        model_free(m);
        assert_int_equal(taken_bytes, 0);
    }
    assert_true(has_met[0] && has_met[1] && has_met[TINY_N_LAYERS]);
    mend();
    unlink(path);
}

static void kernels__fail__the_cpu_takes_all(void **state)
{
    (void)state;
    make_file("llama");
    bind_code = ERR_RUNTIME;
    struct model *m = load(UINT32_MAX);
    assert_int_equal(model_n_device(m), 0);
    const char *text = model_fewer(m);
    assert_non_null(text);
    assert_non_null(strstr(text, "do not build"));
    model_free(m);
    bind_code = ERR_MODEL; /* nobody could bind that */
    const struct model_places places = {&cpu, &device, 1};
    struct err err = {0};
    assert_null(model_load_on(path, &places, NULL, &err));
    assert_int_equal(err.code, ERR_MODEL);
    mend();
    unlink(path);
}

/* ---- the engine ---- */

struct answer {
    int32_t ids[N_ANSWER];
    size_t n, n_moved;
    enum finish_reason reason;
    struct err note, error;
    char kernels[64];
};

static struct engine *open_engine(const struct kv_shelf *shelf)
{
    const struct engine_options options = {.model_path = path,
                                           .backend = &cpu,
                                           .device = &device,
                                           .n_device = UINT32_MAX,
                                           .n_ctx = N_CTX,
                                           .kv_type = DTYPE_F16,
                                           .shelf = shelf};
    return open_ready(&options);
}

static void take_event(struct answer *a, struct engine_event *event)
{
    if (event->type == ENGINE_TOKEN && event->token >= 0 && !event->end)
        a->ids[a->n++] = event->token;
    if (event->type == ENGINE_MOVED) {
        a->n_moved++;
        a->note = event->error;
        snprintf(a->kernels, sizeof a->kernels, "%.*s", (int)event->n_text, event->text);
    }
    mem_free(event->ids);
    mem_free(event->n_ids_of);
}

static struct answer ask(struct engine *e, const char *text, float temp)
{
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = N_ANSWER};
    struct answer a = {0};
    struct engine_event event;
    uint64_t number;
    r.sampler.temp = temp;
    r.sampler.seed = 7;
    r.sampler.repeat_penalty = 1.1f;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_strdup(text), .n_bytes = strlen(text)};
    assert_true(engine_submit(e, &r, &number, NULL));
    do {
        wait_event(e, &event);
        take_event(&a, &event);
    } while (event.type != ENGINE_DONE);
    a.reason = event.reason;
    a.error = event.error;
    return a;
}

static void expect_same(const struct answer *found, const struct answer *wanted)
{
    assert_int_equal(found->error.code, ERR_NONE);
    assert_int_equal(found->reason, wanted->reason);
    assert_int_equal(found->n, wanted->n);
    assert_memory_equal(found->ids, wanted->ids, wanted->n * sizeof *wanted->ids);
}

#define QUESTION "What is a page, and how many rows does it hold? Say it in one sentence."

/* Wherever it fails - in the prompt, in a token, while logits are read - no token is lost or changed. */
static void device__is_lost_during_an_answer__the_cpu_goes_on_with_the_same_tokens(void **state)
{
    (void)state;
    size_t n_noted = 0;
    make_file("qwen3moe");
    struct engine *e = open_engine(NULL);
    const struct answer wanted = ask(e, QUESTION, 0.9f);
    assert_int_equal(wanted.n, N_ANSWER);
    assert_int_equal(wanted.n_moved, 0);
    engine_close(e);
    for (long after = 1; after < 900; after += after < 40 ? 3 : 47) {
        e = open_engine(NULL);
        n_left = after;
        struct answer found = ask(e, QUESTION, 0.9f);
        expect_same(&found, &wanted);
        if (is_lost_now) {
            assert_int_equal(found.n_moved, 1);
            assert_non_null(strstr(found.note.text, "the CPU goes on"));
            assert_memory_equal(found.kernels, "cpu ", 4);
            n_noted++;
        }
        n_left = -1; /* the lost device stays so: nobody asks it again */
        found = ask(e, QUESTION, 0.9f);
        expect_same(&found, &wanted);
        assert_int_equal(found.n_moved, 0);
        engine_close(e);
        mend();
    }
    assert_true(n_noted > 10);
    unlink(path);
}

/* Nor is anything of it when it fails between two turns, and what was kept of it is found again. */
static void device__is_lost_between_turns__the_next_one_is_the_cpus(void **state)
{
    (void)state;
    struct mem_shelf shelf;
    make_file("qwen3");
    struct engine *e = open_engine(NULL);
    const struct answer wanted = ask(e, QUESTION QUESTION, 0);
    engine_close(e);
    mem_shelf_init(&shelf);
    e = open_engine(&shelf.shelf);
    ask(e, QUESTION, 0);
    is_lost_now = true;
    struct answer found = ask(e, QUESTION QUESTION, 0);
    expect_same(&found, &wanted);
    assert_int_equal(found.n_moved, 1);
    engine_close(e);
    assert_true(mem_shelf_fini(&shelf));
    mend();
    unlink(path);
}

static void memory__of_the_context__fewer_layers_or_none(void **state)
{
    (void)state;
    make_file("llama");
    struct engine *e = open_engine(NULL);
    const struct answer wanted = ask(e, QUESTION, 0);
    engine_close(e);
    bool has_met[TINY_N_LAYERS + 1] = {false};
    for (memory_bytes = 50000; memory_bytes < 4000000; memory_bytes += memory_bytes / 4) {
        e = open_engine(NULL);
        struct answer found = ask(e, QUESTION, 0);
        expect_same(&found, &wanted);
        has_met[model_n_device(engine_model(e))] = true;
        engine_close(e);
    }
    assert_true(has_met[0] && has_met[TINY_N_LAYERS]);
    mend();
    unlink(path);
}

/* The device fails, and the CPU has no memory for the rows: an error, in this turn and in those that follow.
 */
static void device__is_lost_and_nothing_can_take_its_place__turns_are_refused(void **state)
{
    (void)state;
    make_file("llama");
    struct engine *e = open_engine(NULL);
    n_left = 20;
    host_is_full = true;
    for (int i = 0; i < 2; i++) {
        struct answer found = ask(e, QUESTION, 0);
        assert_int_equal(found.reason, FINISH_ERROR);
        assert_int_equal(found.error.code, i ? ERR_RUNTIME : ERR_MEMORY);
        assert_int_equal(found.n_moved, 0);
    }
    engine_close(e);
    mend();
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split__a_long_name__keeps_how_the_device_computes),
        cmocka_unit_test(split__any_number_of_layers__the_same_bits),
        cmocka_unit_test(split__blocks__do_not_say_where_they_were_computed),
        cmocka_unit_test(memory__for_some_layers__the_cpu_takes_the_rest),
        cmocka_unit_test(kernels__fail__the_cpu_takes_all),
        cmocka_unit_test(device__is_lost_during_an_answer__the_cpu_goes_on_with_the_same_tokens),
        cmocka_unit_test(device__is_lost_between_turns__the_next_one_is_the_cpus),
        cmocka_unit_test(memory__of_the_context__fewer_layers_or_none),
        cmocka_unit_test(device__is_lost_and_nothing_can_take_its_place__turns_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
