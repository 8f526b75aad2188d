/* list.h: the state of the list overlay: rows, filter, selection, confirmation. Plain data and key handling;
 * the drawing is overlay_list.c. Single thread. */
#ifndef FERRUM_LIST_H
#define FERRUM_LIST_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "ui/input.h"
#include "ui/ui.h"

struct list_row {
    char *title, *detail; /* clean, one line each */
};

struct list {
    char *heading;
    struct list_row *rows;
    int n_rows;
    int *shown; /* indices of rows that match the filter */
    int n_shown;
    int selected; /* in shown */
    int top;      /* first shown row on the screen */
    int page;     /* rows that fit, set by the drawing */
    struct buf filter;
    bool confirming; /* asks whether to delete the selected row */
};

/* Copies and cleans the rows. A list with the same heading that is already there keeps its filter and place.
 */
void list_set(struct list *list, const char *heading, const struct ui_list_row *rows, int n);
void list_fini(struct list *list);

enum list_answer { LIST_STAYS, LIST_PICKED, LIST_DELETED, LIST_CLOSED };

/* Takes a key or the wheel. PICKED and DELETED: *index is the row, as numbered in list_set. */
enum list_answer list_feed(struct list *list, const struct input_token *token, int *index);

#endif
