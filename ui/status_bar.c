/* Owns the last line of the screen and the hairline above the editor, which fills up as a progress bar and
 * carries notices, so that neither needs a row that comes and goes. */
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/view.h"

#define METER_WARN 0.80
#define METER_FULL 0.95
#define SPEED_COLUMNS 10 /* "99.9 tok/s": while a turn runs, words and numbers take the same room */
#define RATE_COLUMNS 5   /* "1,234" */

/* "812", "7.5k", "32k": thousands are 1,024, as context sizes are. */
static void put_tokens(struct buf *out, uint64_t n)
{
    if (n < 1000)
        buf_printf(out, "%u", (unsigned)n);
    else if (n * 10 < 1024 * 99 + 512) /* what does not round to 10.0 */
        buf_printf(out, "%.1fk", (double)n / 1024);
    else
        buf_printf(out, "%uk", (unsigned)((n + 512) / 1024));
}

/* Right-aligned in what total needs, or the largest number below it: what stands behind must not move. */
static void put_tokens_of(struct buf *out, uint64_t n, uint64_t total)
{
    struct buf text = {0};
    put_tokens(&text, total);
    int width = total >= 1000 && text.len < 4 ? 4 : (int)text.len;
    buf_truncate(&text, 0);
    put_tokens(&text, n);
    buf_printf(out, "%*s", width, buf_text(&text));
    buf_fini(&text);
}

static void put_grouped(struct buf *out, uint64_t n)
{
    if (n >= 1000) {
        put_grouped(out, n / 1000);
        buf_printf(out, ",%03u", (unsigned)(n % 1000));
    } else {
        buf_printf(out, "%u", (unsigned)n);
    }
}

static void put_grouped_in(struct buf *out, int width, uint64_t n)
{
    struct buf text = {0};
    put_grouped(&text, n);
    buf_printf(out, "%*s", width, buf_text(&text));
    buf_fini(&text);
}

static const char *byte_unit(uint64_t n, double *scale)
{
    *scale = n >= 1000000000 ? 1e9 : n >= 1000000 ? 1e6 : 1e3;
    return n >= 1000000000 ? "GB" : n >= 1000000 ? "MB" : "kB";
}

static void put_eta(struct buf *out, const struct progress *p)
{
    int seconds = progress_eta_s(p);
    if (seconds >= 120)
        buf_printf(out, " · about %2d min left", (seconds + 30) / 60);
    else if (seconds > 0)
        buf_printf(out, " · about %2d s left", seconds);
}

static void put_loading(struct buf *out, const struct progress *p)
{
    double scale;
    const char *unit = byte_unit(p->total, &scale);
    if (p->total == 0) {
        buf_puts(out, "loading");
        return;
    }
    char total[32];
    int width = snprintf(total, sizeof total, "%.1f", (double)p->total / scale);
    buf_printf(out, "%*.1f of %s %s", width, (double)p->now_done / scale, total, unit);
    double rate = progress_rate(p);
    if (rate > 0) {
        unit = byte_unit((uint64_t)rate, &scale);
        buf_printf(out, " · %5.1f %s/s", rate / scale, unit);
    }
    put_eta(out, p);
}

static void put_prefill(struct buf *out, const struct progress *p, const char *doing)
{
    struct buf total = {0};
    put_grouped(&total, p->total);
    buf_printf(out, "%s ", doing);
    put_grouped_in(out, (int)total.len, p->now_done);
    buf_printf(out, " of %s tokens", buf_text(&total));
    if (progress_rate(p) > 0) {
        buf_puts(out, " · ");
        put_grouped_in(out, RATE_COLUMNS, (uint64_t)(progress_rate(p) + 0.5));
        buf_puts(out, "/s");
    }
    buf_fini(&total);
    put_eta(out, p);
}

/* ---- the status line ---- */

static void put_speed(struct buf *out, const struct ui *ui)
{
    const struct ui_status *s = &ui->status;
    int percent = (int)(progress_fraction(&ui->progress) * 100);
    if (s->phase == UI_LOADING && s->total > 0)
        buf_printf(out, "loading %2d%%", percent);
    else if (s->phase == UI_LOADING)
        buf_puts(out, "loading");
    else if (s->phase == UI_FAILED)
        buf_puts(out, "no model");
    else if (s->phase == UI_PREFILL)
        buf_printf(out, "%-*s", SPEED_COLUMNS, "reading");
    else if (s->tokens_per_s > 0)
        buf_printf(out, "%*.*f tok/s", SPEED_COLUMNS - 6, s->tokens_per_s < 99.95 ? 1 : 0, s->tokens_per_s);
    else if (s->phase == UI_GENERATING)
        buf_printf(out, "%-*s", SPEED_COLUMNS, "answering");
    else
        buf_puts(out, "ready");
}

#define NARROW 100 /* below, everything is said in fewer words */

static const char *hint(const struct ui *ui, int columns)
{
    bool narrow = columns < NARROW;
    if (ui_is_busy(ui) && (edit_is_open(ui) || transcript_selected(ui->transcript) >= 0))
        return "Ctrl-C stop"; /* Esc leaves these first */
    if (ui_is_busy(ui) || ui->status.preparing)
        return narrow ? "Esc stop" : "Esc stop · F1 help";
    return ui->status.phase == UI_LOADING && !narrow ? "Ctrl-C twice quits · F1 help" : "F1 help";
}

/* " · " and the text, if both fit up to end; returns the column behind. Once something did not fit, nothing
 * does. */
static int put_piece(int y, int x, int *end, enum theme_element look, const char *text)
{
    int n = (int)text_width(text, strlen(text)), gap = x > 1 ? 3 : 0;
    if (n == 0)
        return x;
    if (x + gap + n > *end) {
        *end = x;
        return x;
    }
    if (gap)
        canvas_label(y, x, gap, LOOK_DIM, " · ");
    return x + gap + canvas_text(y, x + gap, n, look, text, strlen(text));
}

static void put_context(struct buf *out, const struct ui_status *s, int columns)
{
    put_tokens_of(out, s->ctx_used, s->ctx_max);
    buf_puts(out, columns < NARROW ? "/" : " of ");
    put_tokens(out, s->ctx_max);
}

/* "ctx ███▋······ 7.5k of 32k": the number always comes with the bar. */
static int put_meter(const struct ui *ui, int y, int x, int *end, int columns)
{
    const struct ui_status *s = &ui->status;
    if (s->ctx_max == 0)
        return x;
    double fraction = (double)s->ctx_used / s->ctx_max;
    enum theme_element look = fraction >= METER_FULL   ? LOOK_ERROR
                              : fraction >= METER_WARN ? LOOK_WARN
                                                       : LOOK_ACCENT;
    struct buf numbers = {0};
    put_context(&numbers, s, columns);
    int n_bar = columns >= NARROW ? 16 : 8, n = (int)numbers.len;
    int room = *end - x - 3 - 4 - n - 1,
        n_hint = (int)text_width(hint(ui, columns), strlen(hint(ui, columns)));
    x = put_piece(y, x, end, LOOK_DIM, room >= 0 ? "ctx" : buf_text(&numbers));
    if (room >= n_bar + 2 + n_hint) {
        canvas_repeat(y, x + 1, n_bar, LOOK_RULE, "·");
        canvas_bar(y, x + 1, n_bar, look, fraction);
        x += n_bar + 1;
    }
    if (room >= 0)
        x += 1 + canvas_text(y, x + 1, n, look == LOOK_ACCENT ? LOOK_DIM : look, numbers.data, numbers.len);
    buf_fini(&numbers);
    return x;
}

static int piece_columns(const char *text)
{
    return text[0] ? (int)text_width(text, strlen(text)) + 3 : 0;
}

/* Columns left for the backend and for whether the model thinks. The backend gives way first: it never
 * changes, and the hint is worth more. */
static int room_for_extras(const struct ui *ui, const struct buf *speed, int columns)
{
    struct buf numbers = {0};
    if (ui->status.ctx_max > 0)
        put_context(&numbers, &ui->status, columns);
    int meter = ui->status.ctx_max > 0 ? 3 + 4 + (columns >= NARROW ? 17 : 9) + (int)numbers.len : 0;
    int n = 1 + piece_columns(ui->status.model) + (int)speed->len + meter + 2 +
            piece_columns(hint(ui, columns)) - 3 + 1;
    buf_fini(&numbers);
    return columns - n;
}

void status_bar_draw(const struct ui *ui, int y, int columns)
{
    struct buf speed = {0};
    int end = columns - 1;
    put_speed(&speed, ui);
    int x = put_piece(y, 1, &end, LOOK_TEXT, ui->status.model);
    int room = room_for_extras(ui, &speed, columns), n_think = piece_columns(ui->status.think);
    if (room >= piece_columns(ui->status.backend) + n_think)
        x = put_piece(y, x, &end, LOOK_DIM, ui->status.backend);
    if (room >= n_think)
        x = put_piece(y, x, &end, LOOK_DIM, ui->status.think);
    x = put_piece(y, x, &end, ui->status.phase == UI_FAILED ? LOOK_ERROR : LOOK_TEXT, buf_text(&speed));
    x = put_meter(ui, y, x, &end, columns);
    if (ui->status.queued)
        x = put_piece(y, x, &end, LOOK_WARN, "1 message waits");
    const char *text = hint(ui, columns);
    int n = (int)text_width(text, strlen(text));
    if (end == columns - 1 && x + 2 + n <= end)
        canvas_label(y, end - n, n, LOOK_DIM, text);
    buf_fini(&speed);
}

/* ---- the hairline ---- */

static void put_candidates(struct buf *out, const struct editor_view *view)
{
    for (int i = 0; i < view->n_candidates; i++)
        buf_printf(out, "%s%s", i ? "  " : "", view->candidates[i]);
}

/* What the left of the line says: the editor's own matters, a notice, or what the keys mean now. */
static enum theme_element rule_text(const struct ui *ui, const struct editor_view *view, int room,
                                    struct buf *out)
{
    if (view->prompt[0] || view->searching) {
        buf_printf(out, "%s%s", view->prompt, view->searching && !view->found ? "  (no match)" : "");
        return LOOK_ACCENT;
    }
    if (view->n_candidates > 0) {
        put_candidates(out, view);
        return LOOK_ACCENT;
    }
    if (ui->notice && ui->notice_window.rows == 0) {
        buf_printf(out, "%s%s", ui->notice_is_error ? "! " : "", ui->notice);
        return ui->notice_is_error ? LOOK_ERROR : LOOK_ACCENT;
    }
    if (transcript_selected(ui->transcript) >= 0)
        tree_hint(ui, room, out);
    else if (edit_is_open(ui))
        edit_hint(ui, room, out);
    else if (ui->panel.open && ui->panel_form == PANEL_NONE)
        buf_puts(out, PANEL_TOO_SMALL);
    return LOOK_ACCENT;
}

static void put_inset(int y, int x, int max, enum theme_element look, const char *text)
{
    canvas_repeat(y, x, 1, LOOK_TEXT, " ");
    int used = canvas_label(y, x + 1, max - 2, look, text);
    canvas_repeat(y, x + 1 + used, 1, LOOK_TEXT, " ");
}

/* How far the reader is from the end, quietly on the right. */
static void new_rows_text(struct ui *ui, struct buf *out)
{
    size_t n_new = transcript_n_new(ui->transcript);
    if (notice_hint(ui)[0])
        buf_puts(out, notice_hint(ui));
    else if (transcript_has_more(ui->transcript) && n_new > 0)
        buf_printf(out, "↓ %zu new line%s · Ctrl-End", n_new, n_new == 1 ? "" : "s");
    else if (transcript_has_more(ui->transcript))
        buf_puts(out, "↓ more · Ctrl-End");
}

/* Returns the column where it begins. */
static int put_new_rows(struct ui *ui, int y, int columns)
{
    struct buf text = {0};
    new_rows_text(ui, &text);
    int n = (int)text_width(buf_text(&text), text.len), x = n > 0 ? columns - n - 4 : 0;
    if (x > 4)
        put_inset(y, x, n + 2, LOOK_ACCENT, text.data);
    buf_fini(&text);
    return x > 4 ? x : columns;
}

static void bar_text(const struct ui *ui, struct buf *out)
{
    bool loading = ui->status.phase == UI_LOADING && !transcript_is_empty(ui->transcript);
    if (loading)
        put_loading(out, &ui->progress);
    else if (ui->status.phase == UI_PREFILL && ui->status.total > 0)
        put_prefill(out, &ui->progress, "reading");
    else if (ui->status.preparing)
        put_prefill(out, &ui->progress, "preparing");
}

/* The line itself, filled as far as the work is done; the numbers stand at its right end. */
static void put_bar(const struct ui *ui, int y, int columns)
{
    struct buf text = {0};
    bar_text(ui, &text);
    if (text.len > 0) {
        int n = (int)text_width(text.data, text.len), room = columns - n - 4;
        int x = room > 4 ? room : 4;
        canvas_repeat(y, 0, (int)(progress_fraction(&ui->progress) * x), LOOK_ACCENT, "━");
        put_inset(y, x, columns - x - 1, LOOK_DIM, text.data);
    }
    buf_fini(&text);
}

int rule_room(struct ui *ui, int columns)
{
    struct buf text = {0};
    int room = columns - 8;
    bar_text(ui, &text);
    if (text.len > 0)
        room -= (int)text_width(text.data, text.len) + 4;
    buf_truncate(&text, 0);
    new_rows_text(ui, &text);
    if (text.len > 0)
        room -= (int)text_width(text.data, text.len) + 4;
    buf_fini(&text);
    return room;
}

void rule_draw(struct ui *ui, const struct editor_view *view, int y, int columns)
{
    struct buf text = {0};
    canvas_repeat(y, 0, columns, LOOK_RULE, "─");
    int end = put_new_rows(ui, y, columns);
    put_bar(ui, y, end);
    enum theme_element look = rule_text(ui, view, end - 6, &text);
    if (text.len > 0)
        put_inset(y, 2, end - 4, look, text.data);
    buf_fini(&text);
}

/* ---- the page that is there before the first chat ---- */

void loading_draw(const struct ui *ui, const struct ui_layout *layout)
{
    int width = layout->text_columns - 16 > 64 ? 64 : layout->text_columns - 16;
    int x = (layout->text_columns - width) / 2,
        y = layout->text_y + (layout->text_rows > 8 ? layout->text_rows / 2 - 3 : 0);
    struct buf line = {0};
    if (layout->text_rows < 6)
        return;
    buf_printf(&line, "Loading %s", ui->status.model);
    canvas_label(y, x, width, LOOK_TITLE, line.data);
    canvas_repeat(y + 2, x, width, LOOK_RULE, "·");
    canvas_bar(y + 2, x, width, LOOK_ACCENT, progress_fraction(&ui->progress));
    buf_truncate(&line, 0);
    buf_printf(&line, "%d%%", (int)(progress_fraction(&ui->progress) * 100));
    int used = canvas_label(y + 3, x, width, LOOK_TEXT, line.data);
    buf_truncate(&line, 0);
    put_loading(&line, &ui->progress);
    int n = (int)text_width(line.data, line.len), room = width - used - 2;
    canvas_label(y + 3, n <= room ? x + width - n : x + used + 2, room, LOOK_DIM, line.data);
    canvas_label(y + 5, x, width, LOOK_DIM,
                 ui->status.queued ? "Your message is sent when the model is ready."
                                   : "You can already write. It is sent when ready.");
    buf_fini(&line);
}
