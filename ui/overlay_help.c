/* Owns the help page: the list of action.h, keys on the left, and what cannot be seen there. */
#include <string.h>

#include "engine/base/buf.h"
#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/view.h"
#include "ui/wrap.h"

#define MAX_WIDTH 84
#define MAX_KEYS 32

static const struct {
    const char *keys, *help;
} more[] = {
    {"", "On a selected message:"},
    {"Left, Right", "show its other branches"},
    {"Enter, e", "edit it and send it as a new branch, if it is yours"},
    {"r", "answer again, if it is an answer"},
    {"f", "go on in a new chat that begins with all up to there"},
    {"Up, Down, Esc", "select the next one, or none"},
    {"", " "},
    {"Shift-Enter", "new line too, where the terminal reports it"},
    {"Wheel", "scroll three lines"},
    {"Up, Down", "earlier messages, or lines of this one"},
    {"Ctrl-R", "search earlier messages"},
    {"Ctrl-K, Ctrl-U", "delete to the end, to the beginning of the line"},
    {"Ctrl-Y, Ctrl-_", "bring back what was deleted, undo"},
    {"Tab", "complete a command"},
    {"//text", "send /text: a message that begins with a slash"},
    {"Ctrl-Z", "suspend; fg comes back"},
    {"Shift + mouse", "select text with the terminal's own means"},
};
enum { N_MORE = (int)(sizeof more / sizeof *more) };

enum { N_ENTRIES = ACTION_N + 1 + N_MORE }; /* a gap between the two lists */

/* Entry i: what to press or type, and what it does; both empty for the gap. */
static const char *entry_at(int i, struct buf *keys)
{
    if (i == ACTION_N)
        return " ";
    if (i > ACTION_N) {
        buf_puts(keys, more[i - ACTION_N - 1].keys);
        return more[i - ACTION_N - 1].help;
    }
    const struct ui_action_info *info = ui_action_info((enum ui_action)i);
    buf_puts(keys, info->keys);
    if (info->command[0])
        buf_printf(keys, "%s/%s%s%s", keys->len ? ", " : "", info->command, info->hint[0] ? " " : "",
                   info->hint);
    return info->help;
}

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

/* Draws what falls into the window; returns how many rows there are in all. */
static int walk(const struct page *page)
{
    int row = 0;
    for (int i = 0; i < N_ENTRIES; i++) {
        struct buf keys = {0};
        const char *help = entry_at(i, &keys);
        int n_keys = put_column(page, row, page->x, page->n_keys, LOOK_ACCENT, buf_text(&keys));
        int n_help = put_column(page, row, page->x + page->n_keys + 1, page->n_help, LOOK_TEXT, help);
        row += n_help > n_keys ? n_help : n_keys;
        buf_fini(&keys);
    }
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
