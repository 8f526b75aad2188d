/* engine_measure.c owns the measurement of plain reads: in idle time, given up for any request. */
#include "engine/base/clock.h"
#include "engine/engine_internal.h"
#include "engine/read_speed.h"

/* The window is larger than the caches of most machines; it is read once uncounted, so that its pages are
 * there, then again while the time lasts. */
#define WINDOW_BYTES 256e6
#define LEAST_BYTES 192e6
#define STEP_NS UINT64_C(50000000)

struct measurement {
    struct engine *engine;
    uint64_t until_ns;
    bool is_disturbed;
};

static bool go_on(void *arg)
{
    struct measurement *m = arg;
    m->is_disturbed = atomic_load(&m->engine->closing) || !queue_is_empty(&m->engine->jobs);
    return !m->is_disturbed && clock_now_ns() < m->until_ns;
}

/* Pages that come from the disk say nothing about memory. */
static bool is_enough(const struct model *m, double bytes)
{
    double all = (double)model_config(m)->weight_bytes;
    return bytes >= (all < LEAST_BYTES ? all : LEAST_BYTES);
}

/* GB/s, 0: not now. */
static double measure(struct measurement *m, const struct model *model)
{
    struct read_speed window = {0}, sum = {0};
    m->until_ns = clock_now_ns() + STEP_NS;
    read_speed_pass(model, WINDOW_BYTES, go_on, m, &window);
    if (!is_enough(model, window.bytes))
        return 0;
    m->until_ns = clock_now_ns() + STEP_NS;
    do
        read_speed_pass(model, window.bytes, go_on, m, &sum);
    while (go_on(m));
    return m->is_disturbed ? 0 : read_speed_gb_s(&sum);
}

void engine_measure(struct engine *e)
{
    struct backend *backend = e->options.backend;
    struct measurement m = {.engine = e};
    if (!backend->ops->read_bandwidth) {
        atomic_store(&e->read_wanted, false);
        return;
    }
    double gb_s = measure(&m, atomic_load(&e->model));
    if (backend->ops->park)
        backend->ops->park(backend->ctx);
    if (gb_s <= 0)
        return; /* still wanted: the next time that the thread has been at work */
    atomic_store(&e->read_wanted, false);
    atomic_store(&e->read_mb_s, (uint64_t)(gb_s * 1e3));
    queue_push(&e->events, &(struct engine_event){.type = ENGINE_MEASURED});
}
