/* Owns the picture of a notice. One that is short stands in the hairline (status_bar.c); a sentence that does
 * not fit there gets rows of its own above the hairline, and pages where even those are too few. */
#include <string.h>

#include "engine/base/buf.h"
#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/view.h"
#include "ui/wrap.h"

#define MARK_COLUMNS 2 /* "! " before an error; the rows below stand under the text */
#define LEAST_ROWS 6   /* a window so low that a third of it is less gives this many, if it has them */

static int text_x(const struct ui *ui)
{
    return ui->columns < UI_COMPACT_COLUMNS ? 1 : 2;
}

static int mark_columns(const struct ui *ui)
{
    return ui->notice_is_error ? MARK_COLUMNS : 0;
}

static void wrap_notice(const struct ui *ui, struct wrap *wrap)
{
    int room = ui->columns - 2 * text_x(ui) - mark_columns(ui);
    wrap_append(wrap, ui->notice, 0, strlen(ui->notice), (size_t)room);
}

int notice_place(struct ui *ui, int rule_room, int text_rows)
{
    struct notice_window *w = &ui->notice_window;
    w->rows = w->n_rows = 0;
    if (!ui->notice || mark_columns(ui) + (int)text_width(ui->notice, strlen(ui->notice)) <= rule_room)
        return 0;
    struct wrap wrap = {0};
    wrap_notice(ui, &wrap);
    int most = ui->rows / 3 > LEAST_ROWS ? ui->rows / 3 : LEAST_ROWS;
    most = most > text_rows ? text_rows : most;
    w->n_rows = (int)wrap.n_rows;
    w->rows = w->n_rows < most ? w->n_rows : most;
    if (w->top + w->rows > w->n_rows) /* the window has grown */
        w->top = w->n_rows - w->rows;
    wrap_fini(&wrap);
    return w->rows;
}

static bool has_more(const struct notice_window *w)
{
    return w->rows > 0 && w->top + w->rows < w->n_rows;
}

bool notice_page(struct ui *ui, int direction)
{
    struct notice_window *w = &ui->notice_window;
    if (!ui->notice || w->rows == 0 || (direction > 0 ? !has_more(w) : w->top == 0))
        return false;
    w->top += direction * w->rows;
    w->top = w->top < 0 ? 0 : w->top;
    return true;
}

const char *notice_hint(const struct ui *ui)
{
    const struct notice_window *w = &ui->notice_window;
    return has_more(w) ? "PgDn the rest" : w->top > 0 ? "PgUp the beginning" : "";
}

void notice_draw(const struct ui *ui, int y)
{
    const struct notice_window *w = &ui->notice_window;
    enum theme_element look = ui->notice_is_error ? LOOK_ERROR : LOOK_ACCENT;
    struct wrap wrap = {0};
    int x = text_x(ui);
    if (w->rows == 0)
        return;
    wrap_notice(ui, &wrap);
    for (int i = 0; i < w->rows; i++) {
        size_t row = (size_t)(w->top + i);
        canvas_repeat(y + i, 0, ui->columns, LOOK_TEXT, " ");
        if (row == 0 && ui->notice_is_error)
            canvas_label(y, x, 1, look, "!");
        if (row < wrap.n_rows)
            canvas_text(y + i, x + mark_columns(ui), ui->columns - x - mark_columns(ui), look,
                        ui->notice + wrap.rows[row].start, wrap.rows[row].n_bytes);
    }
    wrap_fini(&wrap);
}
