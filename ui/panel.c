/* Owns what the panel is set to, where it stands, and its frame; the parts draw what is in it. */
#include "ui/panel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/wrap.h"

#define STRIP_PERCENT 40
#define SIDE_PERCENT 46
#define LEAST_PERCENT 20
#define MOST_PERCENT 70
#define STEP_PERCENT 5

#define SIDE_FROM_COLUMNS 100 /* narrower screens have a strip */
#define SIDE_LEAST_COLUMNS 40
#define SIDE_CHAT_COLUMNS 48 /* stay for the conversation */
#define SIDE_LEAST_ROWS 8
#define STRIP_LEAST_COLUMNS 60
#define STRIP_LEAST_ROWS 6
#define STRIP_CHAT_ROWS 4
#define CHART_ROWS 16      /* of the layers below the operations, at most */
#define SECOND_PART_ROWS 8 /* below the operations, where as many are left */

/* ---- state ---- */

void panel_fini(struct panel *p)
{
    prof_free(p->held);
    *p = (struct panel){0};
}

/* Another model may have another number of layers. */
static void keep_layer(struct panel *p)
{
    int n = p->prof ? (int)p->prof->shape.n_layers : p->n_layers;
    if (n == p->n_layers)
        return;
    if (p->layer == p->n_layers)
        p->layer = n;
    else if (p->layer >= n)
        p->layer = PANEL_ALL_LAYERS;
    p->n_layers = n;
}

void panel_set(struct panel *p, const struct prof *prof, double read_gb_s, const char *title)
{
    p->prof = prof;
    p->read_gb_s = read_gb_s;
    text_copy(p->title, sizeof p->title, title);
    keep_layer(p);
}

void panel_next_view(struct panel *p)
{
    p->view = (p->view + 1) % PANEL_N_VIEWS;
}

void panel_next_phase(struct panel *p)
{
    p->phase = p->phase == PROF_DECODE ? PROF_PREFILL : PROF_DECODE;
}

/* All layers, the first to the last one, what belongs to none, and around. */
void panel_step_layer(struct panel *p, int step)
{
    int n = p->prof ? (int)p->prof->shape.n_layers + 2 : 1;
    p->layer = (p->layer + 1 + step + n) % n - 1;
}

void panel_resize(struct panel *p, enum panel_form form, int step)
{
    int *percent = form == PANEL_SIDE ? &p->side_percent : &p->strip_percent;
    int now = *percent ? *percent : form == PANEL_SIDE ? SIDE_PERCENT : STRIP_PERCENT;
    now += step * STEP_PERCENT;
    *percent = now < LEAST_PERCENT ? LEAST_PERCENT : now > MOST_PERCENT ? MOST_PERCENT : now;
}

bool panel_hold(struct panel *p)
{
    if (p->held) {
        prof_free(p->held);
        p->held = NULL;
        return true;
    }
    p->held = p->prof ? prof_new(&p->prof->shape, NULL) : NULL;
    if (!p->held)
        return false;
    prof_copy(p->held, p->prof);
    memcpy(p->held_title, p->title, sizeof p->held_title);
    p->view = PANEL_OPS;
    return true;
}

static bool is_word(const char *word, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(word, name, n) == 0;
}

static bool choose_layer(struct panel *p, const char *word, size_t n)
{
    int layer = 0;
    for (size_t i = 0; i < n; i++) {
        if (word[i] < '0' || word[i] > '9' || layer > PROF_MAX_LAYERS)
            return false;
        layer = layer * 10 + (word[i] - '0');
    }
    if (!p->prof || layer >= (int)p->prof->shape.n_layers)
        return false;
    p->layer = layer;
    return true;
}

bool panel_command(struct panel *p, const char *word, size_t n)
{
    if (is_word(word, n, "ops"))
        p->view = PANEL_OPS;
    else if (is_word(word, n, "layers"))
        p->view = PANEL_LAYERS;
    else if (is_word(word, n, "experts"))
        p->view = PANEL_EXPERTS;
    else if (is_word(word, n, "prefill"))
        p->phase = PROF_PREFILL;
    else if (is_word(word, n, "decode"))
        p->phase = PROF_DECODE;
    else if (is_word(word, n, "all"))
        p->layer = PANEL_ALL_LAYERS;
    else
        return choose_layer(p, word, n);
    return true;
}

/* ---- geometry ---- */

static int clamp(int value, int least, int most)
{
    return value > most ? most : value < least ? least : value;
}

struct panel_place panel_place(const struct panel *p, int columns, int room_rows)
{
    struct panel_place place = {0};
    int side = p->side_percent ? p->side_percent : SIDE_PERCENT;
    int strip = p->strip_percent ? p->strip_percent : STRIP_PERCENT;
    if (!p->open)
        return place;
    if (columns >= SIDE_FROM_COLUMNS && room_rows >= SIDE_LEAST_ROWS) {
        place.form = PANEL_SIDE;
        place.columns = clamp(columns * side / 100, SIDE_LEAST_COLUMNS, columns - SIDE_CHAT_COLUMNS);
    } else if (columns >= STRIP_LEAST_COLUMNS && room_rows >= STRIP_LEAST_ROWS + STRIP_CHAT_ROWS) {
        place.form = PANEL_STRIP;
        place.rows = clamp((room_rows + PANEL_OTHER_ROWS) * strip / 100, STRIP_LEAST_ROWS,
                           room_rows - STRIP_CHAT_ROWS);
    }
    return place;
}

/* ---- the frame ---- */

static const char separator[] = " · ";

/* Bytes of the pieces that fit into one row: at least one. */
static size_t row_of_pieces(const char *text, int columns)
{
    size_t n = strlen(text), fits = 0;
    while (fits < n) {
        const char *next = strstr(text + fits + (fits ? strlen(separator) : 0), separator);
        size_t end = next ? (size_t)(next - text) : n;
        if (fits > 0 && (columns < 0 || text_width(text, end) > (size_t)columns))
            break;
        fits = end;
    }
    return fits;
}

static const char *next_view_name(const struct panel *p)
{
    static const char *const names[PANEL_N_VIEWS] = {"ops", "layers", "experts"};
    return names[(p->view + 1) % PANEL_N_VIEWS];
}

/* "decode · layer 12 · this answer": as much of it as fits. */
static void put_subject(const struct panel *p, struct buf *out)
{
    buf_puts(out, prof_phase_name(p->phase));
    if (p->layer != PANEL_ALL_LAYERS && p->layer < p->n_layers)
        buf_printf(out, " · layer %d", p->layer);
    else if (p->layer != PANEL_ALL_LAYERS)
        buf_puts(out, " · no layer");
    if (p->prof && p->title[0])
        buf_printf(out, " · %s", p->title);
}

static void put_hint(const struct panel *p, int room, struct buf *out)
{
    buf_printf(out, "F2 close · F3 %s · F4 %s · F5 %s · F6 F7 size", next_view_name(p),
               prof_phase_name(p->phase == PROF_DECODE ? PROF_PREFILL : PROF_DECODE),
               p->held ? "let go" : "compare");
    buf_truncate(out, row_of_pieces(out->data, room));
    if (room < 0 || text_width(out->data, out->len) > (size_t)room)
        buf_truncate(out, 0);
}

static int inset(int y, int x, int max, enum theme_element look, const char *text)
{
    if (max < 3)
        return 0;
    canvas_repeat(y, x, 1, LOOK_TEXT, " ");
    int used = canvas_label(y, x + 1, max - 2, look, text);
    canvas_repeat(y, x + 1 + used, 1, LOOK_TEXT, " ");
    return used + 2;
}

/* "── profile · decode · this answer ──────── F2 close · F3 layers ──" */
static void draw_strip_title(const struct panel *p, const struct panel_area *a)
{
    struct buf subject = {0}, hint = {0};
    buf_puts(&subject, "profile · ");
    put_subject(p, &subject);
    put_hint(p, a->columns - (int)text_width(subject.data, subject.len) - 12, &hint);
    int n_hint = (int)text_width(hint.data, hint.len);
    canvas_repeat(a->y, a->x, a->columns, LOOK_RULE, "─");
    int end = n_hint > 0 ? a->columns - n_hint - 4 : a->columns - 2;
    inset(a->y, a->x + 2, end - 4, LOOK_TITLE, subject.data);
    if (n_hint > 0)
        inset(a->y, a->x + end, n_hint + 2, LOOK_DIM, hint.data);
    buf_fini(&subject);
    buf_fini(&hint);
}

static void draw_side_frame(const struct panel *p, const struct panel_area *a)
{
    struct buf text = {0};
    for (int i = 0; i < a->rows; i++)
        canvas_repeat(a->y + i, a->x, 1, LOOK_RULE, "│");
    int used = canvas_label(a->y, a->x + 2, a->columns - 3, LOOK_TITLE, "Profile");
    put_subject(p, &text);
    canvas_label(a->y, a->x + 2 + used + 2, a->columns - used - 5, LOOK_DIM, buf_text(&text));
    buf_truncate(&text, 0);
    put_hint(p, a->columns - 3, &text);
    canvas_label(a->y + a->rows - 1, a->x + 2, a->columns - 3, LOOK_DIM, buf_text(&text));
    buf_fini(&text);
}

/* ---- what is in it ---- */

int panel_draw_pieces(int y, int x, int columns, int rows, enum theme_element look, const char *text)
{
    int row = 0;
    for (; *text && (rows == 0 || row < rows); row++) {
        size_t n = row_of_pieces(text, columns);
        if (rows > 0)
            canvas_text(y + row, x, columns, look, text, n);
        text += n;
        text += *text ? strlen(separator) : 0;
    }
    return row;
}

#define RECENT_LEVELS 8

/* The newest tokens of this turn whose times are known. */
static int n_recent(const struct prof *p, int most)
{
    uint64_t n = p->n_recent < PROF_RECENT ? p->n_recent : PROF_RECENT;
    n = n < p->n_tokens[PROF_DECODE] ? n : p->n_tokens[PROF_DECODE];
    return n < (uint64_t)most ? (int)n : most;
}

static double rate_of(const struct prof *p, uint64_t token)
{
    uint32_t us = p->recent_us[token % PROF_RECENT];
    return us ? 1e6 / us : 0;
}

void panel_draw_speed(const struct panel *p, int y, int x, int columns)
{
    static const char *const eighths[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    int n = n_recent(p->prof, columns);
    uint64_t first = p->prof->n_recent - (uint64_t)n;
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, rate_of(p->prof, first + (uint64_t)i));
    for (int i = 0; i < n; i++) {
        double rate = rate_of(p->prof, first + (uint64_t)i);
        int level = most > 0 ? (int)(rate / most * RECENT_LEVELS + 0.5) : 0;
        if (rate > 0)
            canvas_repeat(y, x + i, 1, LOOK_ACCENT, eighths[clamp(level, 1, RECENT_LEVELS) - 1]);
    }
}

/* " tok/s  11.8  ▅▄▅▆" and " timing 0.2% · memory reads 41.2 GB/s": where there is room for them. */
static int draw_footer(const struct panel *p, const struct panel_area *a)
{
    struct buf text = {0};
    if (a->rows < 2)
        return 0;
    buf_printf(&text, "%-12s", "tokens/s");
    panel_put_number(&text, 8, panel_per_s(p->prof, p->phase) < 1000 ? 1 : 0, panel_per_s(p->prof, p->phase));
    int used = canvas_text(a->y, a->x, a->columns, LOOK_TEXT, text.data, text.len);
    if (p->phase == PROF_DECODE && a->columns - used > 4)
        panel_draw_speed(p, a->y, a->x + used + 2, a->columns - used - 2);
    buf_truncate(&text, 0);
    buf_puts(&text, "the timers took ");
    uint64_t cost = prof_cost_ns(p->prof, p->phase), wall = p->prof->wall_ns[p->phase];
    panel_put_share(&text, 0, 2, cost && wall ? (double)cost / (double)wall : NAN);
    buf_puts(&text, " · memory reads ");
    panel_put_number(&text, 0, 1, p->read_gb_s > 0 ? p->read_gb_s : NAN);
    buf_puts(&text, " GB/s");
    int n = panel_draw_pieces(a->y + 1, a->x, a->columns, a->rows - 1, LOOK_DIM, text.data);
    buf_fini(&text);
    return 1 + n;
}

static void skip(struct panel_area *a, int rows)
{
    a->y += rows;
    a->rows -= rows;
}

/* On a tall side the operations leave room for the map, or the layers of a model without experts. */
static void draw_side_parts(const struct panel *p, struct panel_area a)
{
    if (p->view == PANEL_EXPERTS) {
        panel_draw_experts(p, &a);
        return;
    }
    if (p->view == PANEL_LAYERS) {
        struct panel_area chart = a;
        chart.rows = a.rows > 2 * SECOND_PART_ROWS ? a.rows * 2 / 5 : a.rows;
        skip(&a, panel_draw_layers(p, &chart) + 1);
        if (a.rows >= SECOND_PART_ROWS)
            panel_draw_ops(p, &a, true);
        return;
    }
    skip(&a, panel_draw_ops(p, &a, false));
    skip(&a, 1);
    if (a.rows >= 2 && !p->held)
        skip(&a, draw_footer(p, &a) + 1);
    if (a.rows < SECOND_PART_ROWS)
        return;
    if (p->prof->shape.n_experts) {
        panel_draw_experts(p, &a);
        return;
    }
    a.rows = clamp(a.rows, 0, CHART_ROWS);
    panel_draw_layers(p, &a);
}

static void draw_strip_part(const struct panel *p, const struct panel_area *a)
{
    if (p->view == PANEL_EXPERTS)
        panel_draw_experts(p, a);
    else if (p->view == PANEL_LAYERS)
        panel_draw_layers(p, a);
    else
        panel_draw_ops(p, a, true);
}

static void draw_sentence(const struct panel_area *a, const char *text)
{
    struct wrap wrap = {0};
    wrap_append(&wrap, text, 0, strlen(text), (size_t)a->columns);
    for (int i = 0; i < (int)wrap.n_rows && i < a->rows; i++)
        canvas_text(a->y + i, a->x, a->columns, LOOK_DIM, text + wrap.rows[i].start, wrap.rows[i].n_bytes);
    wrap_fini(&wrap);
}

void panel_draw(const struct panel *p, enum panel_form form, const struct panel_area *area)
{
    bool side = form == PANEL_SIDE;
    struct panel_area inner = {.y = area->y + (side ? 2 : 1),
                               .x = area->x + 2,
                               .rows = area->rows - (side ? 4 : 1),
                               .columns = area->columns - 3};
    if (side)
        draw_side_frame(p, area);
    else
        draw_strip_title(p, area);
    if (!p->prof)
        draw_sentence(&inner, p->title);
    else if (side)
        draw_side_parts(p, inner);
    else
        draw_strip_part(p, &inner);
}
