/* cmd_bench.c: `bench MODEL -p 512 -n 64 -r 3 [-d DEPTH] [--json]`: medians of prefill and decode speed, next
 * to what plain reads of the same bytes by the same threads reach. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/loader.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/read_speed.h"
#include "engine/timeline.h"
#include "ui/sanitize.h"

#define READ_BYTES 4e9 /* at most this much of the model is read for read_gb_s */
#define READ_MIN_NS UINT64_C(20000000)
#define WARM_UP_TOKENS 16

struct samples {
    double *values;
    size_t n;
};

struct bench {
    const char *path;
    struct loader_backends backends;
    struct model *model;
    struct timeline *timeline;
    enum dtype kv_type;
    size_t n_prompt, n_gen, depth, n_repeat;
    int32_t *ids; /* [depth + max(n_prompt, n_gen)], any tokens */
    struct samples prefill, decode, reads;
};

static void add_sample(struct samples *s, double value)
{
    s->values = mem_need_resize(s->values, s->n + 1, sizeof *s->values);
    s->values[s->n++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts; the median of an even number is the mean of the middle two. */
static double median(struct samples *s)
{
    if (!s->n)
        return 0;
    qsort(s->values, s->n, sizeof *s->values, compare);
    return (s->values[(s->n - 1) / 2] + s->values[s->n / 2]) / 2;
}

/* ---- plain reads of the model's own mapping ---- */

static void measure_reads(struct bench *b)
{
    struct read_speed sum = {0};
    double before;
    uint64_t begin = clock_now_ns();
    do {
        before = sum.bytes;
        read_speed_pass(b->model, READ_BYTES, NULL, NULL, &sum);
    } while (clock_now_ns() - begin < READ_MIN_NS && sum.bytes > before);
    if (sum.seconds > 0)
        add_sample(&b->reads, read_speed_gb_s(&sum));
}

/* ---- the tests ---- */

/* Brings the timeline to `depth` tokens. */
static bool rewind_to_depth(struct bench *b, struct err *err)
{
    size_t kept = timeline_keep(b->timeline, b->ids, b->depth + 1);
    return kept >= b->depth || timeline_eval(b->timeline, b->ids + kept, b->depth - kept, NULL, NULL, err);
}

static bool time_prefill(struct bench *b, size_t n, double *tok_s, struct err *err)
{
    if (!rewind_to_depth(b, err))
        return false;
    uint64_t begin = clock_now_ns();
    if (!timeline_eval(b->timeline, b->ids + b->depth, n, NULL, NULL, err))
        return false;
    *tok_s = (double)n / ((double)(clock_now_ns() - begin) / 1e9);
    return true;
}

static bool time_decode(struct bench *b, size_t n, double *tok_s, struct err *err)
{
    if (!rewind_to_depth(b, err))
        return false;
    uint64_t begin = clock_now_ns();
    for (size_t i = 0; i < n; i++)
        if (!timeline_eval(b->timeline, b->ids + b->depth + i, 1, NULL, NULL, err))
            return false;
    *tok_s = (double)n / ((double)(clock_now_ns() - begin) / 1e9);
    return true;
}

/* Pages of the file and the KV pool are touched once before anything is timed. */
static bool warm_up(struct bench *b, struct err *err)
{
    double ignored;
    size_t n = b->n_prompt < WARM_UP_TOKENS ? b->n_prompt : WARM_UP_TOKENS;
    return time_prefill(b, n, &ignored, err) && (!b->n_gen || time_decode(b, 1, &ignored, err));
}

static bool run_tests(struct bench *b, struct err *err)
{
    if (!warm_up(b, err))
        return false;
    measure_reads(b);
    for (size_t i = 0; i < b->n_repeat; i++) {
        double tok_s;
        if (b->n_prompt && !time_prefill(b, b->n_prompt, &tok_s, err))
            return false;
        if (b->n_prompt)
            add_sample(&b->prefill, tok_s);
        if (b->n_gen && !time_decode(b, b->n_gen, &tok_s, err))
            return false;
        if (b->n_gen)
            add_sample(&b->decode, tok_s);
        measure_reads(b);
    }
    return true;
}

static bool prepare(struct bench *b, const struct options *o, struct err *err)
{
    b->n_prompt = (size_t)opt_int(o, OPT_BENCH_PROMPT, 512);
    b->n_gen = (size_t)opt_int(o, OPT_BENCH_GEN, 64);
    b->depth = (size_t)opt_int(o, OPT_BENCH_DEPTH, 0);
    b->n_repeat = (size_t)opt_int(o, OPT_BENCH_REPEAT, 3);
    size_t most = b->n_prompt > b->n_gen ? b->n_prompt : b->n_gen;
    size_t n_ctx = (size_t)opt_int(o, OPT_CTX, (int64_t)(b->depth + most));
    if (!most)
        return err_set(err, ERR_USAGE, "-p 0 and -n 0 leave nothing to measure");
    if (b->depth + most > n_ctx)
        return err_set(err, ERR_PROMPT,
                       "depth %zu and %zu tokens do not fit --ctx %zu; expected at least %zu", b->depth, most,
                       n_ctx, b->depth + most);
    if (!loader_kv_type(o, DTYPE_F16, &b->kv_type, err) || !loader_backends(o, true, &b->backends, err) ||
        !(b->model = loader_model(b->path, &b->backends, err)))
        return false;
    const struct timeline_options options = {.n_ctx = (uint32_t)n_ctx, .kv_type = b->kv_type};
    b->ids = mem_array(b->depth + most + 1, sizeof *b->ids, err);
    if (!b->ids || !(b->timeline = timeline_new(b->model, &options, err)))
        return false;
    uint32_t state = 1; /* any fixed sequence: speed does not depend on the words */
    for (size_t i = 0; i < b->depth + most + 1; i++) {
        state = state * 1664525u + 1013904223u;
        b->ids[i] = (int32_t)((state >> 8) % model_config(b->model)->n_vocab);
    }
    return true;
}

/* ---- the report ---- */

/* Weight bytes of a token and the KV bytes it reads at the test's mean depth, times the speed. */
static double gb_per_s(const struct bench *b, size_t n, double tok_s)
{
    double kv = (double)timeline_kv_bytes(b->model, b->kv_type) * ((double)b->depth + (double)n / 2);
    return ((double)model_config(b->model)->token_weight_bytes + kv) * tok_s / 1e9;
}

static json_t *test_json(struct bench *b, const char *kind, size_t n, struct samples *s)
{
    char name[32];
    double tok_s = median(s);
    snprintf(name, sizeof name, "%s%zu", kind, n);
    return json_pack("{s:s, s:f, s:f, s:f, s:f}", "name", name, "tok_s", tok_s, "min", s->values[0], "max",
                     s->values[s->n - 1], "gb_s", gb_per_s(b, n, tok_s));
}

static json_t *report_json(struct bench *b)
{
    const struct model_config *config = model_config(b->model);
    const struct backend *backend = model_n_device(b->model) ? &b->backends.device : &b->backends.cpu;
    json_t *tests = json_array();
    if (b->n_prompt)
        json_array_append_new(tests, test_json(b, "pp", b->n_prompt, &b->prefill));
    if (b->n_gen)
        json_array_append_new(tests, test_json(b, "tg", b->n_gen, &b->decode));
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:f, s:o}", "model", loader_display_name(config, b->path),
                     "arch", config->arch, "quant", config->quant, "backend", backend->ops->name, "threads",
                     backend->ops->n_threads(backend->ctx), "read_gb_s", median(&b->reads), "tests", tests);
}

static void print_table(const json_t *report)
{
    size_t i;
    const json_t *test;
    char *model = sanitize_line(json_string_value(json_object_get(report, "model")));
    printf("%s %s %s, %s, %d threads, plain reads %.1f GB/s\n\n", model,
           json_string_value(json_object_get(report, "arch")),
           json_string_value(json_object_get(report, "quant")),
           json_string_value(json_object_get(report, "backend")),
           (int)json_integer_value(json_object_get(report, "threads")),
           json_number_value(json_object_get(report, "read_gb_s")));
    mem_free(model);
    printf("%-10s %12s %12s %12s %10s\n", "test", "tokens/s", "min", "max", "GB/s");
    json_array_foreach(json_object_get(report, "tests"), i, test)
    {
        printf("%-10s %12.2f %12.2f %12.2f %10.2f\n", json_string_value(json_object_get(test, "name")),
               json_number_value(json_object_get(test, "tok_s")),
               json_number_value(json_object_get(test, "min")),
               json_number_value(json_object_get(test, "max")),
               json_number_value(json_object_get(test, "gb_s")));
    }
}

static void bench_fini(struct bench *b)
{
    timeline_free(b->timeline);
    model_free(b->model);
    loader_backends_close(&b->backends);
    mem_free(b->ids);
    mem_free(b->prefill.values);
    mem_free(b->decode.values);
    mem_free(b->reads.values);
}

bool cmd_bench(const struct options *o, struct err *err)
{
    struct bench b = {0};
    bool ok = loader_model_word(o, &b.path, err) && prepare(&b, o, err) && run_tests(&b, err);
    if (ok) {
        json_t *report = report_json(&b);
        if (opt_flag(o, OPT_JSON)) {
            json_dumpf(report, stdout, JSON_REAL_PRECISION(6));
            putchar('\n');
        } else {
            print_table(report);
        }
        json_decref(report);
    }
    bench_fini(&b);
    return ok;
}
