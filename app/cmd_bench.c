/* cmd_bench.c: `bench MODEL -p 512 -n 64 -r 3 [-d DEPTH] [--json]`: medians of prefill and decode speed, next
 * to what plain reads of the same bytes by the same threads reach, and what their multiply-adds reach on
 * registers alone. */
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
#define WARM_UP_TOKENS 128

struct samples {
    double *values;
    size_t n;
};

/* One kind of work: what it took, and what the profile says was read for it. */
struct test {
    const char *kind; /* "pp", "tg" */
    size_t n;         /* tokens, 0: not wanted */
    struct samples tok_s;
    double n_bytes, n_tokens; /* of all repetitions */
};

struct bench {
    const char *path;
    struct loader_backends backends;
    struct model *model;
    struct timeline *timeline;
    enum dtype kv_type;
    size_t depth, n_repeat;
    int32_t *ids; /* [depth + n of the longer test], any tokens */
    struct test prefill, decode;
    struct samples reads, peaks[ARITH_N]; /* GB/s; 1e9 multiply-adds a second */
};

static const struct backend *main_backend(const struct bench *b)
{
    return model_n_device(b->model) ? &b->backends.device : &b->backends.cpu;
}

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

static void measure_peaks(struct bench *b)
{
    const struct backend *backend = main_backend(b);
    const struct backend_ops *ops = backend->ops;
    for (int i = 0; ops->arith_peak && i < ARITH_N; i++)
        add_sample(&b->peaks[i], ops->arith_peak(backend->ctx, (enum arith)i) / 1e9);
}

/* What drifts is measured before, between and after what it is compared with. */
static void measure_machine(struct bench *b)
{
    measure_reads(b);
    measure_peaks(b);
}

/* ---- the tests ---- */

/* Weights and KV that operations were given so far, counted once per operation. */
static double bytes_so_far(const struct bench *b)
{
    const struct prof *prof = timeline_prof(b->timeline);
    uint64_t sum = 0;
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        for (int op = 0; op < PROF_N_OPS; op++)
            if (op != PROF_COPY && op != PROF_SYNC)
                sum += prof_sum(prof, (enum prof_phase)phase, (enum prof_op)op).bytes;
    return (double)sum;
}

/* Brings the timeline to `depth` tokens. */
static bool rewind_to_depth(struct bench *b, struct err *err)
{
    size_t kept = timeline_keep(b->timeline, b->ids, b->depth + 1);
    return kept >= b->depth || timeline_eval(b->timeline, b->ids + kept, b->depth - kept, NULL, NULL, err);
}

/* n tokens from the depth on, `each` of them a call. */
static bool eval(struct bench *b, size_t n, size_t each, double *seconds, struct err *err)
{
    uint64_t begin = clock_now_ns();
    for (size_t at = 0; at < n; at += each)
        if (!timeline_eval(b->timeline, b->ids + b->depth + at, each, NULL, NULL, err))
            return false;
    *seconds = (double)(clock_now_ns() - begin) / 1e9;
    return true;
}

static size_t tokens_of_call(const struct bench *b, const struct test *t)
{
    return t == &b->prefill ? t->n : 1;
}

static bool run_test(struct bench *b, struct test *t, struct err *err)
{
    double seconds;
    if (!t->n)
        return true;
    if (!rewind_to_depth(b, err))
        return false;
    double before = bytes_so_far(b);
    if (!eval(b, t->n, tokens_of_call(b, t), &seconds, err))
        return false;
    t->n_bytes += bytes_so_far(b) - before;
    t->n_tokens += (double)t->n;
    add_sample(&t->tok_s, (double)t->n / seconds);
    return true;
}

/* Pages of the file and the KV pool are touched once before anything is timed, and the timeline learns what a
 * token costs: it begins with small batches (timeline_batch_tokens), which a chat does once. */
static bool warm_up(struct bench *b, struct err *err)
{
    double ignored;
    size_t n = b->prefill.n < WARM_UP_TOKENS ? b->prefill.n : WARM_UP_TOKENS;
    return rewind_to_depth(b, err) && (!n || eval(b, n, n, &ignored, err)) && rewind_to_depth(b, err) &&
           (!b->decode.n || eval(b, 1, 1, &ignored, err));
}

static bool run_tests(struct bench *b, struct err *err)
{
    if (!warm_up(b, err))
        return false;
    measure_machine(b);
    for (size_t i = 0; i < b->n_repeat; i++) {
        if (!run_test(b, &b->prefill, err) || !run_test(b, &b->decode, err))
            return false;
        measure_machine(b);
    }
    return true;
}

static bool prepare(struct bench *b, const struct options *o, struct err *err)
{
    b->prefill = (struct test){.kind = "pp", .n = (size_t)opt_int(o, OPT_BENCH_PROMPT, 512)};
    b->decode = (struct test){.kind = "tg", .n = (size_t)opt_int(o, OPT_BENCH_GEN, 64)};
    b->depth = (size_t)opt_int(o, OPT_BENCH_DEPTH, 0);
    b->n_repeat = (size_t)opt_int(o, OPT_BENCH_REPEAT, 3);
    size_t most = b->prefill.n > b->decode.n ? b->prefill.n : b->decode.n;
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

/* Multiply-adds of one call with the weights it needs, by how they are computed. */
static void count_macs(const struct bench *b, const struct test *t, double macs[ARITH_N])
{
    const struct backend *backend = main_backend(b);
    struct model_macs of;
    model_count_macs(b->model, &of);
    for (int type = 0; type < DTYPE_N; type++)
        macs[backend->ops->weight_arith(backend->ctx, (enum dtype)type)] +=
            (double)of.token[type] * (double)tokens_of_call(b, t) + (double)of.head[type];
}

/* Multiply-adds a second, and the time they would take at their peaks as a share of the time they took. */
static void add_arith(struct bench *b, const struct test *t, double tok_s, json_t *out)
{
    double macs[ARITH_N] = {0}, sum = 0, least_s = 0, calls_s = tok_s / (double)tokens_of_call(b, t);
    count_macs(b, t, macs);
    for (int i = 0; i < ARITH_N; i++) {
        double peak = median(&b->peaks[i]);
        sum += macs[i];
        least_s += peak > 0 ? macs[i] / (peak * 1e9) : 0;
    }
    json_object_set_new(out, "gmac_s", json_real(sum * calls_s / 1e9));
    json_object_set_new(out, "peak_share", json_real(least_s * calls_s));
}

static json_t *test_json(struct bench *b, struct test *t)
{
    char name[32];
    double tok_s = median(&t->tok_s), reads = median(&b->reads),
           gb_s = t->n_bytes / t->n_tokens * tok_s / 1e9;
    snprintf(name, sizeof name, "%s%zu", t->kind, t->n);
    json_t *out = json_pack("{s:s, s:f, s:f, s:f, s:f}", "name", name, "tok_s", tok_s, "min",
                            t->tok_s.values[0], "max", t->tok_s.values[t->tok_s.n - 1], "gb_s", gb_s);
    json_object_set_new(out, "read_share", json_real(reads > 0 ? gb_s / reads : 0));
    if (main_backend(b)->ops->arith_peak)
        add_arith(b, t, tok_s, out);
    return out;
}

static json_t *report_json(struct bench *b)
{
    const struct model_config *config = model_config(b->model);
    const struct backend *backend = main_backend(b);
    json_t *tests = json_array();
    if (b->prefill.n)
        json_array_append_new(tests, test_json(b, &b->prefill));
    if (b->decode.n)
        json_array_append_new(tests, test_json(b, &b->decode));
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:i, s:f}", "model", loader_display_name(config, b->path),
                            "arch", config->arch, "quant", config->quant, "backend", backend->ops->name,
                            "threads", backend->ops->n_threads(backend->ctx), "read_gb_s", median(&b->reads));
    if (backend->ops->arith_peak) {
        json_object_set_new(out, "int8_gmac_s", json_real(median(&b->peaks[ARITH_INT8])));
        json_object_set_new(out, "f32_gmac_s", json_real(median(&b->peaks[ARITH_F32])));
        if (backend->ops->weight_arith(backend->ctx, DTYPE_BF16) == ARITH_BF16)
            json_object_set_new(out, "bf16_gmac_s", json_real(median(&b->peaks[ARITH_BF16])));
    }
    json_object_set_new(out, "tests", tests);
    return out;
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_test(const json_t *test)
{
    printf("%-10s %12.2f %12.2f %12.2f %10.2f %8.1f %%", json_string_value(json_object_get(test, "name")),
           number(test, "tok_s"), number(test, "min"), number(test, "max"), number(test, "gb_s"),
           100 * number(test, "read_share"));
    if (json_object_get(test, "gmac_s"))
        printf(" %10.1f %8.1f %%", number(test, "gmac_s"), 100 * number(test, "peak_share"));
    putchar('\n');
}

static void print_table(const json_t *report)
{
    size_t i;
    const json_t *test;
    char *model = sanitize_line(json_string_value(json_object_get(report, "model")));
    bool has_peaks = json_object_get(report, "f32_gmac_s") != NULL;
    printf("%s %s %s, %s, %d threads, plain reads %.1f GB/s", model,
           json_string_value(json_object_get(report, "arch")),
           json_string_value(json_object_get(report, "quant")),
           json_string_value(json_object_get(report, "backend")),
           (int)json_integer_value(json_object_get(report, "threads")), number(report, "read_gb_s"));
    mem_free(model);
    if (has_peaks)
        printf(", multiply-adds on registers: int8 %.0f, f32 %.0f", number(report, "int8_gmac_s"),
               number(report, "f32_gmac_s"));
    if (json_object_get(report, "bf16_gmac_s"))
        printf(", bf16 %.0f", number(report, "bf16_gmac_s"));
    if (has_peaks)
        printf(" GMAC/s");
    printf("\n\n%-10s %12s %12s %12s %10s %10s", "test", "tokens/s", "min", "max", "GB/s", "of reads");
    puts(has_peaks ? "     GMAC/s    of peak" : "");
    json_array_foreach(json_object_get(report, "tests"), i, test) print_test(test);
}

static void bench_fini(struct bench *b)
{
    timeline_free(b->timeline);
    model_free(b->model);
    loader_backends_close(&b->backends);
    mem_free(b->ids);
    mem_free(b->prefill.tok_s.values);
    mem_free(b->decode.tok_s.values);
    mem_free(b->reads.values);
    for (int i = 0; i < ARITH_N; i++)
        mem_free(b->peaks[i].values);
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
