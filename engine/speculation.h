/* speculation.h: guesses the tokens that follow from those that are there, and decides when trying them pays.
 *
 * Guessing (prompt lookup: Saxena 2023; LLMA: Yang et al. 2023, arXiv 2304.04487): what followed when the
 * last tokens stood together before may follow again. The longest match counts, the newest of equals; a guess
 * may run on into the guesses before it, so that a repeating text is guessed on and on.
 * Trying k guesses is one forward pass of k + 1 rows, which costs less than k + 1 passes, and a row has the
 * bits it would have had alone. A guess is right when the sampler then draws it from the row in front; the
 * first wrong one ends the try. What is drawn is what would have been drawn without, with the same seed too.
 *
 * Deciding. Measured are the time of a pass for each number of rows, and how often guesses are right, by the
 * length of the match, the first of a try apart from those behind it. As many are tried as make the most
 * tokens a second, none where one row alone does. Measurements that are not renewed fade to what is assumed
 * at the beginning, so that nothing is given up for ever. What that may cost is bounded by an account: a try
 * is paid from it and pays into it what it saved; it is small, and every token adds 1/256 of its time. Over
 * a long text speculation costs no more than that share, and a constant.
 *
 * Plain data, no clock, nothing allocates. Belongs to the engine's thread. */
#ifndef FERRUM_SPECULATION_H
#define FERRUM_SPECULATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPECULATION_MAX 7     /* guesses of a try: with the sure token 8 rows, whose bits are equal */
#define SPECULATION_CLASSES 5 /* of lengths of matches */

enum speculation_mode {
    SPECULATION_WHEN_IT_PAYS,
    SPECULATION_NEVER,
    SPECULATION_ALWAYS, /* as many guesses as there are, whatever it costs: for tests */
};

struct speculation {
    enum speculation_mode mode;
    double ns;                         /* of a pass of one row, 0: not known yet */
    double cost[SPECULATION_MAX + 1];  /* [k]: of one with k guesses, as a multiple of that */
    double first[SPECULATION_CLASSES]; /* how often the first guess is right, 0 .. 1 */
    double later[SPECULATION_CLASSES]; /* another one, when those in front were */
    double balance;                    /* in passes of one row */
    /* the try whose guesses are being judged */
    size_t n_tried, n_right;
    int match_class;
};

void speculation_init(struct speculation *s, enum speculation_mode mode);

/* Guesses what follows ids[0..n) and then `last`: at most `most` (<= SPECULATION_MAX) tokens to out, as many
 * as are worth a try. */
size_t speculation_guess(struct speculation *s, const int32_t *ids, size_t n, int32_t last, size_t most,
                         int32_t *out);
/* A pass of one row and n_guesses took ns. */
void speculation_passed(struct speculation *s, size_t n_guesses, uint64_t ns);
/* The next guess of the last pass was right, or it was not, which ends the try. */
void speculation_judge(struct speculation *s, bool is_right);

/* The place behind the longest earlier occurrence of what ids[0..n), last ends with, *n_match tokens of it;
 * 0: there is none of at least two tokens. */
size_t speculation_match(const int32_t *ids, size_t n, int32_t last, size_t *n_match);

#endif
