/* theme.h: how each element of the screen looks. Drawing code names elements, never colours.
 * The terminal's own background and foreground stay; one accent; dim for what is secondary; red for errors
 * only, and never colour alone. Call theme_init after terminal_open. Single thread (ncurses). */
#ifndef FERRUM_THEME_H
#define FERRUM_THEME_H

#include <curses.h>

enum theme_element {
    LOOK_TEXT,
    LOOK_DIM,  /* hints, details, what is not the conversation */
    LOOK_RULE, /* hairlines and boxes */
    LOOK_TITLE,
    LOOK_USER, /* role labels */
    LOOK_MODEL,
    LOOK_ACCENT, /* progress, meters, the cursor of an answer */
    LOOK_WARN,
    LOOK_ERROR,
    LOOK_SELECTED,
    LOOK_N,
};

/* colors: what terminal_colors says: 0, 8, 16 or 256. */
void theme_init(int colors);

struct theme_look {
    attr_t attributes;
    short pair;
};
struct theme_look theme_look(enum theme_element element);

#endif
