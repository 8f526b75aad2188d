/* What the profile costs, and how much of the time it explains, on a model of yours:
 *   - decoding with timers, and the copy that readers get after each token, against decoding without,
 * alternated token by token: the ratio of the medians, at most 1.02;
 *   - in an engine, sampling and all: the sum of the operations against the wall time of the steps, at least
 * 0.97.
 *
 * usage: bench_profile MODEL.gguf [tokens]     ends with 1 when a gate fails
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/engine.h"
#include "engine/timeline.h"
#include "kernels_cpu/backend_cpu.h"

#define COST_GATE 1.02
#define SUM_GATE 0.97
#define N_CTX 512
#define DEPTH 64

enum { TIMED, UNTIMED, N_WAYS };

static void die(const struct err *err)
{
    fprintf(stderr, "bench_profile: %s\n", err->text);
    exit(2);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/* ---- on against off ---- */

/* Seconds for one token more. */
static double decode(struct timeline *t, struct prof *copy, const int32_t *ids)
{
    struct err err = {0};
    uint64_t start_ns = clock_now_ns();
    if (!timeline_eval(t, ids + timeline_length(t), 1, NULL, NULL, &err))
        die(&err);
    if (copy)
        prof_copy(copy, timeline_prof(t));
    return (double)(clock_now_ns() - start_ns) / 1e9;
}

static struct timeline *open_way(struct model *m, int way, const int32_t *ids)
{
    struct err err = {0};
    struct timeline_options options = {.n_ctx = N_CTX, .kv_type = DTYPE_F16, .untimed = way == UNTIMED};
    struct timeline *t = timeline_new(m, &options, &err);
    if (!t || !timeline_eval(t, ids, DEPTH, NULL, NULL, &err))
        die(&err);
    decode(t, NULL, ids);
    timeline_keep(t, ids, DEPTH + 1);
    return t;
}

static bool print_cost(const struct prof *p, double *seconds[N_WAYS], size_t n)
{
    double timed = median(seconds[TIMED], n), untimed = median(seconds[UNTIMED], n);
    double timers = (double)prof_cost_ns(p, PROF_DECODE) / (double)p->wall_ns[PROF_DECODE];
    bool ok = timed / untimed <= COST_GATE;
    printf(
        "decode, %zu tokens each: median %.3f ms with the profile, %.3f without; ratio %.4f, at most %.2f: "
        "%s\n",
        n, timed * 1e3, untimed * 1e3, timed / untimed, COST_GATE, ok ? "ok" : "FAILED");
    printf("  one timer costs %llu ns, all of them %.3f %% of the time by the profile's own account\n",
           (unsigned long long)p->timer_ns, 100 * timers);
    return ok;
}

static bool compare_cost(struct model *m, size_t n_tokens)
{
    struct err err = {0};
    struct timeline *ways[N_WAYS];
    double *seconds[N_WAYS];
    int32_t ids[N_CTX];
    for (int i = 0; i < N_CTX; i++)
        ids[i] = (int32_t)((uint32_t)i * 7919u % model_config(m)->n_vocab);
    for (int way = 0; way < N_WAYS; way++) {
        ways[way] = open_way(m, way, ids);
        seconds[way] = mem_need(n_tokens * sizeof **seconds);
    }
    struct prof *copy = prof_new(&timeline_prof(ways[TIMED])->shape, &err);
    if (!copy)
        die(&err);
    /* Token by token, and who is first changes, so that a drift of the machine is nobody's. */
    for (size_t n = 0; n < n_tokens; n++)
        for (size_t i = 0; i < N_WAYS; i++) {
            size_t way = (i + n) % N_WAYS;
            seconds[way][n] = decode(ways[way], way == TIMED ? copy : NULL, ids);
        }
    bool ok = print_cost(timeline_prof(ways[TIMED]), seconds, n_tokens);
    prof_free(copy);
    for (int way = 0; way < N_WAYS; way++) {
        timeline_free(ways[way]);
        mem_free(seconds[way]);
    }
    return ok;
}

/* ---- the sum ---- */

static void next_event(struct engine *e, struct engine_event *event)
{
    while (!engine_next_event(e, event))
        poll(&(struct pollfd){.fd = engine_event_fd(e), .events = POLLIN}, 1, -1);
    if (event->error.code)
        die(&event->error);
}

static void run_turn(struct engine *e, const char *text, int32_t n_tokens)
{
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = n_tokens};
    struct engine_event event;
    struct err err = {0};
    uint64_t number;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_strdup(text), .n_bytes = strlen(text)};
    if (!engine_submit(e, &r, &number, &err))
        die(&err);
    do {
        next_event(e, &event);
        mem_free(event.ids);
        if (event.type == ENGINE_PROMPT)
            mem_free(event.n_ids_of);
    } while (event.type != ENGINE_DONE);
}

static bool print_phase(const struct prof *p, enum prof_phase phase, const char *name)
{
    double wall = (double)p->wall_ns[phase], sum = (double)prof_sum_ns(p, phase);
    bool ok = sum <= wall && sum >= SUM_GATE * wall;
    printf("%s, %llu tokens: operations %.3f ms of %.3f ms = %.4f, at least %.2f: %s\n", name,
           (unsigned long long)p->n_tokens[phase], sum / 1e6, wall / 1e6, sum / wall, SUM_GATE,
           ok ? "ok" : "FAILED");
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry e = prof_sum(p, phase, (enum prof_op)op);
        if (e.calls)
            printf("  %-12s %8llu calls %10.4f ms/token %6.2f %%\n", prof_op_name((enum prof_op)op),
                   (unsigned long long)e.calls, (double)e.ns / 1e6 / (double)p->n_tokens[phase],
                   100 * (double)e.ns / wall);
    }
    return ok;
}

/* Weights and KV of the decoded tokens per second, beside what plain reads reach. */
static void print_roof(struct engine *e, const struct prof *p)
{
    struct engine_event event;
    uint64_t n_bytes = 0;
    for (int op = 0; op < PROF_N_OPS; op++)
        n_bytes += op == PROF_COPY ? 0 : prof_sum(p, PROF_DECODE, (enum prof_op)op).bytes;
    for (int i = 0; i < 20 && engine_read_gb_s(e) <= 0; i++) { /* the first ones may have to read the disk */
        engine_measure_read(e);
        poll(&(struct pollfd){.fd = engine_event_fd(e), .events = POLLIN}, 1, 250);
        while (engine_next_event(e, &event))
            continue;
    }
    printf("decode reads %.2f GB/s, plain reads %.2f GB/s\n",
           (double)n_bytes / (double)p->wall_ns[PROF_DECODE], engine_read_gb_s(e));
}

static bool check_sum(const char *path, struct backend *b, size_t n_tokens)
{
    struct err err = {0};
    struct engine_event event;
    struct prof *before = NULL, *p = NULL;
    struct engine_options options = {.model_path = path, .backend = b, .n_ctx = N_CTX, .kv_type = DTYPE_F16};
    struct engine *e = engine_open(&options, &err);
    if (!e)
        die(&err);
    do
        next_event(e, &event);
    while (event.type != ENGINE_READY);
    run_turn(e, "Pages are touched once before anything counts.", 4);
    if (!engine_prof(e, &before, &err))
        die(&err);
    run_turn(e, "It was a bright cold day in April, and the clocks were striking thirteen.",
             (int32_t)n_tokens);
    if (!engine_prof(e, &p, &err))
        die(&err);
    prof_subtract(p, before);
    bool ok = print_phase(p, PROF_DECODE, "decode");
    ok = (p->n_tokens[PROF_PREFILL] == 0 || print_phase(p, PROF_PREFILL, "prefill")) && ok;
    print_roof(e, p);
    prof_free(before);
    prof_free(p);
    engine_close(e);
    return ok;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct backend b = {0};
    size_t n_tokens = argc > 2 ? (size_t)atoi(argv[2]) : 200;
    if (argc < 2 || n_tokens < 1 || n_tokens > N_CTX - DEPTH) {
        fprintf(stderr, "usage: bench_profile MODEL.gguf [tokens, 1 to %d]\n", N_CTX - DEPTH);
        return 2;
    }
    if (!backend_cpu_open(&b, 0, NULL, &err))
        die(&err);
    struct model *m = model_load(argv[1], &b, NULL, &err);
    if (!m)
        die(&err);
    printf("%s %s, %s\n", model_config(m)->arch, model_config(m)->quant, b.ops->describe(b.ctx));
    bool ok = compare_cost(m, n_tokens);
    model_free(m);
    ok = check_sum(argv[1], &b, n_tokens) && ok;
    backend_close(&b);
    return ok ? 0 : 1;
}
