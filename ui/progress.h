/* progress.h: rate and remaining time of work that reports done and total.
 * The rate is that of the last 2 s; the remaining time is told from 1 s on, in steps of 1, 2, 5, 10, 20, 50
 * ... and rises by at most one step at a time, so that it does not dance. Plain data; the clock is handed in.
 */
#ifndef FERRUM_PROGRESS_H
#define FERRUM_PROGRESS_H

#include <stdint.h>

#define PROGRESS_SAMPLES 16

struct progress {
    uint64_t start_ns;
    uint64_t at_ns[PROGRESS_SAMPLES], done[PROGRESS_SAMPLES]; /* a ring, at least 125 ms apart */
    int n_samples, last;
    int eta_step; /* 0: not told yet */
    uint64_t now_done, total;
};

void progress_start(struct progress *p, uint64_t now_ns);
void progress_update(struct progress *p, uint64_t done, uint64_t total, uint64_t now_ns);
double progress_fraction(const struct progress *p);
/* Per second; 0: not known yet. */
double progress_rate(const struct progress *p);
/* Seconds left; -1: not known yet. */
int progress_eta_s(const struct progress *p);

#endif
