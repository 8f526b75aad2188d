/* Owns the table of operations: what each takes of a token, or two profiles side by side.
 *
 * Operations stand in the order of the forward pass, so that nothing moves while numbers change. Where there
 * are too few rows for all, the largest are shown and the rest is one row. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/canvas.h"
#include "ui/panel.h"
#include "ui/sanitize.h"

#define NAME_COLUMNS 12
#define MS_COLUMNS 7
#define SHARE_COLUMNS 7
#define RATE_COLUMNS 6
#define READ_COLUMNS 7
#define CALLS_COLUMNS 6
#define BAR_COLUMNS 7 /* at least, with the gap in front */
#define RATIO_COLUMNS 9
#define LEAST_ROWS 4

struct table {
    const struct panel *panel;
    const struct prof *prof;
    int y, x, columns;
    bool with_speed, has_bar, has_rate, has_read, has_calls;
    double n_tokens;
    double whole_ms; /* what shares are of; NAN: not known */
    int decimals;
};

/* One row: an operation, or several together. No bytes: nobody counts them, or there are none. */
struct row {
    const char *name;
    struct prof_entry sum;
};

static void add(struct prof_entry *sum, struct prof_entry e)
{
    sum->ns += e.ns;
    sum->calls += e.calls;
    sum->bytes += e.bytes;
}

static struct prof_entry entry_of(const struct table *t, int op)
{
    return panel_entry(t->prof, t->panel->phase, t->panel->layer, (enum prof_op)op);
}

static double per_token(const struct table *t, uint64_t ns)
{
    return t->n_tokens > 0 ? (double)ns / 1e6 / t->n_tokens : NAN;
}

/* ---- columns: what is worth most gets its place first ---- */

static bool take(int *room, int columns)
{
    if (*room < columns)
        return false;
    *room -= columns;
    return true;
}

static void choose_columns(struct table *t)
{
    int room = t->columns - NAME_COLUMNS - MS_COLUMNS - SHARE_COLUMNS;
    t->has_bar = take(&room, BAR_COLUMNS);
    t->has_rate = take(&room, RATE_COLUMNS);
    t->has_read = take(&room, READ_COLUMNS);
    t->has_calls = take(&room, CALLS_COLUMNS);
}

static void put_heading(const struct table *t)
{
    struct buf text = {0};
    buf_printf(&text, "%-*s", NAME_COLUMNS, "op");
    if (t->has_calls)
        buf_printf(&text, "%*s", CALLS_COLUMNS, "calls");
    buf_printf(&text, "%*s%*s", MS_COLUMNS, "ms/tok", SHARE_COLUMNS, "share");
    if (t->has_rate)
        buf_printf(&text, "%*s", RATE_COLUMNS, "GB/s");
    if (t->has_read)
        buf_printf(&text, "%*s", READ_COLUMNS, "of max");
    canvas_text(t->y, t->x, t->columns, LOOK_DIM, text.data, text.len);
    buf_fini(&text);
}

/* ---- rows ---- */

static double rate_of(struct prof_entry e)
{
    return e.bytes && e.ns ? (double)e.bytes / (double)e.ns : NAN; /* bytes per ns are GB/s */
}

static void put_calls(const struct table *t, struct buf *out, uint64_t calls)
{
    double n = t->n_tokens > 0 && calls ? (double)calls / t->n_tokens : NAN;
    panel_put_number(out, CALLS_COLUMNS, n < 10 && fabs(n - round(n)) > 0.005 ? 2 : 0, n);
}

/* Returns the column behind the numbers. */
static int put_numbers(const struct table *t, int y, enum theme_element look, const struct row *row)
{
    struct buf text = {0};
    double ms = row->sum.calls || row->sum.ns ? per_token(t, row->sum.ns) : NAN;
    buf_printf(&text, "%-*s", NAME_COLUMNS, row->name);
    if (t->has_calls)
        put_calls(t, &text, row->sum.calls);
    panel_put_number(&text, MS_COLUMNS, t->decimals, ms);
    panel_put_share(&text, SHARE_COLUMNS, 1, ms / t->whole_ms);
    if (t->has_rate)
        panel_put_number(&text, RATE_COLUMNS, 1, rate_of(row->sum));
    if (t->has_read)
        panel_put_share(&text, READ_COLUMNS, 0,
                        t->panel->read_gb_s > 0 ? rate_of(row->sum) / t->panel->read_gb_s : NAN);
    int used = canvas_text(y, t->x, t->columns, look, text.data, text.len);
    buf_fini(&text);
    return t->x + used;
}

static void put_row(const struct table *t, int y, enum theme_element look, const struct row *row)
{
    int x = put_numbers(t, y, look, row) + 1, columns = t->x + t->columns - x;
    double share = per_token(t, row->sum.ns) / t->whole_ms;
    if (t->has_bar && isfinite(share))
        canvas_bar(y, x, columns, LOOK_ACCENT, share);
}

/* Wall time less all operations: nothing where there is no wall time, or less of it than operations. */
static struct row other_row(const struct table *t, uint64_t timed_ns)
{
    struct row row = {.name = "other"};
    uint64_t wall = t->prof->wall_ns[t->panel->phase];
    row.sum.ns = wall > timed_ns ? wall - timed_ns : 0;
    return row;
}

static const char *total_name(const struct panel *p)
{
    if (p->layer == PANEL_ALL_LAYERS)
        return p->prof->wall_ns[p->phase] ? "one token" : "all timed";
    return p->layer < p->n_layers ? "the layer" : "no layer";
}

static void put_total(const struct table *t, int y, const struct prof_entry *timed)
{
    struct row row = {.name = total_name(t->panel), .sum = *timed};
    if (t->panel->layer == PANEL_ALL_LAYERS && t->prof->wall_ns[t->panel->phase])
        row.sum.ns = t->prof->wall_ns[t->panel->phase];
    int x = put_numbers(t, y, LOOK_TITLE, &row) + 1, columns = t->x + t->columns - x;
    if (t->with_speed && t->has_bar && t->panel->phase == PROF_DECODE && t->panel->layer == PANEL_ALL_LAYERS)
        panel_draw_speed(t->panel, y, x, columns);
}

/* ---- which operations ---- */

/* Those with most time first, up to most of them; chosen[op] is set. */
static void choose_ops(const struct table *t, const bool *present, int most, bool *chosen)
{
    memset(chosen, 0, PROF_N_OPS * sizeof *chosen);
    for (int i = 0; i < most; i++) {
        int best = -1;
        for (int op = 0; op < PROF_N_OPS; op++)
            if (present[op] && !chosen[op] && (best < 0 || entry_of(t, op).ns > entry_of(t, best).ns))
                best = op;
        if (best < 0)
            return;
        chosen[best] = true;
    }
}

static int put_ops(const struct table *t, int y, int rows, const bool *present, int n_present)
{
    bool chosen[PROF_N_OPS];
    char name[16] = "";
    int n_shown = n_present <= rows ? n_present : rows - 1, n = 0;
    struct row rest = {.name = name};
    choose_ops(t, present, n_shown, chosen);
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct row row = {prof_op_name((enum prof_op)op), entry_of(t, op)};
        if (chosen[op])
            put_row(t, y + n++, LOOK_TEXT, &row);
        else if (present[op])
            add(&rest.sum, row.sum);
    }
    if (n_shown < n_present && rows > 0) {
        snprintf(name, sizeof name, "%d more", n_present - n_shown);
        put_row(t, y + n++, LOOK_DIM, &rest);
    }
    return n;
}

static int find_present(const struct table *t, bool *present, struct prof_entry *timed)
{
    int n = 0;
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry e = entry_of(t, op);
        present[op] = e.calls > 0;
        n += present[op];
        add(timed, e);
    }
    return n;
}

static int draw_table(struct table *t, int rows)
{
    bool present[PROF_N_OPS];
    struct prof_entry timed = {0};
    bool all = t->panel->layer == PANEL_ALL_LAYERS;
    int n_present = find_present(t, present, &timed);
    double wall = panel_wall_ms(t->prof, t->panel->phase);
    t->whole_ms = all && isfinite(wall) ? wall : per_token(t, timed.ns);
    t->decimals = panel_decimals(t->whole_ms);
    choose_columns(t);
    put_heading(t);
    int n = 1 + put_ops(t, t->y + 1, rows - 2 - all, present, n_present);
    if (all) {
        struct row other = other_row(t, timed.ns);
        put_row(t, t->y + n++, LOOK_TEXT, &other);
    }
    put_total(t, t->y + n++, &timed);
    return n;
}

/* ---- two profiles ---- */

struct comparison {
    const struct panel *panel;
    int y, x, columns, decimals;
};

/* The chosen layer in a profile that may be of another model; false: it has no such layer. */
static bool find_layer(const struct panel *p, const struct prof *prof, int *layer)
{
    int n = (int)prof->shape.n_layers;
    *layer = p->layer == p->n_layers ? n : p->layer;
    return p->layer == p->n_layers || p->layer < n;
}

static double ms_of(const struct panel *p, const struct prof *prof, int op)
{
    int layer;
    if (!find_layer(p, prof, &layer))
        return NAN;
    struct prof_entry e = panel_entry(prof, p->phase, layer, (enum prof_op)op);
    return e.calls && prof->n_tokens[p->phase] ? (double)e.ns / 1e6 / (double)prof->n_tokens[p->phase] : NAN;
}

static void put_pair(const struct comparison *c, int y, enum theme_element look, const char *name,
                     int decimals, double held, double now)
{
    struct buf text = {0};
    buf_printf(&text, "%-*s", NAME_COLUMNS, name);
    panel_put_number(&text, MS_COLUMNS + 1, decimals, held);
    panel_put_number(&text, MS_COLUMNS + 1, decimals, now);
    panel_put_number(&text, RATIO_COLUMNS, 2, held > 0 ? now / held : NAN);
    canvas_text(y, c->x, c->columns, look, text.data, text.len);
    buf_fini(&text);
}

/* "held answer 2 of 6 · now this answer", and the heading. */
static void put_pair_heading(const struct comparison *c)
{
    struct buf text = {0};
    buf_printf(&text, "held: %s · now: %s", c->panel->held_title, c->panel->title);
    canvas_label(c->y, c->x, c->columns, LOOK_ACCENT, text.data);
    buf_truncate(&text, 0);
    buf_printf(&text, "%-*s%*s%*s%*s", NAME_COLUMNS, "ms per token", MS_COLUMNS + 1, "held", MS_COLUMNS + 1,
               "now", RATIO_COLUMNS, "now/held");
    canvas_text(c->y + 1, c->x, c->columns, LOOK_DIM, text.data, text.len);
    buf_fini(&text);
}

static double more_of(double a, double b)
{
    return fmax(isfinite(a) ? a : 0, isfinite(b) ? b : 0);
}

/* The operations that take most in either, in their order; with few rows the rest is left away. */
static int put_pairs(const struct comparison *c, int y, int rows)
{
    const struct panel *p = c->panel;
    double most[PROF_N_OPS], least = 0;
    int n = 0;
    for (int op = 0; op < PROF_N_OPS; op++)
        most[op] = more_of(ms_of(p, p->held, op), ms_of(p, p->prof, op));
    for (int n_over = PROF_N_OPS; n_over > rows;) { /* raises the bar until few enough are over it */
        n_over = 0;
        double next = INFINITY;
        for (int op = 0; op < PROF_N_OPS; op++) {
            n_over += most[op] > least;
            next = most[op] > least && most[op] < next ? most[op] : next;
        }
        least = n_over > rows ? next : least;
    }
    for (int op = 0; op < PROF_N_OPS && n < rows; op++)
        if (most[op] > least)
            put_pair(c, y + n++, LOOK_TEXT, prof_op_name((enum prof_op)op), c->decimals,
                     ms_of(p, p->held, op), ms_of(p, p->prof, op));
    return n;
}

static double whole_ms(const struct panel *p, const struct prof *prof)
{
    int layer;
    if (p->layer == PANEL_ALL_LAYERS)
        return panel_wall_ms(prof, p->phase);
    return find_layer(p, prof, &layer) ? panel_layer_ms(prof, p->phase, layer) : NAN;
}

static int draw_comparison(struct comparison *c, int rows)
{
    const struct panel *p = c->panel;
    double held = whole_ms(p, p->held), now = whole_ms(p, p->prof);
    double held_s = panel_per_s(p->held, p->phase), now_s = panel_per_s(p->prof, p->phase);
    c->decimals = panel_decimals(more_of(held, now));
    put_pair_heading(c);
    int n = 2 + put_pairs(c, c->y + 2, rows - 4);
    put_pair(c, c->y + n++, LOOK_TITLE, total_name(p), c->decimals, held, now);
    if (n < rows)
        put_pair(c, c->y + n++, LOOK_TEXT, "tokens/s", more_of(held_s, now_s) < 1000 ? 1 : 0, held_s, now_s);
    return n;
}

int panel_draw_ops(const struct panel *p, const struct panel_area *area, bool with_speed)
{
    if (area->rows < LEAST_ROWS)
        return 0;
    if (p->held) {
        struct comparison c = {.panel = p, .y = area->y, .x = area->x, .columns = area->columns};
        return draw_comparison(&c, area->rows);
    }
    struct table t = {.panel = p, .prof = p->prof, .y = area->y, .x = area->x, .columns = area->columns};
    t.with_speed = with_speed;
    t.n_tokens = (double)p->prof->n_tokens[p->phase];
    return draw_table(&t, area->rows);
}
