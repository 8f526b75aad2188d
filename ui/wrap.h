/* wrap.h: where the rows of a text begin and end.
 *
 * Sanitised text in, rows out; offsets are bytes of that text. Lines end at LF; a line that is too wide
 * breaks behind spaces, behind hyphens inside words and between ideographs (never before closing or behind
 * opening punctuation), and when there is no such place, between two cells. The blanks a row breaks at are in
 * no row. What continues a line that begins with blanks stands below its text, so that code keeps its shape.
 * Needed allocations only. Single thread. */
#ifndef FERRUM_WRAP_H
#define FERRUM_WRAP_H

#include <stddef.h>
#include <stdint.h>

struct wrap_row {
    size_t start;
    uint32_t n_bytes, n_columns; /* the second with the indent */
    uint32_t indent;             /* columns to leave free before it: it continues an indented line */
};

struct wrap {
    struct wrap_row *rows;
    size_t n_rows, cap_rows;
};

/* Appends the rows of text[start..n) for a measure of columns (>= 2). A text that ends with LF does not get
 * an empty row behind it; an empty line inside does. */
void wrap_append(struct wrap *wrap, const char *text, size_t start, size_t n, size_t columns);
void wrap_fini(struct wrap *wrap);

#endif
