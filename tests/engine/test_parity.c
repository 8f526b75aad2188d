/* Our logits against exact ones, for the tiny models of the shared material: no worse than 1.2 times what the
 * most used engine reaches, f32 models exact, and the same bits for every way of cutting the prompt into
 * batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/base/mem.h"
#include "engine/timeline.h"
#include "kernels_cl/backend_cl.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/timeline_fixture.h"
#include "tests/support/forced_cpu.h"

#define N_GREEDY 24
#define MAX_TOKENS 64

static const char *shared;
static json_t *rows;
static char temp_dir[] = "/tmp/ferrum-parity-XXXXXX";
static const char *python; /* one that has numpy, or NULL */
static struct backend backend;
static const char
    *cl_style; /* test_parity gpu|cpu: the OpenCL backend in that style; NULL: the CPU backend */

static bool command_works(const char *command)
{
    return system(command) == 0;
}

/* False where the test is to be skipped, with a line. */
static bool open_backend(void)
{
    struct err err;
    struct backend_cl_device device;
    const struct backend_cl_options options = {.cache_dir = getenv("FERRUM_CL_CACHE"), .style = cl_style};
    if (cl_style && !backend_cl_devices(&device, 1, &err)) {
        print_message("skipped: %s\n", err.text);
        return false;
    }
    if (cl_style ? backend_cl_open(&backend, &options, &err)
                 : backend_cpu_open(&backend, 0, forced_cpu(), &err))
        return true;
    fail_msg("%s", err.text);
    return false;
}

static int set_up(void **state)
{
    (void)state;
    char path[4096];
    shared = getenv("FERRUM_SHARED");
    if (!open_backend() || !shared)
        return 0;
    snprintf(path, sizeof path, "%s/parity/index.json", shared);
    rows = json_load_file(path, 0, NULL);
    if (command_works("python3 -c 'import numpy' 2>/dev/null"))
        python = "python3";
    else if (command_works("/usr/bin/python3 -c 'import numpy' 2>/dev/null"))
        python = "/usr/bin/python3";
    return mkdtemp(temp_dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(rows);
    if (backend.ops)
        backend_close(&backend);
    rmdir(temp_dir);
    return 0;
}

static void need_rows(void)
{
    if (!rows) {
        print_message("no device, or the shared parity material is absent: skipped\n");
        skip();
    }
}

static const char *text_of(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

/* f32 models are not shipped but made. */
static bool make_model(const json_t *row, char *path, size_t n_path)
{
    char command[8192];
    if (!python || !text_of(row, "make"))
        return false;
    snprintf(path, n_path, "%s/%s", temp_dir, text_of(row, "model"));
    snprintf(command, sizeof command,
             "cd %s && %s %s/tools/%s >/dev/null && echo '%s  %s' | sha256sum -c --status", temp_dir, python,
             shared, text_of(row, "make"), text_of(row, "sha256"), text_of(row, "model"));
    return command_works(command);
}

static struct model *open_row(const json_t *row)
{
    char path[4096];
    struct err err;
    snprintf(path, sizeof path, "%s/parity/%s", shared, text_of(row, "model"));
    bool made = access(path, R_OK) != 0;
    if (made && !make_model(row, path, sizeof path)) {
        print_message("%-24s skipped: no file, and python3 with numpy could not make it\n",
                      text_of(row, "model"));
        return NULL;
    }
    struct model *m = model_load(path, &backend, NULL, &err);
    if (!m)
        print_message("%s\n", err.text);
    assert_non_null(m);
    if (made)
        unlink(path);
    return m;
}

static size_t read_ids(const json_t *row, const char *key, int32_t *out)
{
    const json_t *list = json_object_get(row, key);
    size_t n = json_array_size(list);
    assert_true(n <= MAX_TOKENS);
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static float *read_exact(const json_t *row, size_t n)
{
    char path[4096];
    float *out = mem_array(n, sizeof *out, NULL);
    snprintf(path, sizeof path, "%s/parity/%s", shared, text_of(row, "logits"));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(out, sizeof *out, n, f), n);
    fclose(f);
    return out;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int32_t largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

/* How many of the exact model's greedy tokens we continue with. */
static size_t count_greedy(struct timeline *t, const json_t *row, size_t n_vocab)
{
    int32_t expected[MAX_TOKENS];
    size_t n = read_ids(row, "greedy_exact", expected), i = 0;
    for (; i < n; i++) {
        int32_t id = largest(timeline_logits(t), n_vocab);
        if (id != expected[i])
            break;
        assert_true(timeline_eval(t, &id, 1, NULL, NULL, NULL));
    }
    return i;
}

/* The GPU style is slow on a CPU: one quantisation of each family; the operations are tested in all of them.
 */
static bool is_wanted(const json_t *row)
{
    return !cl_style || strcmp(cl_style, "gpu") != 0 || strcmp(text_of(row, "quant"), "Q4_K_M") == 0;
}

static bool check_row(const json_t *row)
{
    if (!is_wanted(row))
        return true;
    struct model *m = open_row(row);
    if (!m)
        return true;
    int32_t ids[MAX_TOKENS];
    size_t n = read_ids(row, "tokens", ids), n_vocab = model_config(m)->n_vocab;
    float *exact = read_exact(row, n * n_vocab), *ours = mem_array(n * n_vocab, sizeof *ours, NULL);
    struct timeline *t = open_timeline(m, DTYPE_F32, 0);
    assert_true(timeline_eval(t, ids, n, NULL, ours, NULL));
    double each[MAX_TOKENS], peer = json_number_value(json_object_get(row, "nmse_median_llama_cpp"));
    for (size_t i = 0; i < n; i++)
        each[i] = nmse(ours + i * n_vocab, exact + i * n_vocab, n_vocab);
    qsort(each, n, sizeof *each, by_value);
    double median = n % 2 ? each[n / 2] : (each[n / 2 - 1] + each[n / 2]) / 2;
    size_t n_greedy = count_greedy(t, row, n_vocab);
    bool is_f32 = strcmp(text_of(row, "quant"), "F32") == 0;
    bool ok = is_f32 ? each[n - 1] < 1e-8 && n_greedy == N_GREEDY : median <= 1.2 * peer;
    print_message("%-26s median %.3e largest %.3e peer %.3e ratio %5.2f greedy %2zu %s\n",
                  text_of(row, "model"), median, each[n - 1], peer, peer > 0 ? median / peer : 0.0, n_greedy,
                  ok ? "ok" : "FAILS");
    mem_free(exact);
    mem_free(ours);
    timeline_free(t);
    model_free(m);
    return ok;
}

static void parity__compare__no_worse_than_the_peer(void **state)
{
    (void)state;
    need_rows();
    bool ok = true;
    for (size_t i = 0; i < json_array_size(rows); i++)
        ok = check_row(json_array_get(rows, i)) && ok;
    assert_true(ok);
}

/* The last logits after a prompt cut into batches of n_batch. */
static void eval_in_batches(struct model *m, const int32_t *ids, size_t n, uint32_t n_batch, float *out)
{
    struct timeline *t = open_timeline(m, DTYPE_F32, n_batch);
    assert_true(timeline_eval(t, ids, n, NULL, NULL, NULL));
    memcpy(out, timeline_logits(t), model_config(m)->n_vocab * sizeof *out);
    timeline_free(t);
}

static void check_batches(const json_t *row)
{
    struct model *m = open_row(row);
    if (!m)
        return;
    int32_t ids[MAX_TOKENS];
    size_t n = read_ids(row, "tokens", ids), n_vocab = model_config(m)->n_vocab;
    float *one = mem_array(n_vocab, sizeof *one, NULL), *other = mem_array(n_vocab, sizeof *other, NULL);
    eval_in_batches(m, ids, n, 1, one);
    static const uint32_t same_bits[] = {2, 7, 8, 33, 512};
    for (size_t i = 0; i < sizeof same_bits / sizeof same_bits[0]; i++) {
        eval_in_batches(m, ids, n, same_bits[i], other);
        if (memcmp(one, other, n_vocab * sizeof *one) != 0)
            fail_msg("%s: batches of %u and of 1 give different bits", text_of(row, "model"), same_bits[i]);
    }
    mem_free(one);
    mem_free(other);
    model_free(m);
}

static void parity__batches__same_bits_however_cut(void **state)
{
    (void)state;
    need_rows();
    for (size_t i = 0; i < json_array_size(rows); i++)
        check_batches(json_array_get(rows, i));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parity__compare__no_worse_than_the_peer),
        cmocka_unit_test(parity__batches__same_bits_however_cut),
    };
    /* The second is a promise of the CPU backend alone. */
    const struct CMUnitTest cl_tests[] = {cmocka_unit_test(parity__compare__no_worse_than_the_peer)};
    cl_style = argc > 1 ? argv[1] : NULL;
    return cl_style ? cmocka_run_group_tests(cl_tests, set_up, tear_down)
                    : cmocka_run_group_tests(tests, set_up, tear_down);
}
