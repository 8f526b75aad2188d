/* Owns the picture of the list overlay: a box over the transcript, two rows per entry where there is room. */
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/view.h"

#define MAX_WIDTH 72
#define HEAD_ROWS 2 /* the filter and the line below it */

struct frame {
    int y, x, height, width;
    int entry_rows;
};

static struct frame make_frame(const struct ui *ui)
{
    struct frame f = {.width = ui->columns - 4 > MAX_WIDTH ? MAX_WIDTH : ui->columns - 4};
    f.y = ui->overlay_top;
    int most = ui->overlay_end - f.y;
    f.entry_rows = most >= 12 ? 2 : 1;
    f.height = ui->list.n_rows * f.entry_rows + HEAD_ROWS + 2;
    if (f.height > most)
        f.height = most;
    if (f.height < HEAD_ROWS + 3)
        f.height = HEAD_ROWS + 3;
    f.x = (ui->columns - f.width) / 2;
    return f;
}

/* The filter and the count; returns the column behind the filter, where the cursor stands. */
static int draw_head(const struct list *list, const struct frame *f)
{
    char count[48];
    snprintf(count, sizeof count, "%d of %d", list->n_shown, list->n_rows);
    int n = (int)strlen(count), x = f->x + 3, right = f->x + f->width - 3;
    canvas_text(f->y + 1, right - n, n, LOOK_DIM, count, (size_t)n);
    x += canvas_label(f->y + 1, x, 8, LOOK_DIM, "search  ");
    const char *filter = buf_text(&list->filter);
    size_t len = list->filter.len;
    int room = right - n - 2 - x;
    while (len > 0 && (int)text_width(filter, len) > room) {
        size_t k = text_cell(filter, len, NULL);
        filter += k;
        len -= k;
    }
    x += canvas_text(f->y + 1, x, room, LOOK_TEXT, filter, len);
    canvas_repeat(f->y + 2, f->x + 3, f->width - 6, LOOK_RULE, "╌");
    return x;
}

static void draw_entry(const struct list *list, const struct frame *f, int y, int i)
{
    const struct list_row *row = &list->rows[list->shown[i]];
    bool selected = i == list->selected;
    int x = f->x + 5, width = f->width - 8;
    if (selected)
        canvas_repeat(y, f->x + 3, 1, LOOK_ACCENT, "▌");
    int used = canvas_label(y, x, width, selected ? LOOK_SELECTED : LOOK_TEXT, row->title);
    if (f->entry_rows == 2) {
        canvas_label(y + 1, x, width, LOOK_DIM, row->detail);
    } else if (used + 4 < width) {
        int n = (int)text_width(row->detail, strlen(row->detail)), room = width - used - 2;
        canvas_label(y, n <= room ? x + width - n : x + used + 2, room, LOOK_DIM, row->detail);
    }
}

/* The question takes the place of the hint, cut in the title if need be. */
static void put_question(const struct list *list, const struct frame *f, struct buf *out)
{
    static const char tail[] = "\"? y deletes · other keys keep it";
    const char *title = list->rows[list->shown[list->selected]].title;
    int room = f->width - 10 - (int)text_width(tail, sizeof tail - 1) - (int)strlen("Delete \"");
    size_t fits = room > 0 ? text_fit(title, strlen(title), (size_t)room) : 0;
    if (room < 4)
        buf_puts(out, "Delete it? y: yes");
    else
        buf_printf(out, "Delete \"%.*s%s", (int)fits, title, tail);
}

bool overlay_list_draw(struct ui *ui, int *y, int *x)
{
    struct list *list = &ui->list;
    struct frame f = make_frame(ui);
    struct buf hint = {0};
    list->page = (f.height - HEAD_ROWS - 2) / f.entry_rows;
    if (list->selected < list->top)
        list->top = list->selected;
    if (list->selected >= list->top + list->page)
        list->top = list->selected - list->page + 1;
    if (list->confirming)
        put_question(list, &f, &hint);
    else
        buf_puts(&hint, f.width >= 50 ? "Enter open · F8 delete · type to filter · Esc"
                                      : "Enter open · F8 delete · Esc");
    canvas_box(f.y, f.x, f.height, f.width, list->heading, buf_text(&hint));
    *y = f.y + 1;
    *x = draw_head(list, &f);
    for (int i = 0; i < list->page && list->top + i < list->n_shown; i++)
        draw_entry(list, &f, f.y + 1 + HEAD_ROWS + i * f.entry_rows, list->top + i);
    if (list->n_shown == 0)
        canvas_label(f.y + 1 + HEAD_ROWS, f.x + 5, f.width - 8, LOOK_DIM,
                     list->n_rows == 0 ? "nothing here yet" : "nothing matches");
    buf_fini(&hint);
    return !list->confirming;
}
