/* What goes wrong with OpenCL: every call that fails ends in a sentence, no kernel that computes something
 * wrong is used, and no damaged file of the cache reaches a driver. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "kernels_cl/backend_cl.h"
#include "kernels_cl/cl_backend.h"
#include "kernels_cl/cl_cache.h"
#include "tests/kernels_cl/cl_fixture.h"

static struct cl_world world;

static int set_up(void **state)
{
    (void)state;
    cl_world_open(&world, "cpu");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cl_world_close(&world);
    return 0;
}

static struct cl_backend *device(void)
{
    if (!world.cl.ops)
        skip();
    return world.cl.ctx;
}

/* ---- calls that fail ---- */

static cl_int failure; /* what the broken functions answer */

static cl_mem no_buffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *code)
{
    (void)context;
    (void)flags;
    (void)size;
    (void)host;
    *code = failure;
    return NULL;
}

static cl_int no_launch(cl_command_queue queue, cl_kernel kernel, cl_uint n, const size_t *offset,
                        const size_t *global, const size_t *local, cl_uint n_events, const cl_event *events,
                        cl_event *event)
{
    (void)queue;
    (void)kernel;
    (void)n;
    (void)offset;
    (void)global;
    (void)local;
    (void)n_events;
    (void)events;
    (void)event;
    return failure;
}

static cl_int no_read(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset, size_t n, void *to,
                      cl_uint n_events, const cl_event *events, cl_event *event)
{
    (void)queue;
    (void)mem;
    (void)blocking;
    (void)offset;
    (void)n;
    (void)to;
    (void)n_events;
    (void)events;
    (void)event;
    return failure;
}

static void buffers__memory_is_refused__a_sentence_and_nothing_is_lost(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    struct cl_api whole = b->api;
    struct err err = {0};
    failure = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    b->api.clCreateBuffer = no_buffer;
    assert_null(backend_buf_new(&world.cl, 1 << 20, &err));
    b->api = whole;
    assert_int_equal(err.code, ERR_MEMORY);
    assert_non_null(strstr(err.text, "CL_MEM_OBJECT_ALLOCATION_FAILURE"));
    assert_non_null(strstr(err.text, "--ctx"));
    struct bbuf *buf = backend_buf_new(&world.cl, 64, &err);
    assert_non_null(buf);
    backend_buf_free(&world.cl, buf);
}

static void weights__memory_is_refused__the_tensor_is_named(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    struct cl_api whole = b->api;
    struct err err = {0};
    struct rows rows = rows_new(DTYPE_F32, 1, 2, 32, true, 1);
    struct weight_part part = {.weight = &rows.tensor};
    struct bweight *w = backend_weight_bind(&world.cl, &part, 1, &err); /* builds its kernels */
    assert_non_null(w);
    backend_weight_free(&world.cl, w);
    failure = CL_OUT_OF_HOST_MEMORY;
    b->api.clCreateBuffer = no_buffer;
    assert_null(backend_weight_bind(&world.cl, &part, 1, &err));
    b->api = whole;
    assert_int_equal(err.code, ERR_MEMORY);
    assert_non_null(strstr(err.text, "tensor rows"));
    rows_free(&rows);
}

/* A device that is lost stays lost: what it holds is not known any more. */
static void operations__the_device_is_lost__a_sentence_until_it_is_opened_again(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    struct cl_api whole = b->api;
    static const cl_int codes[] = {CL_OUT_OF_RESOURCES, -9999, CL_INVALID_COMMAND_QUEUE};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        for (int reading = 0; reading < 2; reading++) {
            struct err err = {0};
            struct twin x = twin_normal(&world, 32, 1), out = twin_new(&world, NULL, 32);
            struct op_rms_norm op = {x.cl, 0, x.cl, out.cl, 1, 32, 0, 0, 1e-5f};
            float value;
            failure = codes[i];
            if (reading)
                b->api.clEnqueueReadBuffer = no_read;
            else
                b->api.clEnqueueNDRangeKernel = no_launch;
            assert_false(reading ? backend_buf_read(&world.cl, x.cl, 0, &value, sizeof value, &err)
                                 : backend_rms_norm(&world.cl, &op, &err));
            assert_non_null(strstr(err.text, "--backend cpu"));
            b->api = whole;
            assert_false(backend_rms_norm(&world.cl, &op, &err));
            assert_false(backend_buf_read(&world.cl, x.cl, 0, &value, sizeof value, &err));
            assert_false(backend_buf_write(&world.cl, x.cl, 0, &value, sizeof value, &err));
            b->is_lost = false;
            assert_true(backend_rms_norm(&world.cl, &op, &err));
            twin_free(&world, &x);
            twin_free(&world, &out);
        }
}

/* ---- kernels that do not build, or compute something wrong ---- */

static cl_int (*whole_build)(cl_program, cl_uint, const cl_device_id *, const char *,
                             void(CL_CALLBACK *)(cl_program, void *), void *);
static int n_builds, n_refused;

/* Refuses the first n_refused programs. */
static cl_int build_later(cl_program program, cl_uint n, const cl_device_id *ids, const char *options,
                          void(CL_CALLBACK *done)(cl_program, void *), void *arg)
{
    if (n_builds++ < n_refused)
        return whole_build(program, n, ids, "-DW_F32 -DNO_SUCH -include no_such_file", done, arg);
    return whole_build(program, n, ids, options, done, arg);
}

static enum cl_answer doubted = CL_ANSWER_WRONG;
static enum cl_answer doubt(void *arg, enum cl_group group, struct err *err)
{
    (void)arg;
    (void)group;
    if (n_builds++ >= n_refused)
        return CL_ANSWER_RIGHT;
    err_set(err, ERR_RUNTIME, "the kernels compute something wrong");
    return doubted;
}

/* A second set of programs on the same device, without cache. */
static struct cl_programs programs_of(struct cl_backend *b)
{
    return (struct cl_programs){.api = &b->api, .device = &b->device, .context = b->context};
}

static void programs__a_variant_does_not_build__the_next_one_is_taken(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    struct cl_api whole = b->api;
    struct cl_programs ps = programs_of(b);
    struct err err = {0};
    whole_build = b->api.clBuildProgram;
    b->api.clBuildProgram = build_later;
    n_builds = 0;
    n_refused = b->device.has_fma ? 2 : 1; /* both of the device's own style */
    struct cl_program *p = cl_programs_get(&ps, CL_GROUP_ROUTE, &err);
    assert_non_null(p);
    assert_int_equal(p->style, CL_STYLE_GPU);
    cl_programs_fini(&ps);
    b->api = whole;
}

static void programs__nothing_builds__the_log_is_kept_and_a_sentence_tells(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    struct cl_api whole = b->api;
    struct cl_programs ps = programs_of(b);
    struct err err = {0};
    char directory[] = "/tmp/ferrum-cl-XXXXXX";
    assert_non_null(mkdtemp(directory));
    ps.cache_dir = directory;
    whole_build = b->api.clBuildProgram;
    b->api.clBuildProgram = build_later;
    n_builds = 0;
    n_refused = 100;
    assert_null(cl_programs_get(&ps, CL_GROUP_ROUTE, &err));
    int n_tried = n_builds;
    assert_non_null(strstr(err.text, "do not build"));
    char *log = strstr(err.text, directory);
    assert_non_null(log);
    assert_int_equal(access(log, R_OK), 0);
    assert_null(cl_programs_get(&ps, CL_GROUP_ROUTE, &err)); /* and it is not tried again */
    assert_int_equal(n_builds, n_tried);
    cl_programs_fini(&ps);
    b->api = whole;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

static void programs__a_variant_computes_something_wrong__it_is_not_used(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    struct cl_programs ps = programs_of(b);
    struct err err = {0};
    ps.check = doubt;
    n_builds = 0;
    n_refused = 1;
    struct cl_program *p = cl_programs_get(&ps, CL_GROUP_MATRIX, &err);
    assert_non_null(p);
    assert_true(n_builds == 2);
    cl_programs_fini(&ps);
    ps = programs_of(b);
    ps.check = doubt;
    n_builds = 0;
    n_refused = 100;
    assert_null(cl_programs_get(&ps, CL_GROUP_MATRIX, &err));
    assert_non_null(strstr(err.text, "something wrong"));
    cl_programs_fini(&ps);
}

/* What was wrong once is not tried again by the next start, but for a driver that only could not run it. */
static void programs__a_variant_was_wrong__the_next_start_knows(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    struct err err = {0};
    char directory[] = "/tmp/ferrum-cl-XXXXXX", command[64];
    assert_non_null(mkdtemp(directory));
    for (int i = 0; i < 3; i++) {
        struct cl_programs ps = programs_of(b);
        ps.cache_dir = directory;
        ps.check = doubt;
        doubted = i ? CL_ANSWER_WRONG : CL_ANSWER_NONE;
        n_builds = 0;
        n_refused = i < 2;
        assert_non_null(cl_programs_get(&ps, CL_GROUP_ROUTE, &err));
        assert_int_equal(n_builds, i < 2 ? 2 : 1); /* the first variant is left out by the third start */
        char where[200];
        uint64_t second = ps.list[CL_GROUP_ROUTE].key;
        assert_false(cl_cache_is_bad(directory, second, where, sizeof where));
        cl_programs_fini(&ps);
    }
    doubted = CL_ANSWER_WRONG;
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

/* The known answers notice a kernel that is wrong: here the rows of a norm are read from another place. */
static cl_int (*whole_arg)(cl_kernel, cl_uint, size_t, const void *);
static cl_int wrong_arg(cl_kernel kernel, cl_uint i, size_t n, const void *value)
{
    cl_uint off = 0;
    if (n == sizeof off && i >= 3) {
        memcpy(&off, value, sizeof off);
        off = off > 1 && off < 1000 ? off - 1 : off;
        return whole_arg(kernel, i, n, &off);
    }
    return whole_arg(kernel, i, n, value);
}

static void check__a_kernel_is_wrong__it_is_noticed_in_every_program(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    static const enum cl_group groups[] = {CL_GROUP_ELEMENTS, CL_GROUP_MATRIX, CL_GROUP_KV_F16,
                                           CL_GROUP_KV_F32,   CL_GROUP_KV_I8,  CL_GROUP_ROUTE,
                                           CL_GROUP_WEIGHT};
    struct err err = {0};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        assert_non_null(cl_programs_get(&b->programs, groups[i], &err));
        whole_arg = b->api.clSetKernelArg;
        b->api.clSetKernelArg = wrong_arg;
        enum cl_answer answer = cl_check(b, groups[i], &err);
        b->api.clSetKernelArg = whole_arg;
        if (answer != CL_ANSWER_WRONG)
            fail_msg("program %d: not noticed", (int)groups[i]);
        assert_int_equal(cl_check(b, groups[i], &err), CL_ANSWER_RIGHT);
        struct cl_api whole = b->api;
        failure = CL_OUT_OF_RESOURCES;
        b->api.clEnqueueNDRangeKernel = no_launch;
        assert_int_equal(cl_check(b, groups[i], &err), CL_ANSWER_NONE);
        b->api = whole;
    }
}

/* ---- the cache ---- */

static void cache__any_damage__is_as_if_nothing_were_there(void **state)
{
    (void)state;
    char directory[] = "/tmp/ferrum-cl-XXXXXX", path[80];
    unsigned char bytes[300], file[400];
    size_t n;
    assert_non_null(mkdtemp(directory));
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    snprintf(path, sizeof path, "%s/%016llx.clb", directory, 5ULL);
    cl_cache_store(directory, 5, CL_CACHE_PROGRAM, bytes, sizeof bytes);
    unsigned char *found = cl_cache_load(directory, 5, CL_CACHE_PROGRAM, &n);
    assert_true(found && n == sizeof bytes && memcmp(found, bytes, n) == 0);
    mem_free(found);
    assert_null(cl_cache_load(directory, 6, CL_CACHE_PROGRAM, &n));
    FILE *f = fopen(path, "rb");
    size_t n_file = fread(file, 1, sizeof file, f);
    fclose(f);
    assert_int_equal(n_file, sizeof bytes + 32);
    for (size_t i = 0; i <= n_file; i++) {
        unsigned char damaged[400];
        memcpy(damaged, file, n_file);
        bool truncated = i % 2;
        if (i < n_file)
            damaged[i] ^= (unsigned char)(1u << i % 8);
        f = fopen(path, "wb");
        fwrite(damaged, 1, truncated ? i : n_file, f);
        fclose(f);
        found = cl_cache_load(directory, 5, CL_CACHE_PROGRAM, &n);
        assert_true((found != NULL) == (i == n_file));
        mem_free(found);
    }
    cl_cache_remove(directory, 5);
    assert_int_equal(rmdir(directory), 0);
}

/* The second opening takes what the first one wrote; damaged files are written anew. */
static void cache__second_opening__compiles_nothing(void **state)
{
    (void)state;
    device();
    char directory[] = "/tmp/ferrum-cl-XXXXXX", path[400], command[64];
    assert_non_null(mkdtemp(directory));
    const struct backend_cl_options options = {.cache_dir = directory, .style = "cpu"};
    for (int i = 0; i < 3; i++) {
        struct backend other;
        struct err err;
        assert_true(backend_cl_open(&other, &options, &err));
        struct cl_backend *b = other.ctx;
        assert_true(b->programs.list[CL_GROUP_MATRIX].from_cache == (i == 1));
        b->device.keeps_programs = false; /* PoCL does; its binaries are good for this test */
        backend_close(&other);
        DIR *d = opendir(directory);
        int n = 0;
        for (struct dirent *e; (e = readdir(d));) {
            snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
            n += e->d_name[0] != '.';
            if (e->d_name[0] != '.' && i == 1)
                assert_int_equal(truncate(path, 1000), 0);
        }
        closedir(d);
        assert_int_equal(n, 2);
    }
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

/* ---- tuning ---- */

/* A backend of its own, with a weight that its tuning can look at. */
struct tuned {
    struct backend backend;
    struct rows rows;
    struct bweight *w;
};

static struct cl_backend *open_tuned(struct tuned *t, const char *directory)
{
    const struct backend_cl_options options = {.cache_dir = directory, .style = "cpu"};
    struct err err;
    if (!backend_cl_open(&t->backend, &options, &err))
        fail_msg("%s", err.text);
    t->rows = rows_new(DTYPE_Q8_0, 1, 300, 256, false, 5);
    struct weight_part part = {.weight = &t->rows.tensor};
    t->w = backend_weight_bind(&t->backend, &part, 1, &err);
    assert_non_null(t->w);
    return t->backend.ctx;
}

static void close_tuned(struct tuned *t)
{
    backend_weight_free(&t->backend, t->w);
    assert_false(t->backend.ops->idle(t->backend.ctx)); /* what was freed is not looked at */
    backend_close(&t->backend);
    rows_free(&t->rows);
}

static int tune(struct tuned *t)
{
    int n = 0;
    while (t->backend.ops->idle(t->backend.ctx))
        n++;
    return n;
}

static void damage(const char *path, int how)
{
    FILE *f = fopen(path, "rb");
    char file[400];
    assert_non_null(f);
    size_t n = fread(file, 1, sizeof file, f);
    fclose(f);
    file[how == 1 ? 40 : 3] ^= 1;
    f = fopen(path, "wb");
    fwrite(file, 1, how == 2 ? n / 2 : n, f);
    fclose(f);
}

/* Found out in idle time, kept for the next start; a damaged file is as if it were not there, and written
 * anew. */
static void tuning__is_kept__and_made_anew_when_it_is_damaged(void **state)
{
    (void)state;
    device();
    char directory[] = "/tmp/ferrum-cl-XXXXXX", path[400], command[64];
    assert_non_null(mkdtemp(directory));
    for (int i = 0; i < 5; i++) {
        struct tuned t;
        bool is_fresh = i != 1;
        if (i > 1)
            damage(path, i - 2); /* its magic, its bytes, its length */
        struct cl_backend *b = open_tuned(&t, directory);
        assert_true(b->tuning.was_tried[DTYPE_Q8_0] == !is_fresh);
        assert_true(!b->tuning.rows[DTYPE_Q8_0] == is_fresh);
        assert_int_equal(tune(&t), is_fresh ? CL_TUNING_CHOICES * CL_TUNING_ROUNDS : 0);
        assert_true(b->tuning.was_tried[DTYPE_Q8_0] && cl_tuning_rows(b, DTYPE_Q8_0) % PRODUCT_ROWS == 0);
        assert_false(b->is_lost);
        snprintf(path, sizeof path, "%s/%016llx.tune", directory, (unsigned long long)b->tuning.key);
        assert_int_equal(access(path, R_OK), 0);
        close_tuned(&t);
    }
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

/* Numbers that are none of the choices are not taken. */
static void tuning__a_file_says_nonsense__it_is_not_taken(void **state)
{
    (void)state;
    struct cl_backend *b = device();
    char directory[] = "/tmp/ferrum-cl-XXXXXX", command[64];
    unsigned char bytes[sizeof b->tuning.rows];
    assert_non_null(mkdtemp(directory));
    memset(bytes, 0, sizeof bytes);
    bytes[2 * DTYPE_Q8_0] = 7;
    bytes[2 * DTYPE_Q4_K] = 4 * PRODUCT_ROWS;
    cl_cache_store(directory, b->tuning.key, CL_CACHE_TUNING, bytes, sizeof bytes);
    const char *before = b->programs.cache_dir;
    b->programs.cache_dir = directory;
    b->tuning = (struct cl_tuning){0};
    cl_tuning_load(b);
    assert_int_equal(cl_tuning_rows(b, DTYPE_Q8_0), cl_tuning_rows(b, DTYPE_Q5_K));
    assert_int_equal(cl_tuning_rows(b, DTYPE_Q4_K), 4 * PRODUCT_ROWS);
    b->programs.cache_dir = NULL; /* no directory: nothing is found out, or kept */
    assert_false(cl_tuning_step(b));
    b->programs.cache_dir = before;
    b->tuning = (struct cl_tuning){0};
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers__memory_is_refused__a_sentence_and_nothing_is_lost),
        cmocka_unit_test(weights__memory_is_refused__the_tensor_is_named),
        cmocka_unit_test(operations__the_device_is_lost__a_sentence_until_it_is_opened_again),
        cmocka_unit_test(programs__a_variant_does_not_build__the_next_one_is_taken),
        cmocka_unit_test(programs__nothing_builds__the_log_is_kept_and_a_sentence_tells),
        cmocka_unit_test(programs__a_variant_computes_something_wrong__it_is_not_used),
        cmocka_unit_test(programs__a_variant_was_wrong__the_next_start_knows),
        cmocka_unit_test(check__a_kernel_is_wrong__it_is_noticed_in_every_program),
        cmocka_unit_test(cache__any_damage__is_as_if_nothing_were_there),
        cmocka_unit_test(cache__second_opening__compiles_nothing),
        cmocka_unit_test(tuning__is_kept__and_made_anew_when_it_is_damaged),
        cmocka_unit_test(tuning__a_file_says_nonsense__it_is_not_taken),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
