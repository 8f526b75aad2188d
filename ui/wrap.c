/* Owns line breaking. One pass over the cells of a line; remembers the last place a break was allowed. */
#include "ui/wrap.h"

#include <stdbool.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "ui/sanitize.h"

#define LEAST_HANGING 16 /* columns: in fewer, every one is needed for text */

static void add_row(struct wrap *wrap, size_t start, size_t n_bytes, size_t n_columns, size_t indent)
{
    if (wrap->n_rows == wrap->cap_rows) {
        wrap->cap_rows = wrap->cap_rows ? wrap->cap_rows * 2 : 16;
        wrap->rows = mem_need_resize(wrap->rows, wrap->cap_rows, sizeof *wrap->rows);
    }
    wrap->rows[wrap->n_rows++] = (struct wrap_row){.start = start,
                                                   .n_bytes = (uint32_t)n_bytes,
                                                   .n_columns = (uint32_t)n_columns,
                                                   .indent = (uint32_t)indent};
}

/* Scripts that are written without spaces break between any two characters. */
static bool is_ideographic(uint32_t c)
{
    return (c >= 0x2E80 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0xFF01 && c <= 0xFF60) || (c >= 0x20000 && c <= 0x3FFFF);
}

static bool is_in(uint32_t c, const uint32_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == c)
            return true;
    return false;
}

static bool may_not_start(uint32_t c)
{
    static const uint32_t closing[] = {0x3001, 0x3002, 0x3005, 0x3009, 0x300B, 0x300D, 0x300F, 0x3011,
                                       0x3015, 0x3017, 0x30FC, 0x30FB, 0xFF01, 0xFF09, 0xFF0C, 0xFF0E,
                                       0xFF1A, 0xFF1B, 0xFF1F, 0xFF3D, 0xFF5D, 0x3041, 0x3043, 0x3063,
                                       0x3083, 0x3085, 0x3087, 0x30C3, 0x30E3, 0x30E5, 0x30E7};
    return is_in(c, closing, sizeof closing / sizeof *closing) ||
           (c < 0x80 && strchr(",.:;!?)]}%'\"", (int)c));
}

static bool may_not_end(uint32_t c)
{
    static const uint32_t opening[] = {0x3008, 0x300A, 0x300C, 0x300E, 0x3010,
                                       0x3014, 0x3016, 0xFF08, 0xFF3B, 0xFF5B};
    return is_in(c, opening, sizeof opening / sizeof *opening) || (c < 0x80 && strchr("([{", (int)c));
}

static bool is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0xC0;
}

/* May a row end between before and after, of which neither is a blank? two_before stands in front of before.
 */
static bool may_break(uint32_t two_before, uint32_t before, uint32_t after)
{
    if (before == '-' && is_word(two_before) && is_word(after))
        return true;
    if (!is_ideographic(before) && !is_ideographic(after))
        return false;
    return !may_not_start(after) && !may_not_end(before);
}

/* The state of one row while its line is read. */
struct row {
    size_t start;
    size_t indent;           /* columns before it */
    size_t columns;          /* up to the current cell */
    size_t end, end_columns; /* where the row ends when it breaks at the last allowed place */
    size_t next;             /* where the following row starts then; 0: no place yet */
    size_t ink, ink_columns; /* behind the last cell that is not blank */
};

static void close_row(struct wrap *wrap, struct row *row, size_t i, size_t indent)
{
    if (row->next > row->start) {
        add_row(wrap, row->start, row->end - row->start, row->end_columns, row->indent);
        *row = (struct row){.start = row->next, .indent = indent, .columns = indent};
    } else {
        add_row(wrap, row->start, row->ink - row->start, row->ink_columns, row->indent);
        *row = (struct row){.start = i, .indent = indent, .columns = indent};
    }
    row->ink = row->end = row->start;
}

/* How far what continues a line stands from the left; not so far that little is left of the row. */
static size_t hanging_indent(const char *text, size_t start, size_t n, size_t columns)
{
    size_t blanks = 0;
    while (start + blanks < n && text[start + blanks] == ' ')
        blanks++;
    return blanks <= columns / 2 && columns >= LEAST_HANGING ? blanks : 0;
}

/* Reads one line, without its LF. */
static void wrap_line(struct wrap *wrap, const char *text, size_t start, size_t n, size_t columns)
{
    struct row row = {.start = start, .ink = start, .end = start};
    size_t indent = hanging_indent(text, start, n, columns);
    uint32_t before = ' ', two_before = ' ';
    for (size_t i = start; i < n;) {
        int width;
        uint32_t c;
        size_t used = text_cell(text + i, n - i, &width);
        utf8_decode(text + i, n - i, &c, NULL);
        bool blank = c == ' ';
        bool leading = row.ink == row.start;
        if (!leading && !blank && before != ' ' && may_break(two_before, before, c)) {
            row.end = row.next = i;
            row.end_columns = row.columns;
        }
        if (!blank && row.columns + (size_t)width > columns && row.columns > row.indent) {
            size_t again = row.next > row.start ? row.next : i;
            close_row(wrap, &row, i, indent);
            before = two_before = ' ';
            i = again;
            continue;
        }
        row.columns += (size_t)width;
        i += used;
        if (blank) {
            if (!leading) {
                row.end = row.ink;
                row.end_columns = row.ink_columns;
                row.next = i;
            }
        } else {
            row.ink = i;
            row.ink_columns = row.columns;
        }
        two_before = before;
        before = c;
    }
    add_row(wrap, row.start, row.ink - row.start, row.ink_columns, row.indent);
}

void wrap_append(struct wrap *wrap, const char *text, size_t start, size_t n, size_t columns)
{
    while (start < n) {
        const char *lf = memchr(text + start, '\n', n - start);
        size_t end = lf ? (size_t)(lf - text) : n;
        wrap_line(wrap, text, start, end, columns);
        start = end + 1;
    }
}

void wrap_fini(struct wrap *wrap)
{
    mem_free(wrap->rows);
    *wrap = (struct wrap){0};
}
