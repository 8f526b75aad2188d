/* Owns the expert map: layers downwards, experts across, each cell as bright as its load.
 *
 * A cell's load is what its experts were given, by what an even spread would have given them: 0 is nothing,
 * 1 the mean. Levels go with the square root, so that the mean is in the middle of the ramp and 4 at its
 * end. Where there are more layers or experts than cells, neighbours share one. */
#include <math.h>
#include <stdio.h>

#include "engine/base/prof_experts.h"
#include "ui/canvas.h"
#include "ui/panel.h"

#define FULL_LOAD 4.0
#define MOST_WIDTH 6 /* columns of a cell */
#define NEWEST_COLUMNS 10

struct map {
    const struct panel *p;
    const struct prof *prof;
    int y, x, rows; /* of the cells */
    int n_layers, n_experts;
    int layer_group, expert_group; /* in a cell */
    int n_lines, n_cells;          /* groups of layers, of experts */
    int width;                     /* columns of a cell */
    int gutter;                    /* columns of the layers' numbers */
};

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

static int digits(int n)
{
    return n >= 1000 ? 4 : n >= 100 ? 3 : n >= 10 ? 2 : 1;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static void place_map(struct map *m, int y, int x, int rows, int columns)
{
    m->y = y;
    m->rows = rows;
    m->gutter = digits(m->n_layers) + 1;
    m->x = x + m->gutter;
    columns -= m->gutter;
    m->layer_group = ceil_div(m->n_layers, rows * (theme_heat_is_halved() ? 2 : 1));
    m->n_lines = ceil_div(m->n_layers, m->layer_group);
    m->expert_group = ceil_div(m->n_experts, columns);
    m->n_cells = ceil_div(m->n_experts, m->expert_group);
    m->width = least(columns / m->n_cells, MOST_WIDTH);
}

/* ---- cells ---- */

static uint64_t sum_pairs(const struct map *m, int line, int from, int to)
{
    uint64_t sum = 0;
    int end = least((line + 1) * m->layer_group, m->n_layers);
    for (int layer = line * m->layer_group; layer < end; layer++)
        for (int e = from; e < to; e++)
            sum += prof_pairs(m->prof, m->p->phase, (uint32_t)layer)[e];
    return sum;
}

/* Experts of one token differ: where the ids do not, nobody has written them. */
static bool knows_newest(const struct prof *p, uint32_t layer)
{
    const uint16_t *ids = prof_newest(p, layer);
    return p->shape.n_used == 1 || (p->shape.n_used > 1 && ids[0] != ids[1]);
}

static bool has_newest(const struct prof *p, uint32_t layer, int from, int to)
{
    for (uint32_t k = 0; k < p->shape.n_used && knows_newest(p, layer); k++) {
        int id = prof_newest(p, layer)[k];
        if (id >= from && id < to)
            return true;
    }
    return false;
}

/* Whether the newest token asked for these experts; where layers share a line, in half of them at least, or
 * all cells would be marked. */
static bool is_newest(const struct map *m, int line, int from, int to)
{
    int first = line * m->layer_group, end = least(first + m->layer_group, m->n_layers), n = 0;
    if (m->p->phase != PROF_DECODE || !m->prof->n_tokens[PROF_DECODE])
        return false;
    for (int layer = first; layer < end; layer++)
        n += has_newest(m->prof, (uint32_t)layer, from, to);
    return 2 * n >= end - first;
}

static int level_of(double load)
{
    int n = theme_heat_levels();
    double t = sqrt(load / FULL_LOAD);
    return load > 0 ? 1 + (int)((t < 1 ? t : 1) * (n - 2) + 0.5) : 0;
}

/* line_sum: of the whole line. */
static int cell_level(const struct map *m, int line, int cell, uint64_t line_sum)
{
    int from = cell * m->expert_group, to = least(from + m->expert_group, m->n_experts);
    if (line >= m->n_lines)
        return 0;
    double even = (double)line_sum * (to - from) / m->n_experts;
    if (line_sum && is_newest(m, line, from, to))
        return THEME_HEAT_MARK;
    return even > 0 ? level_of((double)sum_pairs(m, line, from, to) / even) : 0;
}

static void draw_line_number(const struct map *m, int y, int line)
{
    char label[16];
    int first = line * m->layer_group, n = theme_heat_is_halved() ? 2 * m->layer_group : m->layer_group;
    bool chosen = m->p->layer >= first && m->p->layer < first + n && m->p->layer < m->n_layers;
    snprintf(label, sizeof label, "%*d", m->gutter - 1, chosen ? m->p->layer : first);
    canvas_label(y, m->x - m->gutter, m->gutter - 1, chosen ? LOOK_WARN : LOOK_DIM, label);
}

static int draw_cells(const struct map *m)
{
    int step = theme_heat_is_halved() ? 2 : 1, row = 0;
    for (int line = 0; line < m->n_lines; line += step, row++) {
        uint64_t upper = sum_pairs(m, line, 0, m->n_experts);
        uint64_t lower = step == 2 && line + 1 < m->n_lines ? sum_pairs(m, line + 1, 0, m->n_experts) : 0;
        draw_line_number(m, m->y + row, line);
        for (int cell = 0; cell < m->n_cells; cell++)
            canvas_heat(m->y + row, m->x + cell * m->width, m->width, cell_level(m, line, cell, upper),
                        cell_level(m, line + 1, cell, lower));
    }
    return row;
}

/* Numbers of experts below, as many as there is room for, and the last. */
static void draw_axis(const struct map *m, int y)
{
    char label[16];
    int last = m->n_experts - 1, n_last = digits(last), every = ceil_div(n_last + 4, m->width);
    int end = m->x + m->n_cells * m->width;
    int x_last = m->expert_group == 1 && m->width >= n_last ? end - m->width : end - n_last;
    for (int cell = 0; cell < m->n_cells; cell += every) {
        int x = m->x + cell * m->width, n = snprintf(label, sizeof label, "%d", cell * m->expert_group);
        if (x + n < x_last)
            canvas_label(y, x, n, LOOK_DIM, label);
    }
    snprintf(label, sizeof label, "%d", last);
    canvas_label(y, x_last >= m->x ? x_last : m->x, n_last, LOOK_DIM, label);
}

/* ---- in words ---- */

static void put_spread(const struct map *m, struct buf *out)
{
    struct prof_spread spread;
    double overlap;
    const struct panel *p = m->p;
    bool one = p->layer >= 0 && p->layer < m->n_layers;
    bool known = one ? prof_spread(m->prof, p->phase, (uint32_t)p->layer, &spread)
                     : prof_spread_mean(m->prof, p->phase, &spread);
    bool followed = p->phase == PROF_DECODE && (one ? prof_overlap(m->prof, (uint32_t)p->layer, &overlap)
                                                    : prof_overlap_mean(m->prof, &overlap));
    if (one)
        buf_printf(out, "layer %d: ", p->layer);
    buf_puts(out, "balance ");
    panel_put_number(out, 4, 2, known ? spread.balance : NAN);
    buf_puts(out, " · entropy ");
    panel_put_number(out, 5, 2, known ? spread.entropy : NAN);
    buf_printf(out, " of %.2f bits · overlap ", log2(m->n_experts));
    panel_put_share(out, 4, 0, followed ? overlap : NAN);
    buf_printf(out, " (chance %.0f%%)", 100.0 * m->prof->shape.n_used / m->n_experts);
}

/* Of a layer who does most, else what the words above mean. */
static void put_details(const struct map *m, struct buf *out)
{
    struct prof_spread spread;
    const struct panel *p = m->p;
    if (p->layer < 0 || p->layer >= m->n_layers) {
        buf_puts(out, "balance: mean / busiest · entropy: −Σ p·log2 p · overlap: with the token before");
        return;
    }
    if (!prof_spread(m->prof, p->phase, (uint32_t)p->layer, &spread)) {
        buf_puts(out, "no token was routed here");
        return;
    }
    const uint64_t *counts = prof_pairs(m->prof, p->phase, (uint32_t)p->layer);
    buf_printf(out, "busiest %u (%.1f%% of the work) · %u of %d never asked", spread.busiest,
               100.0 * (double)counts[spread.busiest] / (double)spread.n_pairs,
               (unsigned)m->n_experts - spread.n_asked, m->n_experts);
}

static void put_heading(const struct map *m, struct buf *out)
{
    buf_puts(out, "layer × expert");
    if (m->layer_group > 1 || m->expert_group > 1)
        buf_printf(out, " · %d×%d in a cell", m->layer_group, m->expert_group);
}

/* "layer × expert · newest ■ · load 0 ▀▀▀▀▀▀▀▀ 4 × mean" */
static void draw_heading(const struct map *m, int y, int x, int columns)
{
    struct buf text = {0};
    int n = theme_heat_levels();
    put_heading(m, &text);
    int used = canvas_label(y, x, columns, LOOK_DIM, buf_text(&text));
    buf_fini(&text);
    if (m->p->phase == PROF_DECODE && used + NEWEST_COLUMNS < columns) {
        used += canvas_label(y, x + used, NEWEST_COLUMNS, LOOK_DIM, " · newest ");
        canvas_heat(y, x + used++, 1, THEME_HEAT_MARK, THEME_HEAT_MARK);
    }
    bool is_short = used + n + 19 > columns;
    if (used + n + (is_short ? 10 : 19) > columns)
        return;
    used += canvas_label(y, x + used, 10, LOOK_DIM, is_short ? " · 0 " : " · load 0 ");
    for (int i = 0; i < n; i++)
        canvas_heat(y, x + used++, 1, i, i);
    canvas_label(y, x + used, 10, LOOK_DIM, is_short ? " 4×" : " 4 × mean");
}

/* The words below the cells, as far as half of the area holds them. */
struct words {
    struct buf spread, details;
    int n_spread, n_details; /* rows */
};

static void find_words(const struct map *m, const struct panel_area *a, struct words *w)
{
    put_spread(m, &w->spread);
    put_details(m, &w->details);
    w->n_spread = panel_draw_pieces(0, 0, a->columns, 0, LOOK_TEXT, w->spread.data);
    w->n_details = panel_draw_pieces(0, 0, a->columns, 0, LOOK_DIM, w->details.data);
    w->n_spread = least(w->n_spread, a->rows >= 8 ? 3 : 1);
    w->n_details = a->rows >= 10 ? w->n_details : 0;
}

static int draw_words(const struct words *w, const struct panel_area *a, int y)
{
    if (w->n_spread > 0)
        y += panel_draw_pieces(y, a->x, a->columns, w->n_spread, LOOK_TEXT, w->spread.data);
    if (w->n_details > 0)
        y += panel_draw_pieces(y, a->x, a->columns, w->n_details, LOOK_DIM, w->details.data);
    return y;
}

static int draw_map(const struct panel *p, const struct panel_area *a)
{
    struct map m = {.p = p, .prof = p->prof, .n_layers = (int)p->prof->shape.n_layers};
    struct words words = {0};
    bool has_heading = a->rows >= 6;
    m.n_experts = (int)p->prof->shape.n_experts;
    find_words(&m, a, &words);
    int rows = a->rows - 1 - has_heading - words.n_spread - words.n_details, y = a->y;
    if (rows >= 1) {
        place_map(&m, a->y + has_heading, a->x, rows, a->columns);
        if (has_heading)
            draw_heading(&m, a->y, a->x, a->columns);
        y = m.y + draw_cells(&m);
        draw_axis(&m, y);
        y = draw_words(&words, a, y + 1);
    }
    buf_fini(&words.spread);
    buf_fini(&words.details);
    return y - a->y;
}

int panel_draw_experts(const struct panel *p, const struct panel_area *area)
{
    if (p->prof->shape.n_experts && p->prof->shape.n_layers)
        return draw_map(p, area);
    canvas_label(area->y, area->x, area->columns, LOOK_DIM, "this model is dense: it has no experts");
    return 1;
}
