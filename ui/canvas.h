/* canvas.h: putting clean text into ncurses' cells: the only place that does.
 * Nothing is written outside [x, x + max); a wide character that would stick out is left away. The caller
 * refreshes. Single thread. */
#ifndef FERRUM_CANVAS_H
#define FERRUM_CANVAS_H

#include <stddef.h>

#include "ui/theme.h"

/* Sanitised text without LF, at most max columns of it. Returns the columns used. */
int canvas_text(int y, int x, int max, enum theme_element look, const char *text, size_t n);

/* The same for a NUL-terminated text; one that is too long is cut with an ellipsis. */
int canvas_label(int y, int x, int max, enum theme_element look, const char *text);

/* n times one character of width 1. */
void canvas_repeat(int y, int x, int n, enum theme_element look, const char *character);

/* A cell of a map, n columns of it: levels as theme_heat has them. */
void canvas_heat(int y, int x, int n, int upper, int lower);

/* A bar of `columns` cells, filled in eighths of a cell. */
void canvas_bar(int y, int x, int columns, enum theme_element look, double fraction);

/* An empty box with its heading in the upper and its hint in the lower edge; its rows are cleared from edge
 * to edge. */
void canvas_box(int y, int x, int height, int width, const char *heading, const char *hint);

#endif
