/* Owns the conversion of clean UTF-8 to ncurses' cells. */
#include "ui/canvas.h"

#include <string.h>

#include "engine/base/utf8.h"
#include "ui/sanitize.h"

/* One spacing character and its marks. */
static void put_cell(int y, int x, struct theme_look look, const char *text, size_t n)
{
    wchar_t code_points[CCHARW_MAX + 1];
    size_t count = 0;
    for (size_t i = 0; i < n && count < CCHARW_MAX;) {
        uint32_t c;
        i += utf8_decode(text + i, n - i, &c, NULL);
        code_points[count++] = (wchar_t)c;
    }
    code_points[count] = L'\0';
    cchar_t cell;
    if (setcchar(&cell, code_points, look.attributes, look.pair, NULL) == OK)
        mvadd_wch(y, x, &cell);
}

int canvas_text(int y, int x, int max, enum theme_element element, const char *text, size_t n)
{
    struct theme_look look = theme_look(element);
    int used = 0;
    for (size_t i = 0; i < n;) {
        int width;
        size_t k = text_cell(text + i, n - i, &width);
        if (used + width > max)
            break;
        put_cell(y, x + used, look, text + i, k);
        used += width;
        i += k;
    }
    return used;
}

int canvas_label(int y, int x, int max, enum theme_element element, const char *text)
{
    size_t n = strlen(text);
    if (max <= 0)
        return 0;
    if (text_width(text, n) <= (size_t)max)
        return canvas_text(y, x, max, element, text, n);
    int used = canvas_text(y, x, max - 1, element, text, n);
    return used + canvas_text(y, x + used, 1, element, "…", strlen("…"));
}

void canvas_repeat(int y, int x, int n, enum theme_element element, const char *character)
{
    struct theme_look look = theme_look(element);
    for (int i = 0; i < n; i++)
        put_cell(y, x + i, look, character, strlen(character));
}

void canvas_heat(int y, int x, int n, int upper, int lower)
{
    const char *character;
    struct theme_look look = theme_heat(upper, lower, &character);
    for (int i = 0; i < n; i++)
        put_cell(y, x + i, look, character, strlen(character));
}

void canvas_bar(int y, int x, int columns, enum theme_element element, double fraction)
{
    static const char *const eighths[] = {"▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    int n = (int)(fraction * columns * 8 + 0.5);
    canvas_repeat(y, x, n / 8, element, "█");
    if (n % 8 > 0)
        canvas_repeat(y, x + n / 8, 1, element, eighths[n % 8 - 1]);
}

static void box_edge(int y, int x, int width, const char *left, const char *right)
{
    canvas_repeat(y, x, 1, LOOK_RULE, left);
    canvas_repeat(y, x + 1, width - 2, LOOK_RULE, "─");
    canvas_repeat(y, x + width - 1, 1, LOOK_RULE, right);
}

void canvas_box(int y, int x, int height, int width, const char *heading, const char *hint)
{
    int n = (int)text_width(hint, strlen(hint));
    for (int i = 0; i < height; i++) {
        canvas_repeat(y + i, 0, COLS, LOOK_TEXT, " ");
        canvas_repeat(y + i, x, 1, LOOK_RULE, "│");
        canvas_repeat(y + i, x + width - 1, 1, LOOK_RULE, "│");
    }
    box_edge(y, x, width, "╭", "╮");
    box_edge(y + height - 1, x, width, "╰", "╯");
    canvas_repeat(y, x + 3, 1, LOOK_TEXT, " ");
    int used = canvas_label(y, x + 4, width - 9, LOOK_TITLE, heading);
    canvas_repeat(y, x + 4 + used, 1, LOOK_TEXT, " ");
    if (n + 8 > width)
        return;
    canvas_repeat(y + height - 1, x + width - n - 5, n + 2, LOOK_TEXT, " ");
    canvas_label(y + height - 1, x + width - n - 4, n, LOOK_DIM, hint);
}
