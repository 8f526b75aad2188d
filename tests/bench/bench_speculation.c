/* What guessing tokens ahead gains on a text that repeats itself, and costs on one that does not. A model of
 * random weights says nothing that repeats, so the text is given: what would be drawn is the text's next
 * token.
 *
 * Two texts, of random tokens, one of them a paragraph again and again with a word in 24 changed; each
 * without guesses and with, in turn. Prints tokens/s, the median of the ratios, guesses tried and right, and
 * what a pass of so many rows costs. Ends with 1 when the text that does not repeat loses more than 1 % (on a
 * quiet machine that means something).
 *
 * usage: bench_speculation MODEL.gguf [tokens [rounds]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/speculation.h"
#include "engine/timeline.h"
#include "kernels_cpu/backend_cpu.h"

#define PARAGRAPH 60
#define CHANGED_OF 24
#define MAX_ROUNDS 99

struct count {
    size_t n_guesses, n_right;
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void make_text(int32_t *ids, size_t n, uint32_t n_vocab, bool repeats)
{
    uint32_t state = 5;
    for (size_t i = 0; i < n; i++) {
        uint32_t word = next_random(&state) % n_vocab;
        bool copies = repeats && i >= PARAGRAPH && next_random(&state) % CHANGED_OF != 0;
        ids[i] = copies ? ids[i - PARAGRAPH] : (int32_t)word;
    }
}

/* One pass from ids[at] on, ids[at + 1 ..] being what is drawn behind it. Returns the tokens that it gave. */
static size_t pass(struct timeline *t, struct speculation *s, const int32_t *ids, size_t at, size_t n,
                   struct count *c)
{
    int32_t tried[1 + SPECULATION_MAX] = {ids[at]};
    struct err err = {0};
    size_t most = timeline_most_guesses(t), done = 1;
    most = most < n - at - 1 ? most : n - at - 1;
    size_t k = speculation_guess(s, timeline_ids(t), at, ids[at], most, tried + 1);
    uint64_t start_ns = clock_now_ns();
    if (!timeline_try(t, tried, 1 + k, NULL, &err)) {
        fprintf(stderr, "bench_speculation: %s\n", err.text);
        exit(1);
    }
    speculation_passed(s, k, clock_now_ns() - start_ns);
    c->n_guesses += k;
    while (timeline_guess(t) >= 0) {
        bool is_right = timeline_guess(t) == ids[at + done];
        speculation_judge(s, is_right);
        if (!is_right)
            break;
        timeline_accept(t, NULL);
        c->n_right++;
        done++;
    }
    return done;
}

/* Seconds for the second half of the text; the first is the prompt. */
static double run(struct timeline *t, struct speculation *s, const int32_t *ids, size_t n, struct count *c)
{
    *c = (struct count){0};
    timeline_keep(t, ids, n / 2 + 1);
    size_t at = timeline_length(t);
    if (at < n / 2)
        timeline_eval(t, ids + at, n / 2 - at, NULL, NULL, NULL);
    uint64_t start_ns = clock_now_ns();
    for (at = n / 2; at < n;)
        at += pass(t, s, ids, at, n, c);
    return (double)(clock_now_ns() - start_ns) * 1e-9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(struct timeline *t, const int32_t *ids, size_t n, size_t n_rounds, const char *name)
{
    struct speculation off, on;
    struct count none, c;
    double ratios[MAX_ROUNDS], best_off = 0, best_on = 0;
    speculation_init(&off, SPECULATION_NEVER);
    speculation_init(&on, SPECULATION_WHEN_IT_PAYS);
    timeline_keep(t, NULL, 0);
    run(t, &off, ids, n, &none);
    for (size_t i = 0; i < n_rounds; i++) {
        double a = run(t, &off, ids, n, &none), b = run(t, &on, ids, n, &c), tokens = (double)(n - n / 2);
        ratios[i] = a / b;
        best_off = tokens / a > best_off ? tokens / a : best_off;
        best_on = tokens / b > best_on ? tokens / b : best_on;
    }
    qsort(ratios, n_rounds, sizeof *ratios, compare);
    printf("%-16s off %7.2f tokens/s, on %7.2f (best), ratio %.3f [%.3f .. %.3f]; %zu guesses, %zu right, of "
           "%zu tokens\n",
           name, best_off, best_on, ratios[n_rounds / 2], ratios[0], ratios[n_rounds - 1], c.n_guesses,
           c.n_right, n - n / 2);
    printf("  a pass of 1 + k rows costs:");
    for (int k = 1; k <= SPECULATION_MAX; k++)
        printf(" %.2f", on.cost[k]);
    puts("");
    return ratios[n_rounds / 2];
}

int main(int argc, char **argv)
{
    struct backend b;
    struct err err = {0};
    size_t n = argc > 2 ? 2 * strtoul(argv[2], NULL, 10) : 400,
           n_rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 5;
    if (argc < 2 || n < 4 * PARAGRAPH || !n_rounds || n_rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_speculation MODEL.gguf [tokens (at least %d) [rounds]]\n",
                2 * PARAGRAPH);
        return 2;
    }
    struct timeline_options options = {.n_ctx = (uint32_t)n + 8, .kv_type = DTYPE_F16};
    struct model *m = backend_cpu_open(&b, 0, NULL, &err) ? model_load(argv[1], &b, NULL, &err) : NULL;
    struct timeline *t = m ? timeline_new(m, &options, &err) : NULL;
    if (!t) {
        fprintf(stderr, "bench_speculation: %s\n", err.text);
        return 1;
    }
    int32_t *ids = mem_need(n * sizeof *ids);
    make_text(ids, n, model_config(m)->n_vocab, true);
    measure(t, ids, n, n_rounds, "repeats itself");
    make_text(ids, n, model_config(m)->n_vocab, false);
    double ratio = measure(t, ids, n, n_rounds, "does not");
    mem_free(ids);
    timeline_free(t);
    model_free(m);
    backend_close(&b);
    return ratio < 0.99;
}
