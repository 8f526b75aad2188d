/* A device that fails, whole: the engine with the OpenCL backend as its device and the CPU behind it, and an
 * OpenCL whose functions begin to fail. Whatever fails and whenever it does, the answer is the one that the
 * CPU gives alone, and a sentence says what has happened. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "kernels_cl/backend_cl.h"
#include "kernels_cl/cl_backend.h"
#include "tests/engine/engine_fixture.h"
#include "tests/kernels_cl/cl_fixture.h"
#include "tests/kernels_cpu/cpu_fixture.h"
#include "tests/support/tiny_model.h"

#define N_ANSWER 24
#define QUESTION "What does a device do that fails? It says so, and another one goes on where it stopped."

static struct backend cpu;
static char path[] = "/tmp/ferrum-rescue-XXXXXX";

static int set_up(void **state)
{
    /* Numbers that no rounding makes equal: greedy tokens are the same on every backend. */
    const struct tiny_options options = {.arch = "qwen3", .type = DTYPE_F32, .seed = 3};
    cpu = fixture_open(2, NULL);
    close(mkstemp(path));
    if (!tiny_model_save(&options, path))
        return -1;
    cl_worlds_open(state);
    for (int i = 0; i < n_cl_worlds; i++) /* no tuning between turns: calls are counted here */
        ((struct cl_backend *)cl_worlds[i].cl.ctx)->programs.cache_dir = NULL;
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    cl_worlds_close(state);
    backend_close(&cpu);
    return 0;
}

/* ---- an OpenCL that begins to fail ---- */

static struct cl_api whole;
static int n_left;      /* calls of the function in question that still work */
static bool fails_once; /* and works again */
static cl_int failure;

static cl_int launch(cl_command_queue queue, cl_kernel kernel, cl_uint n, const size_t *offset,
                     const size_t *global, const size_t *local, cl_uint n_events, const cl_event *events,
                     cl_event *event)
{
    return n_left-- > 0 ? whole.clEnqueueNDRangeKernel(queue, kernel, n, offset, global, local, n_events,
                                                       events, event)
                        : failure;
}

static cl_int read_back(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset, size_t n,
                        void *to, cl_uint n_events, const cl_event *events, cl_event *event)
{
    return n_left-- > 0
               ? whole.clEnqueueReadBuffer(queue, mem, blocking, offset, n, to, n_events, events, event)
               : failure;
}

static cl_mem create(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *code)
{
    *code = failure;
    return n_left-- > 0 || (fails_once && n_left < -1)
               ? whole.clCreateBuffer(context, flags, size, host, code)
               : NULL;
}

static cl_int build(cl_program program, cl_uint n, const cl_device_id *ids, const char *options,
                    void(CL_CALLBACK *done)(cl_program, void *), void *arg)
{
    (void)options;
    return whole.clBuildProgram(program, n, ids, "-DW_F32 -include no_such_file", done, arg);
}

/* ---- an answer ---- */

struct answer {
    int32_t ids[N_ANSWER];
    size_t n, n_moved;
    struct err note, error;
};

static struct engine *open_engine(struct backend *device)
{
    const struct engine_options options = {.model_path = path,
                                           .backend = &cpu,
                                           .device = device,
                                           .n_device = UINT32_MAX,
                                           .n_ctx = 256,
                                           .kv_type = DTYPE_F32};
    return open_ready(&options);
}

static struct answer ask(struct engine *e)
{
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = N_ANSWER};
    struct answer a = {0};
    struct engine_event event;
    uint64_t number;
    r.sampler.temp = 0;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] =
        (struct engine_msg){.role = CHAT_USER, .text = mem_strdup(QUESTION), .n_bytes = strlen(QUESTION)};
    assert_true(engine_submit(e, &r, &number, NULL));
    do {
        wait_event(e, &event);
        if (event.type == ENGINE_TOKEN && event.token >= 0)
            a.ids[a.n++] = event.token;
        if (event.type == ENGINE_MOVED)
            a.note = event.error;
        a.n_moved += event.type == ENGINE_MOVED;
        mem_free(event.ids);
        mem_free(event.n_ids_of);
    } while (event.type != ENGINE_DONE);
    a.error = event.error;
    return a;
}

static struct answer wanted;

static void expect_wanted(const struct answer *found)
{
    if (found->error.code)
        fail_msg("%s", found->error.text);
    assert_int_equal(found->n, wanted.n);
    assert_memory_equal(found->ids, wanted.ids, wanted.n * sizeof *wanted.ids);
}

static void cpu__alone__says_what_is_wanted(void **state)
{
    (void)state;
    struct engine *e = open_engine(NULL);
    wanted = ask(e);
    engine_close(e);
    assert_int_equal(wanted.n, N_ANSWER);
}

/* One engine, whose device works while it loads; `which` is broken after n calls of the answer. */
enum broken { LAUNCH, READ, CREATE };
static void answer_breaks(struct cl_world *w, enum broken which, int after, cl_int code)
{
    struct cl_backend *b = w->cl.ctx;
    struct engine *e = open_engine(&w->cl);
    whole = b->api;
    n_left = after;
    failure = code;
    if (which == LAUNCH)
        b->api.clEnqueueNDRangeKernel = launch;
    else if (which == READ)
        b->api.clEnqueueReadBuffer = read_back;
    else
        b->api.clCreateBuffer = create;
    struct answer found = ask(e);
    bool has_failed = n_left < 0;
    expect_wanted(&found);
    assert_int_equal(found.n_moved, has_failed);
    assert_true(!has_failed || strstr(found.note.text, "the CPU goes on"));
    found = ask(e);
    expect_wanted(&found);
    assert_int_equal(found.n_moved, 0);
    engine_close(e);
    b->api = whole;
    b->is_lost = false;
}

static void answer__a_launch_fails__the_cpu_goes_on(void **state)
{
    (void)state;
    static const int after[] = {0, 7, 40, 200};
    for (int i = 0; i < n_cl_worlds; i++)
        for (size_t j = 0; j < sizeof after / sizeof *after; j++)
            answer_breaks(&cl_worlds[i], LAUNCH, after[j], j % 2 ? CL_OUT_OF_RESOURCES : -9999);
}

static void answer__a_read_fails__the_cpu_goes_on(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++)
        for (int after = 0; after < 30; after += 11)
            answer_breaks(&cl_worlds[i], READ, after, CL_OUT_OF_RESOURCES);
}

/* What a larger prompt needs is not there any more. */
static void answer__memory_is_refused__the_cpu_goes_on(void **state)
{
    (void)state;
    for (int i = 0; i < n_cl_worlds; i++) {
        struct cl_backend *b = cl_worlds[i].cl.ctx;
        whole = b->api;
        if (b->expanded.mem)
            b->api.clReleaseMemObject(b->expanded.mem);
        b->expanded = (struct cl_room){0};
        answer_breaks(&cl_worlds[i], CREATE, 0, CL_MEM_OBJECT_ALLOCATION_FAILURE);
    }
}

/* ---- while loading ---- */

static void load__memory_for_some_layers__the_cpu_takes_the_rest(void **state)
{
    (void)state;
    bool has_met[TINY_N_LAYERS + 1] = {false};
    for (int i = 0; i < n_cl_worlds; i++)
        for (int j = 0; j < 60; j += 3) {
            struct cl_backend *b = cl_worlds[i].cl.ctx;
            whole = b->api;
            n_left = j;
            fails_once = j % 2;
            failure = CL_MEM_OBJECT_ALLOCATION_FAILURE;
            b->api.clCreateBuffer = create;
            struct engine *e = open_engine(&cl_worlds[i].cl);
            b->api = whole;
            fails_once = false;
            uint32_t n = model_n_device(engine_model(e));
            has_met[n] = true;
            if (n < TINY_N_LAYERS) {
                const char *text = model_fewer(engine_model(e));
                assert_non_null(text);
                assert_non_null(strstr(text, "CL_MEM_OBJECT_ALLOCATION_FAILURE"));
            }
            struct answer found = ask(e);
            expect_wanted(&found);
            assert_int_equal(found.n_moved, 0);
            engine_close(e);
        }
    assert_true(!n_cl_worlds || (has_met[0] && has_met[1]));
}

static void load__kernels_do_not_build__the_cpu_takes_all(void **state)
{
    (void)state;
    struct err err;
    for (int i = 0; i < n_cl_worlds; i++) {
        /* A device of its own, whose kernels for weights are not built yet. */
        struct backend fresh;
        const struct backend_cl_options options = {.style = cl_worlds[i].style};
        assert_true(backend_cl_open(&fresh, &options, &err));
        struct cl_backend *b = fresh.ctx;
        whole = b->api;
        b->api.clBuildProgram = build;
        struct engine *e = open_engine(&fresh);
        assert_int_equal(model_n_device(engine_model(e)), 0);
        const char *text = model_fewer(engine_model(e));
        assert_non_null(text);
        assert_non_null(strstr(text, "do not build"));
        struct answer found = ask(e);
        expect_wanted(&found);
        engine_close(e);
        b->api = whole;
        backend_close(&fresh);
    }
}

/* ---- idle time ---- */

/* Files of a directory whose names end so. */
static int count_files(const char *directory, const char *ending)
{
    int n = 0;
    DIR *d = opendir(directory);
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name), n_ending = strlen(ending);
        n += len > n_ending && strcmp(e->d_name + len - n_ending, ending) == 0;
    }
    closedir(d);
    return n;
}

/* What is found out for later starts takes time between turns, none before the first. */
static void idle__tuning__begins_after_the_first_answer(void **state)
{
    (void)state;
    char directory[] = "/tmp/ferrum-cl-XXXXXX", command[64];
    const struct timespec pause = {0, 100000000}, long_pause = {1, 500000000};
    if (!n_cl_worlds)
        return;
    assert_non_null(mkdtemp(directory));
    const struct backend_cl_options options = {.cache_dir = directory, .style = "cpu"};
    struct backend fresh;
    struct err err;
    assert_true(backend_cl_open(&fresh, &options, &err));
    struct engine *e = open_engine(&fresh);
    nanosleep(&long_pause, NULL);
    assert_int_equal(count_files(directory, ".tune"), 0);
    struct answer found = ask(e);
    expect_wanted(&found);
    for (int i = 0; i < 300 && !count_files(directory, ".tune"); i++)
        nanosleep(&pause, NULL);
    assert_int_equal(count_files(directory, ".tune"), 1);
    found = ask(e);
    expect_wanted(&found);
    engine_close(e);
    backend_close(&fresh);
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu__alone__says_what_is_wanted),
        cmocka_unit_test(answer__a_launch_fails__the_cpu_goes_on),
        cmocka_unit_test(answer__a_read_fails__the_cpu_goes_on),
        cmocka_unit_test(answer__memory_is_refused__the_cpu_goes_on),
        cmocka_unit_test(load__memory_for_some_layers__the_cpu_takes_the_rest),
        cmocka_unit_test(load__kernels_do_not_build__the_cpu_takes_all),
        cmocka_unit_test(idle__tuning__begins_after_the_first_answer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
