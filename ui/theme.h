/* theme.h: how each element of the screen looks. Drawing code names elements, never colours.
 * The terminal's own background and foreground stay; one accent; dim for what is secondary; red for errors
 * only, and never colour alone. Maps alone bring their own background, so that a ramp reads the same on dark
 * and on light terminals. Call theme_init after terminal_open. Single thread (ncurses). */
#ifndef FERRUM_THEME_H
#define FERRUM_THEME_H

#include <stdbool.h>

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

/* colors: what terminal_colors says. */
void theme_init(int colors);

struct theme_look {
    attr_t attributes;
    short pair;
};
struct theme_look theme_look(enum theme_element element);

/* Maps of quantities: levels 0 (nothing) to theme_heat_levels() - 1, and THEME_HEAT_MARK, which stands out.
 */
#define THEME_HEAT_MARK (-1)
int theme_heat_levels(void);
/* Whether a cell holds two values, one above the other in a half block; else it is one character. */
bool theme_heat_is_halved(void);
/* What draws the values: *character is owned by the theme. lower is not looked at where cells hold one. */
struct theme_look theme_heat(int upper, int lower, const char **character);

#endif
