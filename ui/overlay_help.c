/* Owns the help page: the list of action.h, keys on the left, and what cannot be seen there. */
#include <string.h>

#include "engine/base/buf.h"
#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/view.h"

#define MAX_WIDTH 84
#define MAX_KEYS 32

static const struct {
    const char *keys, *help;
} more[] = {
    {"Wheel", "scroll three lines"},
    {"Up, Down", "earlier messages, or lines of this one"},
    {"Ctrl-R", "search earlier messages"},
    {"Tab", "complete a command"},
    {"//text", "send a message that begins with a slash"},
    {"Ctrl-Z", "suspend; fg comes back"},
    {"Shift + mouse", "select text with the terminal's own means"},
};
enum { N_MORE = (int)(sizeof more / sizeof *more) };

static int n_lines(void)
{
    return ACTION_N + 1 + N_MORE;
}

/* Line i: what to press or type, and what it does; both empty for the gap. */
static void line_at(int i, struct buf *keys, const char **help)
{
    *help = "";
    if (i < ACTION_N) {
        const struct ui_action_info *info = ui_action_info((enum ui_action)i);
        buf_puts(keys, info->keys);
        if (info->command[0])
            buf_printf(keys, "%s/%s%s%s", keys->len ? ", " : "", info->command, info->hint[0] ? " " : "",
                       info->hint);
        *help = info->help;
    } else if (i > ACTION_N) {
        buf_puts(keys, more[i - ACTION_N - 1].keys);
        *help = more[i - ACTION_N - 1].help;
    }
}

void overlay_help_draw(struct ui *ui)
{
    int width = ui->columns - 4 > MAX_WIDTH ? MAX_WIDTH : ui->columns - 4;
    int most = ui->rows - 4, height = n_lines() + 2 > most ? most : n_lines() + 2;
    int y = ui->rows < UI_COMPACT_ROWS ? 0 : 2, x = (ui->columns - width) / 2;
    int n_keys = width / 2 - 3 > MAX_KEYS ? MAX_KEYS : width / 2 - 3;
    ui->help_page = height - 2;
    int last = n_lines() - ui->help_page;
    if (ui->help_top > last)
        ui->help_top = last;
    if (ui->help_top < 0)
        ui->help_top = 0;
    canvas_box(y, x, height, width, "Help", last > 0 ? "PgUp PgDn scroll · Esc closes" : "Esc closes");
    for (int i = 0; i < ui->help_page && ui->help_top + i < n_lines(); i++) {
        struct buf keys = {0};
        const char *help;
        line_at(ui->help_top + i, &keys, &help);
        canvas_label(y + 1 + i, x + 3, n_keys, LOOK_ACCENT, buf_text(&keys));
        canvas_label(y + 1 + i, x + 3 + n_keys + 1, width - n_keys - 7, LOOK_TEXT, help);
        buf_fini(&keys);
    }
}
