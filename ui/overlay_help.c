/* Owns the help page: the two lists of action.h, keys on the left. */
#include <string.h>

#include "engine/base/buf.h"
#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/view.h"
#include "ui/wrap.h"

#define MAX_WIDTH 84
#define MAX_KEYS 32

struct page {
    int y, x; /* of the first row */
    int n_keys, n_help;
    int top, rows; /* the window; rows 0: only count */
};

/* One column of an entry from its first row on, wrapped; returns its number of rows. */
static int put_column(const struct page *page, int row, int x, int columns, enum theme_element look,
                      const char *text)
{
    struct wrap wrap = {0};
    wrap_append(&wrap, text, 0, strlen(text), (size_t)columns);
    int n = (int)wrap.n_rows;
    for (int k = 0; k < n; k++) {
        int at = row + k - page->top;
        if (at >= 0 && at < page->rows)
            canvas_text(page->y + at, x, columns, look, text + wrap.rows[k].start, wrap.rows[k].n_bytes);
    }
    wrap_fini(&wrap);
    return n;
}

/* One entry from a row on; returns the row behind it. */
static int put_entry(const struct page *page, int row, const char *keys, const char *help)
{
    int n_keys = put_column(page, row, page->x, page->n_keys, LOOK_ACCENT, keys);
    int n_help = put_column(page, row, page->x + page->n_keys + 1, page->n_help, LOOK_TEXT, help);
    return row + (n_help > n_keys ? n_help : n_keys);
}

/* Draws what falls into the window; returns how many rows there are in all. */
static int walk(const struct page *page)
{
    struct buf text = {0};
    int row = 0;
    for (int i = 0; i < ACTION_N; i++) {
        const struct ui_action_info *info = ui_action_info((enum ui_action)i);
        buf_truncate(&text, 0);
        buf_puts(&text, info->keys);
        if (info->command[0])
            buf_printf(&text, "%s/%s%s%s", text.len ? ", " : "", info->command, info->hint[0] ? " " : "",
                       info->hint);
        row = put_entry(page, row, buf_text(&text), info->help);
    }
    row = put_entry(page, row, "", " ");
    const char *where = "";
    const struct ui_other_key *key;
    for (size_t i = 0; (key = ui_other_key(i)); i++) {
        buf_truncate(&text, 0);
        if (strcmp(key->where, where) != 0) {
            buf_printf(&text, "%s%s", key->where, key->where[0] ? ":" : " ");
            row = put_entry(page, row, "", buf_text(&text));
        }
        where = key->where;
        row = put_entry(page, row, key->keys, key->help);
    }
    buf_fini(&text);
    return row;
}

void overlay_help_draw(struct ui *ui)
{
    int width = ui->columns - 4 > MAX_WIDTH ? MAX_WIDTH : ui->columns - 4;
    int top = ui->overlay_top, most = ui->overlay_end - top;
    struct page page = {.y = top + 1, .x = (ui->columns - width) / 2 + 3};
    page.n_keys = width / 2 - 3 > MAX_KEYS ? MAX_KEYS : width / 2 - 3;
    page.n_help = width - page.n_keys - 7;
    int n_rows = walk(&page), height = n_rows + 2 > most ? most : n_rows + 2;
    page.rows = ui->help_page = height - 2;
    if (ui->help_top > n_rows - page.rows)
        ui->help_top = n_rows - page.rows;
    if (ui->help_top < 0)
        ui->help_top = 0;
    page.top = ui->help_top;
    canvas_box(top, page.x - 3, height, width, "Help",
               n_rows > page.rows ? "PgUp PgDn scroll · Esc closes" : "Esc closes");
    walk(&page);
}
