/* Owns the table of looks and ncurses' colour pairs. */
#include "ui/theme.h"

enum theme { THEME_MONO, THEME_16, THEME_256, THEME_N };

struct entry {
    short color; /* -1: the terminal's foreground */
    attr_t attributes;
};

static const struct entry table[THEME_N][LOOK_N] =
    {
        [THEME_MONO] =
            {
                [LOOK_TEXT] = {-1, A_NORMAL},
                [LOOK_DIM] = {-1, A_DIM},
                [LOOK_RULE] = {-1, A_DIM},
                [LOOK_TITLE] = {-1, A_BOLD},
                [LOOK_USER] = {-1, A_BOLD},
                [LOOK_MODEL] = {-1, A_BOLD},
                [LOOK_ACCENT] = {-1, A_NORMAL},
                [LOOK_WARN] = {-1, A_BOLD},
                [LOOK_ERROR] = {-1, A_BOLD},
                [LOOK_SELECTED] = {-1, A_REVERSE},
            },
        [THEME_16] =
            {
                [LOOK_TEXT] = {-1, A_NORMAL},
                [LOOK_DIM] = {-1, A_DIM},
                [LOOK_RULE] = {-1, A_DIM},
                [LOOK_TITLE] = {-1, A_BOLD},
                [LOOK_USER] = {-1, A_BOLD},
                [LOOK_MODEL] = {COLOR_CYAN, A_BOLD},
                [LOOK_ACCENT] = {COLOR_CYAN, A_NORMAL},
                [LOOK_WARN] = {COLOR_YELLOW, A_NORMAL},
                [LOOK_ERROR] = {COLOR_RED, A_BOLD},
                [LOOK_SELECTED] = {COLOR_CYAN, A_REVERSE},
            },
        /* 256 colours: mid-tones that read on a light and on a dark background. */
        [THEME_256] =
            {
                [LOOK_TEXT] = {-1, A_NORMAL},
                [LOOK_DIM] = {244, A_NORMAL},
                [LOOK_RULE] = {240, A_NORMAL},
                [LOOK_TITLE] = {-1, A_BOLD},
                [LOOK_USER] = {-1, A_BOLD},
                [LOOK_MODEL] = {37, A_BOLD},
                [LOOK_ACCENT] = {37, A_NORMAL},
                [LOOK_WARN] = {172, A_NORMAL},
                [LOOK_ERROR] = {160, A_BOLD},
                [LOOK_SELECTED] = {37, A_BOLD},
            },
};

static enum theme current = THEME_MONO;

void theme_init(int colors)
{
    current = colors >= 256 ? THEME_256 : colors >= 8 ? THEME_16 : THEME_MONO;
    if (current == THEME_MONO)
        return;
    for (short i = 0; i < LOOK_N; i++)
        if (table[current][i].color >= 0)
            init_pair((short)(i + 1), table[current][i].color, -1);
}

struct theme_look theme_look(enum theme_element element)
{
    const struct entry *entry = &table[current][element];
    return (struct theme_look){
        .attributes = entry->attributes,
        .pair = entry->color >= 0 ? (short)(element + 1) : (short)0,
    };
}
