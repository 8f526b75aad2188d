/* Owns the view of the layers: a column for each, as high as its time. Where there are more layers than
 * columns, a column is the mean of a few. */
#include <math.h>
#include <stdio.h>

#include "ui/canvas.h"
#include "ui/panel.h"

#define MOST_WIDTH 4 /* of a column, its gap among it */

struct chart {
    const struct panel *p;
    int y, x, rows; /* of the bars */
    int n_layers;
    int group;            /* layers in a column */
    int n_columns, width; /* cells of a column */
    double most;          /* ms of the highest */
};

/* The mean of a column's layers. */
static double column_ms(const struct chart *c, int column)
{
    double sum = 0;
    int n = 0;
    for (int i = column * c->group; i < (column + 1) * c->group && i < c->n_layers; i++, n++)
        sum += panel_layer_ms(c->p->prof, c->p->phase, i);
    return n ? sum / n : NAN;
}

static bool is_chosen(const struct chart *c, int column)
{
    int layer = c->p->layer;
    return layer >= 0 && layer < c->n_layers && layer / c->group == column;
}

static void draw_column(const struct chart *c, int column)
{
    static const char *const eighths[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double ms = column_ms(c, column);
    int n = c->most > 0 && isfinite(ms) ? (int)(ms / c->most * c->rows * 8 + 0.5) : 0;
    int bar = c->width > 2 ? c->width - 1 : c->width;
    enum theme_element look = is_chosen(c, column) ? LOOK_WARN : LOOK_ACCENT;
    if (n == 0 && ms > 0)
        n = 1;
    for (int row = 0; row < c->rows && n > 0; row++, n -= 8)
        canvas_repeat(c->y + c->rows - 1 - row, c->x + column * c->width, bar, look, eighths[n >= 8 ? 8 : n]);
}

/* The number of the chosen layer below its column: on the side where it fits. */
struct mark {
    int x, from, end; /* the arrow, and all of it; end 0: there is none */
    char number[8];
};

static struct mark find_mark(const struct chart *c)
{
    struct mark m = {0};
    int layer = c->p->layer, end = c->x + c->n_columns * c->width;
    if (layer < 0 || layer >= c->n_layers)
        return m;
    int n = snprintf(m.number, sizeof m.number, "%d", layer);
    m.x = c->x + layer / c->group * c->width;
    m.from = m.x + 1 + n <= end ? m.x : m.x - n;
    m.end = m.from + 1 + n;
    return m;
}

/* Columns from one number to the next: round, and with room between them. */
static int axis_step(const struct chart *c)
{
    static const int steps[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    int i = 0;
    while (steps[i] * c->width < 7 && i < 10)
        i++;
    return steps[i];
}

/* The first layer of every few columns, and the chosen one. */
static void draw_axis(const struct chart *c)
{
    char label[16];
    struct mark mark = find_mark(c);
    int y = c->y + c->rows, end = c->x + c->n_columns * c->width;
    for (int column = 0; column < c->n_columns; column += axis_step(c)) {
        int x = c->x + column * c->width, n = snprintf(label, sizeof label, "%d", column * c->group);
        if ((column == 0 || x + n <= end) && (x + n < mark.from || x > mark.end))
            canvas_label(y, x, n, LOOK_DIM, label);
    }
    if (mark.end == 0 || mark.from < c->x)
        return;
    canvas_repeat(y, mark.x, 1, LOOK_WARN, "▲");
    canvas_label(y, mark.from == mark.x ? mark.x + 1 : mark.from, mark.end - mark.from - 1, LOOK_WARN,
                 mark.number);
}

/* ---- in words ---- */

static double group_ms(const struct panel *p, int layer, const enum prof_op *ops, int n)
{
    uint64_t ns = 0;
    for (int i = 0; i < n; i++)
        ns += panel_entry(p->prof, p->phase, layer, ops[i]).ns;
    return p->prof->n_tokens[p->phase] ? (double)ns / 1e6 / (double)p->prof->n_tokens[p->phase] : NAN;
}

/* "layer 12 1.73 ms/tok · attention 0.51 · experts 1.20 · rest 0.02" */
static void put_words(const struct chart *c, struct buf *out)
{
    static const enum prof_op attention[] = {PROF_QKV, PROF_ROPE, PROF_ATTENTION, PROF_O_PROJ};
    static const enum prof_op feed[] = {PROF_FFN,  PROF_ROUTER, PROF_GATE_UP,
                                        PROF_SILU, PROF_DOWN,   PROF_WEIGHTED_SUM};
    const struct panel *p = c->p;
    bool all = p->layer == PANEL_ALL_LAYERS, none = p->layer == c->n_layers;
    double whole = panel_layer_ms(p->prof, p->phase, p->layer);
    double in_attention = group_ms(p, p->layer, attention, 4), in_feed = group_ms(p, p->layer, feed, 6);
    int decimals = panel_decimals(whole);
    if (all)
        buf_puts(out, "a token ");
    else if (none)
        buf_puts(out, "what belongs to no layer ");
    else
        buf_printf(out, "layer %d ", p->layer);
    panel_put_number(out, 0, decimals, whole);
    buf_puts(out, " ms/tok");
    if (none)
        return;
    buf_puts(out, " · attention ");
    panel_put_number(out, 0, decimals, in_attention);
    buf_printf(out, " · %s ", p->prof->shape.n_experts ? "experts" : "ffn");
    panel_put_number(out, 0, decimals, in_feed);
    buf_puts(out, " · rest ");
    panel_put_number(out, 0, decimals, whole - in_attention - in_feed);
}

static void put_scale(const struct chart *c, struct buf *out)
{
    buf_printf(out, "%d layers · ", c->n_layers);
    if (c->group > 1)
        buf_printf(out, "%d in a column, their mean · ", c->group);
    buf_puts(out, "highest ");
    panel_put_number(out, 0, panel_decimals(c->most), c->most > 0 ? c->most : NAN);
    buf_puts(out, " ms/tok");
}

int panel_draw_layers(const struct panel *p, const struct panel_area *area)
{
    struct chart c = {.p = p, .x = area->x, .n_layers = (int)p->prof->shape.n_layers};
    struct buf text = {0};
    if (c.n_layers == 0 || area->rows < 3) {
        canvas_label(area->y, area->x, area->columns, LOOK_DIM, "there are no layers to show");
        return 1;
    }
    put_words(&c, &text);
    int n_words =
        panel_draw_pieces(area->y, area->x, area->columns, area->rows < 6 ? 1 : 2, LOOK_TEXT, text.data);
    int n_scale = area->rows >= n_words + 7 ? 2 : area->rows >= n_words + 5 ? 1 : 0;
    c.group = (c.n_layers + area->columns - 1) / area->columns;
    c.n_columns = (c.n_layers + c.group - 1) / c.group;
    c.width = area->columns / c.n_columns;
    c.width = c.width > MOST_WIDTH ? MOST_WIDTH : c.width;
    for (int i = 0; i < c.n_columns; i++)
        c.most = fmax(c.most, column_ms(&c, i));
    buf_truncate(&text, 0);
    put_scale(&c, &text);
    if (n_scale)
        n_words += panel_draw_pieces(area->y + n_words, area->x, area->columns, n_scale, LOOK_DIM, text.data);
    c.y = area->y + n_words;
    c.rows = area->rows - n_words - 1;
    for (int i = 0; i < c.n_columns; i++)
        draw_column(&c, i);
    draw_axis(&c);
    buf_fini(&text);
    return area->rows;
}
