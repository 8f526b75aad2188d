/* The sampler: each filter alone against a slow, straightforward reference; the whole against its
 * distribution. */
#include <math.h>
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
#include "engine/sampler.h"
#include "tests/support/gguf_write.h"

#define N 40
#define DRAWS 20000

/* No filter, no penalty: what a test does not name is off. */
static struct sampler_params plain(void)
{
    return (struct sampler_params){
        .temp = 1.0f, .top_p = 1.0f, .typical = 1.0f, .repeat_penalty = 1.0f, .repeat_last_n = 64, .seed = 7};
}

static struct sampler *make(const struct sampler_params *params, int32_t n)
{
    struct err err;
    struct sampler *s = sampler_new(params, n, 256, &err);
    if (!s)
        print_message("%s\n", err.text);
    assert_non_null(s);
    return s;
}

static void fill_logits(float *logits, int n, unsigned seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        logits[i] = (float)(seed >> 8) / (float)(1 << 24) * 8.0f - 4.0f;
    }
}

/* --- the reference: sorts everything, computes every probability with the C library --- */

struct ref {
    int id[N];
    double logit[N];
    int n;
};

static struct ref ref_of(const float *logits)
{
    struct ref r = {.n = 0};
    for (int i = 0; i < N; i++) {
        int at = r.n++;
        while (at > 0 && r.logit[at - 1] < (double)logits[i]) {
            r.logit[at] = r.logit[at - 1];
            r.id[at] = r.id[at - 1];
            at--;
        }
        r.logit[at] = (double)logits[i];
        r.id[at] = i;
    }
    return r;
}

static void ref_probs(const struct ref *r, double temp, double *p)
{
    double sum = 0;
    for (int i = 0; i < r->n; i++)
        sum += exp((r->logit[i] - r->logit[0]) / temp);
    for (int i = 0; i < r->n; i++)
        p[i] = exp((r->logit[i] - r->logit[0]) / temp) / sum;
}

static void ref_top_p(struct ref *r, double top_p)
{
    double p[N], reached = 0;
    ref_probs(r, 1.0, p);
    for (int i = 0; i < r->n; i++) {
        reached += p[i];
        if (reached >= top_p) {
            r->n = i + 1;
            return;
        }
    }
}

static void ref_min_p(struct ref *r, double min_p)
{
    double p[N];
    ref_probs(r, 1.0, p);
    int n = 0;
    while (n < r->n && p[n] >= min_p * p[0])
        n++;
    r->n = n;
}

static void ref_typical(struct ref *r, double typical)
{
    double p[N], entropy = 0, far[N], reached = 0;
    bool kept[N] = {false};
    ref_probs(r, 1.0, p);
    for (int i = 0; i < r->n; i++)
        entropy -= p[i] * log(p[i]);
    for (int i = 0; i < r->n; i++)
        far[i] = fabs(-log(p[i]) - entropy);
    while (reached < typical) {
        int best = -1;
        for (int i = 0; i < r->n; i++)
            if (!kept[i] && (best < 0 || far[i] < far[best]))
                best = i;
        if (best < 0)
            break;
        kept[best] = true;
        reached += p[best];
    }
    int n = 0;
    for (int i = 0; i < r->n; i++)
        if (kept[i]) {
            r->id[n] = r->id[i];
            r->logit[n++] = r->logit[i];
        }
    r->n = n;
}

/* Draws many times and compares the shares with the reference's probabilities; what it dropped must never
 * come. */
static void check_draws(const struct sampler_params *params, const float *logits, const struct ref *r)
{
    int seen[N] = {0};
    double p[N], expected[N] = {0};
    struct sampler *s = make(params, N);
    for (int i = 0; i < DRAWS; i++) {
        float copy[N];
        memcpy(copy, logits, sizeof copy);
        int32_t id = sampler_pick(s, copy);
        assert_in_range(id, 0, N - 1);
        seen[id]++;
    }
    sampler_free(s);
    ref_probs(r, (double)params->temp, p);
    for (int i = 0; i < r->n; i++)
        expected[r->id[i]] = p[i];
    for (int i = 0; i < N; i++) {
        if (expected[i] == 0)
            assert_int_equal(seen[i], 0);
        double spread = sqrt(DRAWS * expected[i] * (1 - expected[i])) + 1;
        assert_true(fabs(seen[i] - DRAWS * expected[i]) < 5 * spread);
    }
}

static void sampler__draw__follows_the_softmax(void **state)
{
    (void)state;
    float logits[N];
    fill_logits(logits, N, 1);
    struct sampler_params params = plain();
    static const float temps[] = {0.3f, 1.0f, 2.0f};
    for (int i = 0; i < 3; i++) {
        params.temp = temps[i];
        struct ref r = ref_of(logits);
        check_draws(&params, logits, &r);
    }
}

static void sampler__top_k__keeps_the_largest(void **state)
{
    (void)state;
    float logits[N];
    struct sampler_params params = plain();
    static const int ks[] = {1, 2, 5, N - 1, N, N + 9};
    for (int i = 0; i < 6; i++) {
        fill_logits(logits, N, (unsigned)i);
        params.top_k = ks[i];
        struct ref r = ref_of(logits);
        r.n = ks[i] < N ? ks[i] : N;
        check_draws(&params, logits, &r);
    }
}

static void sampler__top_p__keeps_the_smallest_set(void **state)
{
    (void)state;
    float logits[N];
    struct sampler_params params = plain();
    static const float ps[] = {0.0f, 0.1f, 0.5f, 0.9f, 0.999f};
    for (int i = 0; i < 5; i++) {
        fill_logits(logits, N, 20u + (unsigned)i);
        params.top_p = ps[i];
        struct ref r = ref_of(logits);
        ref_top_p(&r, (double)ps[i]);
        check_draws(&params, logits, &r);
    }
}

static void sampler__min_p__drops_below_a_share_of_the_best(void **state)
{
    (void)state;
    float logits[N];
    struct sampler_params params = plain();
    static const float ps[] = {0.01f, 0.2f, 0.9f, 1.0f};
    for (int i = 0; i < 4; i++) {
        fill_logits(logits, N, 30u + (unsigned)i);
        params.min_p = ps[i];
        struct ref r = ref_of(logits);
        ref_min_p(&r, (double)ps[i]);
        check_draws(&params, logits, &r);
    }
}

static void sampler__typical__keeps_what_is_near_the_entropy(void **state)
{
    (void)state;
    float logits[N];
    struct sampler_params params = plain();
    static const float ps[] = {0.05f, 0.3f, 0.8f};
    for (int i = 0; i < 3; i++) {
        fill_logits(logits, N, 40u + (unsigned)i);
        params.typical = ps[i];
        struct ref r = ref_of(logits);
        ref_typical(&r, (double)ps[i]);
        check_draws(&params, logits, &r);
    }
}

static void sampler__all_filters__in_order(void **state)
{
    (void)state;
    float logits[N];
    fill_logits(logits, N, 50);
    struct sampler_params params = plain();
    params.temp = 0.7f;
    params.top_k = 20;
    params.typical = 0.95f;
    params.top_p = 0.9f;
    params.min_p = 0.1f;
    struct ref r = ref_of(logits);
    r.n = 20;
    ref_typical(&r, (double)params.typical);
    ref_top_p(&r, (double)params.top_p);
    ref_min_p(&r, (double)params.min_p);
    check_draws(&params, logits, &r);
}

static void sampler__penalties__change_the_logits(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    params.temp = 0.0f;
    params.repeat_penalty = 2.0f;
    params.frequency_penalty = 0.5f;
    params.presence_penalty = 0.25f;
    params.repeat_last_n = 3;
    struct sampler *s = make(&params, 4);
    static const int32_t context[] = {3, 0, 1, 1}; /* the 3 has left the window */
    for (int i = 0; i < 4; i++)
        sampler_accept(s, context[i]);
    float logits[4] = {4.0f, -1.0f, 1.0f, 1.5f};
    assert_int_equal(sampler_pick(s, logits), 3);
    assert_float_equal(logits[0], 4.0f / 2 - 0.5f - 0.25f, 1e-6);
    assert_float_equal(logits[1], -1.0f * 2 - 2 * 0.5f - 0.25f, 1e-6);
    assert_float_equal(logits[2], 1.0f, 0);
    assert_float_equal(logits[3], 1.5f, 0);
    float again[4] = {4.0f, -1.0f, 1.0f, 1.5f};
    sampler_pick(s, again);
    assert_memory_equal(logits, again, sizeof again);
    sampler_free(s);
}

static void sampler__penalties__window_of_zero_is_off(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    params.temp = 0.0f;
    params.repeat_penalty = 9.0f;
    params.repeat_last_n = 0;
    struct sampler *s = make(&params, 2);
    sampler_accept(s, 0);
    float logits[2] = {1.0f, 0.5f};
    assert_int_equal(sampler_pick(s, logits), 0);
    sampler_free(s);
}

static void sampler__greedy__ties_go_to_the_lower_id(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    params.temp = 0.0f;
    struct sampler *s = make(&params, 5);
    float logits[5] = {1.0f, NAN, 7.0f, 7.0f, INFINITY};
    assert_int_equal(sampler_pick(s, logits), 2);
    sampler_free(s);
}

static void sampler__pick__no_finite_logit(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    float logits[3] = {NAN, -INFINITY, INFINITY};
    for (int greedy = 0; greedy < 2; greedy++) {
        params.temp = greedy ? 0.0f : 1.0f;
        struct sampler *s = make(&params, 3);
        assert_int_equal(sampler_pick(s, logits), -1);
        sampler_free(s);
    }
}

static void sampler__pick__skips_what_is_not_finite(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    static const int ks[] = {0, 2};
    for (int k = 0; k < 2; k++) {
        params.top_k = ks[k];
        struct sampler *s = make(&params, 5);
        for (int i = 0; i < 200; i++) {
            float logits[5] = {NAN, 1.0f, -INFINITY, INFINITY, 1.0f};
            int32_t id = sampler_pick(s, logits);
            assert_true(id == 1 || id == 4);
        }
        sampler_free(s);
    }
}

/* More logits than are looked at together, and not a whole number of those. */
#define MANY 1003

enum order { RISING, FALLING, MIXED, EQUAL, N_ORDERS };

static void fill_many(float *logits, int order)
{
    fill_logits(logits, MANY, 17);
    for (int i = 0; i < MANY && order != MIXED; i++)
        logits[i] = order == EQUAL ? 1.0f : (float)(order == RISING ? i : MANY - i) / MANY;
    for (int i = 5; i < MANY; i += 61)
        logits[i] = i % 2 ? NAN : i % 4 ? INFINITY : -INFINITY;
}

/* How many finite logits come before number i, a lower id first where they are equal. */
static int rank_of(const float *logits, int i)
{
    int rank = 0;
    for (int j = 0; j < MANY; j++)
        rank += isfinite(logits[j]) && (logits[j] > logits[i] || (logits[j] == logits[i] && j < i));
    return rank;
}

static void sampler__pick__finds_the_largest_of_many(void **state)
{
    (void)state;
    static const int ks[] = {1, 7, 100};
    struct sampler_params params = plain();
    float logits[MANY];
    for (int order = 0; order < N_ORDERS; order++)
        for (int k = 0; k < 3; k++) {
            params.temp = k ? 50.0f : 0.0f; /* nearly every one of the k largest alike */
            params.top_k = ks[k];
            int seen[MANY] = {0}, n_seen = 0;
            struct sampler *s = make(&params, MANY);
            fill_many(logits, order);
            for (int i = 0; i < 20 * ks[k]; i++) {
                int32_t id = sampler_pick(s, logits);
                assert_in_range(id, 0, MANY - 1);
                n_seen += !seen[id]++;
            }
            for (int i = 0; i < MANY; i++)
                assert_true(!seen[i] || (isfinite(logits[i]) && rank_of(logits, i) < ks[k]));
            assert_int_equal(n_seen, ks[k]);
            sampler_free(s);
        }
}

static void sampler__pick__extreme_logits(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    params.temp = 0.001f;
    params.top_p = 0.5f;
    params.typical = 0.5f;
    struct sampler *s = make(&params, 3);
    float logits[3] = {3e38f, -3e38f, 1e-30f};
    assert_int_equal(sampler_pick(s, logits), 0);
    sampler_free(s);
}

static void sampler__seed__same_seed_same_tokens(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    int32_t first[50];
    int n_same = 0;
    for (int round = 0; round < 3; round++) {
        params.seed = round < 2 ? 99 : 100;
        struct sampler *s = make(&params, N);
        assert_int_equal(sampler_seed(s), params.seed);
        for (int i = 0; i < 50; i++) {
            float logits[N];
            fill_logits(logits, N, (unsigned)i);
            int32_t id = sampler_pick(s, logits);
            if (round == 0)
                first[i] = id;
            else if (round == 1)
                assert_int_equal(id, first[i]);
            else
                n_same += id == first[i];
        }
        sampler_free(s);
    }
    assert_true(n_same < 50);
}

/* The k largest as a device leaves them. */
static void choose(const float *logits, size_t n, struct logit *out, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        out[i].id = -1;
        for (size_t j = 0; j < n; j++) {
            bool is_left = isfinite(logits[j]);
            for (size_t l = 0; l < i; l++)
                is_left = is_left && out[l].id != (int32_t)j;
            if (is_left && (out[i].id < 0 || logits[j] > out[i].value))
                out[i] = (struct logit){logits[j], (int32_t)j};
        }
    }
}

static void sampler__pick_of__picks_what_all_logits_give(void **state)
{
    (void)state;
    for (int round = 0; round < 64; round++) {
        struct sampler_params params = plain();
        params.seed = 5 + (uint64_t)round;
        params.temp = round % 4 == 3 ? 0.0f : 0.9f;
        params.top_k = 1 + round % 13;
        params.top_p = round & 1 ? 0.9f : 1.0f;
        params.typical = round & 4 ? 0.7f : 1.0f;
        params.min_p = round & 8 ? 0.05f : 0.0f;
        struct sampler *a = make(&params, N), *b = make(&params, N);
        size_t k = sampler_n_needed(a);
        assert_int_equal(k, round % 4 == 3 ? 1 : params.top_k);
        for (int i = 0; i < 40; i++) {
            float logits[N];
            struct logit few[OP_LARGEST_MAX];
            fill_logits(logits, N, (unsigned)(round * 40 + i));
            for (int j = 0; j < N && round & 16; j++)
                logits[j] = j < N - 4 ? (j & 1 ? NAN : INFINITY) : roundf(logits[j]);
            choose(logits, N, few, k);
            assert_int_equal(sampler_pick_of(b, few, k), sampler_pick(a, logits));
        }
        struct logit none = {0, -1};
        assert_int_equal(sampler_pick_of(b, &none, 1), -1);
        sampler_free(a);
        sampler_free(b);
    }
}

static void sampler__n_needed__is_all_where_others_may_count(void **state)
{
    (void)state;
    struct sampler_params few = sampler_defaults();
    few.top_k = 5;
    struct sampler_params all[5] = {few, few, few, few, few};
    all[0].repeat_penalty = 1.1f;
    all[1].frequency_penalty = -0.5f;
    all[2].presence_penalty = 0.5f;
    all[3].top_k = 0;
    all[4].top_k = N;
    for (int i = 0; i < 5; i++) {
        struct sampler *s = make(&all[i], N);
        assert_int_equal(sampler_n_needed(s), 0);
        sampler_free(s);
    }
    few.top_k = OP_LARGEST_MAX + 1;
    struct sampler *s = make(&few, 1000);
    assert_int_equal(sampler_n_needed(s), 0);
    sampler_free(s);
}

/* Written down once: any machine, compiler or library must give these. */
static void sampler__seed__known_tokens(void **state)
{
    (void)state;
    static const int32_t expected[12] = {1, 10, 11, 30, 21, 38, 4, 35, 6, 20, 1, 25};
    struct sampler_params params = sampler_defaults();
    params.seed = 42;
    struct sampler *s = make(&params, N);
    for (int i = 0; i < 12; i++) {
        float logits[N];
        fill_logits(logits, N, 1000u + (unsigned)i);
        int32_t id = sampler_pick(s, logits);
        assert_int_equal(id, expected[i]);
    }
    sampler_free(s);
}

static void sampler__seed__zero_is_random_and_reported(void **state)
{
    (void)state;
    struct sampler_params params = plain();
    params.seed = 0;
    struct sampler *a = make(&params, 4), *b = make(&params, 4);
    assert_true(sampler_seed(a) != 0);
    assert_true(sampler_seed(a) != sampler_seed(b));
    sampler_free(a);
    sampler_free(b);
}

static void sampler__check__names_what_is_out_of_range(void **state)
{
    (void)state;
    struct err err;
    struct sampler_params p = sampler_defaults();
    assert_true(sampler_check(&p, &err));
#define REFUSES(field, value, name)                                                                          \
    p = sampler_defaults();                                                                                  \
    p.field = value;                                                                                         \
    assert_false(sampler_check(&p, &err));                                                                   \
    assert_int_equal(err.code, ERR_USAGE);                                                                   \
    assert_non_null(strstr(err.text, name))
    REFUSES(temp, -0.1f, "temp");
    REFUSES(temp, NAN, "temp");
    REFUSES(top_p, 1.01f, "top-p");
    REFUSES(min_p, -1.0f, "min-p");
    REFUSES(typical, 2.0f, "typical");
    REFUSES(repeat_penalty, 0.0f, "repeat-penalty");
    REFUSES(frequency_penalty, INFINITY, "frequency-penalty");
    REFUSES(presence_penalty, NAN, "presence-penalty");
    REFUSES(top_k, -1, "top-k");
    REFUSES(repeat_last_n, -2, "repeat-last-n");
#undef REFUSES
}

static void sampler__from_gguf__takes_what_is_sound(void **state)
{
    (void)state;
    char path[] = "/tmp/ferrum-sampler-XXXXXX";
    close(mkstemp(path));
    struct gguf_writer w = {0};
    struct buf file = {0};
    int32_t last_n = -1;
    gguf_write_f32(&w, "general.sampling.temp", 0.6f);
    gguf_write_u32(&w, "general.sampling.top_k", 20);
    gguf_write_f32(&w, "general.sampling.top_p", 7.0f);
    gguf_write_string(&w, "general.sampling.min_p", "a lot");
    gguf_write_raw(&w, "general.sampling.penalty_last_n", GGUF_I32, &last_n, sizeof last_n);
    gguf_write_finish(&w, &file);
    assert_true(test_write_file(path, file.data, file.len));
    struct gguf *g = gguf_open(path, false, NULL);
    assert_non_null(g);
    struct sampler_params p = sampler_defaults();
    struct buf ignored = {0};
    sampler_from_gguf(g, &p, &ignored);
    assert_float_equal(p.temp, 0.6f, 0);
    assert_int_equal(p.top_k, 20);
    assert_float_equal(p.top_p, 0.95f, 0);
    assert_float_equal(p.min_p, 0.05f, 0);
    assert_int_equal(p.repeat_last_n, -1);
    assert_string_equal(
        buf_text(&ignored),
        "the model file's general.sampling.top_p is 7, expected a number from 0 to 1; it is ignored\n"
        "the model file's general.sampling.min_p is no number, expected a number from 0 to 1; it is "
        "ignored\n");
    buf_fini(&ignored);
    gguf_close(g);
    buf_fini(&file);
    unlink(path);
}

static void sampler__pick__allocates_nothing(void **state)
{
    (void)state;
    struct sampler_params params = sampler_defaults();
    params.repeat_penalty = 1.1f;
    params.typical = 0.9f;
    struct sampler *s = make(&params, N);
    float logits[N];
    fill_logits(logits, N, 3);
    mem_fail_after(0);
    sampler_accept(s, sampler_pick(s, logits));
    assert_false(mem_fail_happened());
    mem_fail_after(-1);
    sampler_free(s);
}

static void sampler__new__every_allocation_may_fail(void **state)
{
    (void)state;
    struct sampler_params params = sampler_defaults();
    for (long i = 0; i < 8; i++) {
        struct err err = {0};
        mem_fail_after(i);
        struct sampler *s = sampler_new(&params, N, 64, &err);
        bool happened = mem_fail_happened();
        mem_fail_after(-1);
        assert_true(happened == !s);
        if (!s)
            assert_int_equal(err.code, ERR_MEMORY);
        sampler_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler__draw__follows_the_softmax),
        cmocka_unit_test(sampler__top_k__keeps_the_largest),
        cmocka_unit_test(sampler__top_p__keeps_the_smallest_set),
        cmocka_unit_test(sampler__min_p__drops_below_a_share_of_the_best),
        cmocka_unit_test(sampler__typical__keeps_what_is_near_the_entropy),
        cmocka_unit_test(sampler__all_filters__in_order),
        cmocka_unit_test(sampler__penalties__change_the_logits),
        cmocka_unit_test(sampler__penalties__window_of_zero_is_off),
        cmocka_unit_test(sampler__greedy__ties_go_to_the_lower_id),
        cmocka_unit_test(sampler__pick__no_finite_logit),
        cmocka_unit_test(sampler__pick__skips_what_is_not_finite),
        cmocka_unit_test(sampler__pick__finds_the_largest_of_many),
        cmocka_unit_test(sampler__pick__extreme_logits),
        cmocka_unit_test(sampler__seed__same_seed_same_tokens),
        cmocka_unit_test(sampler__seed__known_tokens),
        cmocka_unit_test(sampler__pick_of__picks_what_all_logits_give),
        cmocka_unit_test(sampler__n_needed__is_all_where_others_may_count),
        cmocka_unit_test(sampler__seed__zero_is_random_and_reported),
        cmocka_unit_test(sampler__check__names_what_is_out_of_range),
        cmocka_unit_test(sampler__from_gguf__takes_what_is_sound),
        cmocka_unit_test(sampler__pick__allocates_nothing),
        cmocka_unit_test(sampler__new__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
