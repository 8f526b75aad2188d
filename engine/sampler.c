/* The sampler: penalties, filters, draw. Owns its candidate list, the window of recent tokens and the
 * generator.
 *
 * Invariants
 *  1. ring holds the last n_ring accepted ids; counts[id] says how often id is in it.
 *  2. Between filters cands[0 .. n_cands) is the set still allowed, at least one candidate.
 *  3. Nothing depends on the C library's exp or on the order of a library sort: the same input gives the same
 * token on every machine. */
#include "engine/sampler.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

struct cand {
    int32_t id;
    float logit;
    double key; /* what the current filter orders by, largest first */
    double p;   /* not normalised: exp(logit - largest) */
};

struct sampler {
    struct sampler_params params;
    int32_t n_vocab;
    uint64_t rng[4];
    struct cand *cands; /* [n_vocab] */
    int32_t n_cands;
    int32_t *counts; /* [n_vocab] */
    int32_t *ring;   /* [cap_ring] */
    size_t cap_ring, n_ring, next;
};

/* splitmix64 (Steele, Lea, Flood): spreads a seed over the generator's state. */
static uint64_t splitmix_next(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* xoshiro256** (Blackman and Vigna). */
static uint64_t rng_next(uint64_t s[4])
{
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

static double rng_unit(uint64_t s[4])
{
    return (double)(rng_next(s) >> 11) * 0x1p-53;
}

/* exp of x <= 0 with plain arithmetic only (invariant 3): 2^n * e^r with |r| <= ln(2)/2, Taylor to degree 13.
 */
static double exp_portable(double x)
{
    if (x < -700.0)
        return 0.0;
    double n = (double)(long)(x * 1.4426950408889634 - 0.5);
    double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
    double term = 1.0, sum = 1.0;
    for (int i = 1; i <= 13; i++) {
        term *= r / i;
        sum += term;
    }
    return ldexp(sum, (int)n);
}

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = clock_now_ns();
    /* 53 bits survive every JSON reader; 0 means "random" in the settings. */
    seed &= ((uint64_t)1 << 53) - 1;
    return seed ? seed : 1;
}

struct sampler *sampler_new(const struct sampler_params *params, int32_t n_vocab, size_t max_last_n,
                            struct err *err)
{
    if (!sampler_check(params, err))
        return NULL;
    struct sampler *s = mem_alloc(sizeof *s, err);
    if (!s)
        return NULL;
    s->params = *params;
    s->n_vocab = n_vocab;
    if (!s->params.seed)
        s->params.seed = random_seed();
    uint64_t state = s->params.seed;
    for (int i = 0; i < 4; i++)
        s->rng[i] = splitmix_next(&state);
    s->cap_ring = max_last_n;
    if (params->repeat_last_n >= 0 && (size_t)params->repeat_last_n < max_last_n)
        s->cap_ring = (size_t)params->repeat_last_n;
    s->cands = mem_array((size_t)n_vocab, sizeof *s->cands, err);
    s->counts = s->cands ? mem_array((size_t)n_vocab, sizeof *s->counts, err) : NULL;
    s->ring = s->counts ? mem_array(s->cap_ring, sizeof *s->ring, err) : NULL;
    if (!s->ring) {
        sampler_free(s);
        return NULL;
    }
    return s;
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    mem_free(s->cands);
    mem_free(s->counts);
    mem_free(s->ring);
    mem_free(s);
}

uint64_t sampler_seed(const struct sampler *s)
{
    return s->params.seed;
}

void sampler_accept(struct sampler *s, int32_t id)
{
    if (!s->cap_ring || id < 0 || id >= s->n_vocab)
        return;
    if (s->n_ring == s->cap_ring)
        s->counts[s->ring[s->next]]--;
    else
        s->n_ring++;
    s->ring[s->next] = id;
    s->counts[id]++;
    s->next = (s->next + 1) % s->cap_ring;
}

static void penalise(const struct sampler_params *p, int32_t count, float *logit)
{
    /* Dividing a negative logit would reward the token: the sign-aware form multiplies it. */
    *logit = *logit > 0.0f ? *logit / p->repeat_penalty : *logit * p->repeat_penalty;
    *logit -= (float)count * p->frequency_penalty + p->presence_penalty;
}

static bool has_penalties(const struct sampler_params *p)
{
    return p->repeat_penalty != 1.0f || p->frequency_penalty != 0.0f || p->presence_penalty != 0.0f;
}

static void apply_penalties(struct sampler *s, float *logits)
{
    const struct sampler_params *p = &s->params;
    if (!has_penalties(p))
        return;
    /* A count turned negative marks an id as done, so that the walk costs the window and not the vocabulary.
     */
    for (size_t i = 0; i < s->n_ring; i++) {
        int32_t id = s->ring[i];
        if (s->counts[id] > 0) {
            penalise(p, s->counts[id], &logits[id]);
            s->counts[id] = -s->counts[id];
        }
    }
    for (size_t i = 0; i < s->n_ring; i++)
        if (s->counts[s->ring[i]] < 0)
            s->counts[s->ring[i]] = -s->counts[s->ring[i]];
}

/* Logits that are looked at together: nearly all of a large vocabulary is below what is wanted. */
#define SCAN_LOGITS 64

/* Whether one of SCAN_LOGITS is above the bound. Without a branch in the loop, compilers make vectors of it.
 */
static bool some_above(const float *logits, float bound)
{
    int32_t any = 0;
    for (int32_t i = 0; i < SCAN_LOGITS; i++)
        any |= logits[i] > bound;
    return any;
}

/* The first index from i on that may be above the bound; n when there is none. */
static int32_t skip_below(const float *logits, int32_t i, int32_t n, float bound)
{
    while (n - i >= SCAN_LOGITS && !some_above(logits + i, bound))
        i += SCAN_LOGITS;
    while (i < n && !(logits[i] > bound))
        i++;
    return i;
}

static int32_t pick_largest(const float *logits, int32_t n)
{
    int32_t best = -1;
    float largest = -INFINITY;
    for (int32_t i = 0; (i = skip_below(logits, i, n, largest)) < n; i++) {
        if (!isfinite(logits[i]))
            continue;
        largest = logits[i];
        best = i;
    }
    return best;
}

/* Strict order of candidates: larger key first, then lower id. */
static bool goes_before(const struct cand *a, const struct cand *b)
{
    return a->key != b->key ? a->key > b->key : a->id < b->id;
}

/* Heap of n whose root is the first (`first` true) or the last in order. */
static void sift_down(struct cand *heap, size_t n, size_t i, bool first)
{
    struct cand moving = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && goes_before(&heap[child + 1], &heap[child]) == first)
            child++;
        if (goes_before(&moving, &heap[child]) == first)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

static void make_heap(struct cand *heap, size_t n, bool first)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(heap, n, i, first);
}

/* The last in order is the root: popping it to the end again and again leaves the whole sorted, first in
 * front. */
static void sort_heap(struct cand *heap, size_t n)
{
    for (size_t left = n; left > 1; left--) {
        struct cand last = heap[0];
        heap[0] = heap[left - 1];
        heap[left - 1] = last;
        sift_down(heap, left - 1, 0, false);
    }
}

static void sort_cands(struct sampler *s)
{
    make_heap(s->cands, (size_t)s->n_cands, false);
    sort_heap(s->cands, (size_t)s->n_cands);
}

/* All finite logits, or the k largest: a heap of k whose root is the weakest. What is not above it, or its
 * equal with a higher id, stays out. */
static void collect(struct sampler *s, const float *logits)
{
    int32_t k = s->params.top_k > 0 && s->params.top_k < s->n_vocab ? s->params.top_k : s->n_vocab;
    int32_t n = 0, i = 0;
    for (; n < k && i < s->n_vocab; i++)
        if (isfinite(logits[i]))
            s->cands[n++] = (struct cand){.id = i, .logit = logits[i], .key = (double)logits[i]};
    s->n_cands = n;
    if (n < k || k == s->n_vocab)
        return;
    make_heap(s->cands, (size_t)k, false);
    for (; (i = skip_below(logits, i, s->n_vocab, s->cands[0].logit)) < s->n_vocab; i++) {
        if (!isfinite(logits[i]))
            continue;
        s->cands[0] = (struct cand){.id = i, .logit = logits[i], .key = (double)logits[i]};
        sift_down(s->cands, (size_t)k, 0, false);
    }
}

/* Sets p = exp((logit - largest) / temp) of every candidate; returns their sum. */
static double soften(struct sampler *s, double temp)
{
    float largest = s->cands[0].logit;
    for (int32_t i = 1; i < s->n_cands; i++)
        if (s->cands[i].logit > largest)
            largest = s->cands[i].logit;
    double sum = 0.0;
    for (int32_t i = 0; i < s->n_cands; i++) {
        s->cands[i].p = exp_portable(((double)s->cands[i].logit - (double)largest) / temp);
        sum += s->cands[i].p;
    }
    return sum;
}

/* Keeps the shortest run, in key order, whose share of sum reaches `share`; always one. Only what is kept
 * gets sorted. */
static void keep_share(struct sampler *s, double sum, double share)
{
    size_t n = (size_t)s->n_cands, left = n;
    double reached = 0.0;
    make_heap(s->cands, n, true);
    do {
        struct cand best = s->cands[0];
        s->cands[0] = s->cands[left - 1];
        s->cands[left - 1] = best;
        reached += best.p;
        if (--left)
            sift_down(s->cands, left, 0, true);
    } while (left && reached < share * sum);
    /* They stand at the end, best last. */
    for (size_t i = left, j = n; i + 1 < j; i++) {
        struct cand c = s->cands[i];
        s->cands[i] = s->cands[--j];
        s->cands[j] = c;
    }
    memmove(s->cands, s->cands + left, (n - left) * sizeof *s->cands);
    s->n_cands = (int32_t)(n - left);
}

/* Locally typical: nearest to the entropy first. With x = logit - largest, -log p_i - H = (mean of x under p)
 * - x_i: the logarithm of the sum cancels. */
static void filter_typical(struct sampler *s)
{
    if (s->params.typical >= 1.0f)
        return;
    double sum = soften(s, 1.0), mean = 0.0;
    for (int32_t i = 0; i < s->n_cands; i++)
        mean += s->cands[i].p / sum * (double)s->cands[i].logit;
    for (int32_t i = 0; i < s->n_cands; i++)
        s->cands[i].key = -fabs(mean - (double)s->cands[i].logit);
    keep_share(s, sum, (double)s->params.typical);
    for (int32_t i = 0; i < s->n_cands; i++)
        s->cands[i].key = (double)s->cands[i].logit;
}

static void filter_top_p(struct sampler *s)
{
    if (s->params.top_p >= 1.0f)
        return;
    double sum = soften(s, 1.0);
    keep_share(s, sum, (double)s->params.top_p);
}

static void filter_min_p(struct sampler *s)
{
    if (s->params.min_p <= 0.0f)
        return;
    soften(s, 1.0);
    int32_t n = 0;
    for (int32_t i = 0; i < s->n_cands; i++)
        if (s->cands[i].p >= (double)s->params.min_p)
            s->cands[n++] = s->cands[i];
    s->n_cands = n;
}

static int32_t draw(struct sampler *s)
{
    double sum = soften(s, (double)s->params.temp);
    double target = rng_unit(s->rng) * sum;
    double reached = 0.0;
    for (int32_t i = 0; i < s->n_cands; i++) {
        reached += s->cands[i].p;
        if (target < reached)
            return s->cands[i].id;
    }
    return s->cands[0].id;
}

/* Candidates in any order; few are brought into theirs, so that no sum depends on who collected them. */
static int32_t pick_candidate(struct sampler *s)
{
    if (!s->n_cands)
        return -1;
    if (s->n_cands <= OP_LARGEST_MAX)
        sort_cands(s);
    filter_typical(s);
    filter_top_p(s);
    filter_min_p(s);
    if (s->n_cands <= 1024)
        sort_cands(s); /* sums largest first, whatever filters are on */
    return draw(s);
}

int32_t sampler_pick(struct sampler *s, float *logits)
{
    apply_penalties(s, logits);
    if (s->params.temp <= 0.0f)
        return pick_largest(logits, s->n_vocab);
    collect(s, logits);
    return pick_candidate(s);
}

size_t sampler_n_needed(const struct sampler *s)
{
    const struct sampler_params *p = &s->params;
    if (has_penalties(p))
        return 0;
    if (p->temp <= 0.0f)
        return 1;
    return p->top_k > 0 && p->top_k <= OP_LARGEST_MAX && p->top_k < s->n_vocab ? (size_t)p->top_k : 0;
}

int32_t sampler_pick_of(struct sampler *s, const struct logit *largest, size_t n)
{
    s->n_cands = 0;
    for (size_t i = 0; i < n && largest[i].id >= 0; i++)
        s->cands[s->n_cands++] =
            (struct cand){.id = largest[i].id, .logit = largest[i].value, .key = (double)largest[i].value};
    if (s->params.temp <= 0.0f)
        return s->n_cands ? s->cands[0].id : -1;
    return pick_candidate(s);
}
