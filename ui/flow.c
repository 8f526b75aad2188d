/* Owns the cache of one text's rows. */
#include "ui/flow.h"

#include "ui/sanitize.h"

void flow_fini(struct flow *flow)
{
    buf_fini(&flow->clean);
    wrap_fini(&flow->wrap);
    *flow = (struct flow){0};
}

static void cut_to_stable(struct flow *flow)
{
    flow->n_source = flow->stable;
    if (flow->clean.len > flow->stable_clean)
        buf_truncate(&flow->clean, flow->stable_clean);
    flow->wrap.n_rows = flow->stable_rows;
}

void flow_reset(struct flow *flow)
{
    flow->stable = flow->stable_clean = flow->stable_rows = 0;
    cut_to_stable(flow);
}

static void extend(struct flow *flow, const char *source, size_t n)
{
    cut_to_stable(flow);
    size_t lf = n;
    while (lf > flow->stable && source[lf - 1] != '\n')
        lf--;
    if (lf > flow->stable) {
        sanitize_append(&flow->clean, source + flow->stable, lf - flow->stable);
        wrap_append(&flow->wrap, buf_text(&flow->clean), flow->stable_clean, flow->clean.len, flow->columns);
        flow->stable = lf;
        flow->stable_clean = flow->clean.len;
        flow->stable_rows = flow->wrap.n_rows;
    }
    if (n > lf) {
        sanitize_append(&flow->clean, source + lf, n - lf);
        wrap_append(&flow->wrap, buf_text(&flow->clean), flow->stable_clean, flow->clean.len, flow->columns);
    }
    flow->n_source = n;
}

static void rewrap(struct flow *flow, size_t columns)
{
    flow->wrap.n_rows = 0;
    wrap_append(&flow->wrap, buf_text(&flow->clean), 0, flow->stable_clean, columns);
    flow->stable_rows = flow->wrap.n_rows;
    wrap_append(&flow->wrap, buf_text(&flow->clean), flow->stable_clean, flow->clean.len, columns);
    flow->columns = columns;
}

void flow_update(struct flow *flow, const char *source, size_t n, size_t columns)
{
    if (flow->columns != columns)
        rewrap(flow, columns);
    if (flow->n_source != n)
        extend(flow, source, n);
}

size_t flow_n_rows(const struct flow *flow)
{
    size_t n = flow->wrap.n_rows;
    while (n > 0 && flow->wrap.rows[n - 1].n_bytes == 0)
        n--;
    return n;
}

size_t flow_row_of(const struct flow *flow, size_t byte)
{
    size_t low = 0, high = flow->wrap.n_rows; /* rows[low] begins at or before byte, rows[high] behind it */
    while (low + 1 < high) {
        size_t middle = low + (high - low) / 2;
        if (flow->wrap.rows[middle].start <= byte)
            low = middle;
        else
            high = middle;
    }
    return low;
}
