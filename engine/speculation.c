#include "engine/speculation.h"

#include <assert.h>

#define LEAST_MATCH 2
#define LONGEST_MATCH 16 /* a longer one says no more */

#define ROW_COST 0.15       /* assumed, of a row more */
#define COST_WEIGHT 0.125   /* of a new time */
#define RIGHT_WEIGHT 0.0625 /* of a new judgement */
#define FADING (1.0 / 512)  /* of what was measured, per pass of one row */
#define WORTH 1.03          /* gains below are not worth the trouble */
#define ALLOWANCE (1.0 / 256)
#define FIRST_BALANCE 0.5
#define LARGEST_BALANCE 4.0

/* Matches of 2, 3, 4 and 5, 6 to 8, and more tokens. */
static const double assumed_first[SPECULATION_CLASSES] = {0.2, 0.4, 0.6, 0.75, 0.9};
static const double assumed_later[SPECULATION_CLASSES] = {0.5, 0.6, 0.7, 0.8, 0.9};

static int class_of(size_t n_match)
{
    return n_match <= 2 ? 0 : n_match <= 3 ? 1 : n_match <= 5 ? 2 : n_match <= 8 ? 3 : 4;
}

static double assumed_cost(size_t n_guesses)
{
    return 1 + ROW_COST * (double)n_guesses;
}

void speculation_init(struct speculation *s, enum speculation_mode mode)
{
    *s = (struct speculation){.mode = mode, .balance = FIRST_BALANCE};
    for (size_t k = 0; k <= SPECULATION_MAX; k++)
        s->cost[k] = assumed_cost(k);
    for (int i = 0; i < SPECULATION_CLASSES; i++) {
        s->first[i] = assumed_first[i];
        s->later[i] = assumed_later[i];
    }
}

/* ---- guessing ---- */

/* Tokens that agree, backwards, from ids[at] and from the end. */
static size_t match_at(const int32_t *ids, size_t n, size_t at)
{
    size_t n_match = 1;
    while (n_match <= at && n_match < LONGEST_MATCH && ids[at - n_match] == ids[n - n_match])
        n_match++;
    return n_match;
}

size_t speculation_match(const int32_t *ids, size_t n, int32_t last, size_t *n_match)
{
    size_t best = 0;
    *n_match = LEAST_MATCH - 1;
    for (size_t at = n; at-- > 1 && *n_match < LONGEST_MATCH;) {
        if (ids[at] != last || ids[at - 1] != ids[n - 1])
            continue;
        size_t found = match_at(ids, n, at);
        best = found > *n_match ? at + 1 : best;
        *n_match = found > *n_match ? found : *n_match;
    }
    *n_match = best ? *n_match : 0;
    return best;
}

static void copy_guesses(const int32_t *ids, size_t n, int32_t last, size_t from, size_t k, int32_t *out)
{
    for (size_t i = 0; i < k; i++) {
        size_t at = from + i;
        out[i] = at < n ? ids[at] : at == n ? last : out[at - n - 1];
    }
}

/* ---- deciding ---- */

/* The k of the most tokens in the time of a pass of one row, of those the account can pay. */
static size_t best_count(const struct speculation *s, int match_class, size_t most)
{
    double best = WORTH, tokens = 1, chance = s->first[match_class];
    size_t count = 0;
    for (size_t k = 1; k <= most; k++) {
        tokens += chance;
        chance *= s->later[match_class];
        if (s->cost[k] - 1 <= s->balance && tokens / s->cost[k] > best) {
            best = tokens / s->cost[k];
            count = k;
        }
    }
    return count;
}

size_t speculation_guess(struct speculation *s, const int32_t *ids, size_t n, int32_t last, size_t most,
                         int32_t *out)
{
    size_t n_match;
    assert(most <= SPECULATION_MAX);
    s->n_tried = s->n_right = 0;
    if (s->mode == SPECULATION_NEVER || !most || (s->mode == SPECULATION_WHEN_IT_PAYS && s->ns <= 0))
        return 0;
    size_t from = speculation_match(ids, n, last, &n_match);
    if (!from)
        return 0;
    s->match_class = class_of(n_match);
    size_t k = s->mode == SPECULATION_ALWAYS ? most : best_count(s, s->match_class, most);
    copy_guesses(ids, n, last, from, k, out);
    return k;
}

static void move(double *value, double to, double weight)
{
    *value += (to - *value) * weight;
}

static void fade(struct speculation *s)
{
    for (size_t k = 1; k <= SPECULATION_MAX; k++)
        move(&s->cost[k], assumed_cost(k), FADING);
    for (int i = 0; i < SPECULATION_CLASSES; i++) {
        move(&s->first[i], assumed_first[i], FADING);
        move(&s->later[i], assumed_later[i], FADING);
    }
}

static void add_to_balance(struct speculation *s, double amount)
{
    s->balance += amount;
    s->balance = s->balance < LARGEST_BALANCE ? s->balance : LARGEST_BALANCE;
}

void speculation_passed(struct speculation *s, size_t n_guesses, uint64_t ns)
{
    assert(n_guesses <= SPECULATION_MAX);
    add_to_balance(s, ALLOWANCE);
    s->n_tried = n_guesses;
    s->n_right = 0;
    if (!n_guesses) {
        double most = 2 * s->ns;
        move(&s->ns, most <= 0 || (double)ns < most ? (double)ns : most, most > 0 ? COST_WEIGHT : 1);
        fade(s);
        return;
    }
    double cost = s->ns > 0 ? (double)ns / s->ns : assumed_cost(n_guesses);
    cost = cost < 2 * s->cost[n_guesses] ? cost : 2 * s->cost[n_guesses];
    add_to_balance(s, 1 - cost);
    move(&s->cost[n_guesses], cost, COST_WEIGHT);
}

void speculation_judge(struct speculation *s, bool is_right)
{
    assert(s->n_right < s->n_tried);
    double *share = s->n_right ? s->later : s->first;
    move(&share[s->match_class], is_right, RIGHT_WEIGHT);
    s->n_right += is_right;
    if (is_right)
        add_to_balance(s, 1);
    else
        s->n_tried = s->n_right;
}
