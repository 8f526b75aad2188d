/* Owns the estimate of how long a load or a prefill will still take. */
#include "ui/progress.h"

#define SECOND_NS 1000000000u
#define SAMPLE_NS (SECOND_NS / 8)

void progress_start(struct progress *p, uint64_t now_ns)
{
    *p = (struct progress){.start_ns = now_ns};
}

/* 1, 2, 5, 10, 20, 50 ... */
static int step_seconds(int step)
{
    static const int leading[] = {1, 2, 5};
    int seconds = leading[(step - 1) % 3];
    for (int i = 0; i < (step - 1) / 3; i++)
        seconds *= 10;
    return seconds;
}

static void estimate(struct progress *p, uint64_t now_ns)
{
    double rate = progress_rate(p);
    if (now_ns - p->start_ns < SECOND_NS || rate <= 0 || p->total < p->now_done)
        return;
    double left = (double)(p->total - p->now_done) / rate;
    int step = 1;
    while (step < 15 && step_seconds(step) < left)
        step++;
    p->eta_step = p->eta_step > 0 && step > p->eta_step + 1 ? p->eta_step + 1 : step;
}

void progress_update(struct progress *p, uint64_t done, uint64_t total, uint64_t now_ns)
{
    p->now_done = done;
    p->total = total;
    if (p->n_samples > 0 && now_ns - p->at_ns[p->last] < SAMPLE_NS)
        return;
    p->last = p->n_samples > 0 ? (p->last + 1) % PROGRESS_SAMPLES : 0;
    p->at_ns[p->last] = now_ns;
    p->done[p->last] = done;
    if (p->n_samples < PROGRESS_SAMPLES)
        p->n_samples++;
    estimate(p, now_ns);
}

double progress_fraction(const struct progress *p)
{
    return p->total > 0 ? (double)p->now_done / (double)p->total : 0;
}

double progress_rate(const struct progress *p)
{
    if (p->n_samples < 2)
        return 0;
    int first = (p->last + PROGRESS_SAMPLES - p->n_samples + 1) % PROGRESS_SAMPLES;
    uint64_t ns = p->at_ns[p->last] - p->at_ns[first];
    if (ns == 0 || p->done[p->last] < p->done[first])
        return 0;
    return (double)(p->done[p->last] - p->done[first]) * 1e9 / (double)ns;
}

int progress_eta_s(const struct progress *p)
{
    return p->eta_step > 0 ? step_seconds(p->eta_step) : -1;
}
