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

/* From nothing to much, and the mark behind it. Lightness only rises, so that the ramp reads without hues. */
static const short heat_8[] = {COLOR_BLACK, COLOR_BLUE, COLOR_CYAN, COLOR_WHITE, COLOR_YELLOW};
static const short heat_256[] = {235, 23, 30, 37, 44, 51, 159, 231, 172};
static const char *const densities[] = {" ", "·", "░", "▒", "▓", "█"};
#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define N_DIRECT 16 /* levels where every colour can be had */

static enum theme current = THEME_MONO;
static bool is_direct; /* colours are 0xRRGGBB, not numbers of a palette */
static int n_heat;     /* levels of half blocks; 0: no pairs for them, densities are drawn */

/* The RGB of a colour of the 256: 16 .. 231 a cube of six steps, then 24 greys (xterm's defaults). */
static int rgb_of(int color)
{
    static const int steps[] = {0x00, 0x5f, 0x87, 0xaf, 0xd7, 0xff};
    if (color < 16)
        return color;
    if (color >= 232)
        return (8 + 10 * (color - 232)) * 0x010101;
    color -= 16;
    return steps[color / 36] << 16 | steps[color / 6 % 6] << 8 | steps[color % 6];
}

static int between(int from, int to, int i, int n, int shift)
{
    int a = from >> shift & 0xff, b = to >> shift & 0xff;
    return (a + (b - a) * i / n) << shift;
}

/* Level i of the smooth ramp: grey, the accent in the middle, nearly white. */
static int direct_level(int i)
{
    int low = rgb_of(235), mid = rgb_of(37), high = rgb_of(231), half = N_DIRECT / 2;
    int from = i < half ? low : mid, to = i < half ? mid : high, step = i < half ? i : i - half;
    int n = i < half ? half : N_DIRECT - 1 - half;
    return between(from, to, step, n, 16) | between(from, to, step, n, 8) | between(from, to, step, n, 0);
}

static int heat_color(int i)
{
    if (is_direct)
        return i < N_DIRECT ? direct_level(i) : rgb_of(172);
    return current == THEME_256 ? heat_256[i] : heat_8[i];
}

static int heat_pair(int upper, int lower)
{
    return LOOK_N + 1 + upper * (n_heat + 1) + lower;
}

static void init_heat(void)
{
    n_heat = is_direct ? N_DIRECT : (current == THEME_256 ? N(heat_256) : N(heat_8)) - 1;
    if (heat_pair(n_heat, n_heat) >= COLOR_PAIRS)
        n_heat = 0;
    for (int upper = 0; n_heat && upper <= n_heat; upper++)
        for (int lower = 0; lower <= n_heat; lower++)
            init_extended_pair(heat_pair(upper, lower), heat_color(upper), heat_color(lower));
}

void theme_init(int colors)
{
    current = colors >= 256 ? THEME_256 : colors >= 8 ? THEME_16 : THEME_MONO;
    is_direct = colors > 256;
    n_heat = 0;
    if (current == THEME_MONO)
        return;
    for (int i = 0; i < LOOK_N; i++) {
        int color = table[current][i].color;
        if (color >= 0)
            init_extended_pair(i + 1, is_direct ? rgb_of(color) : color, -1);
    }
    init_heat();
}

int theme_heat_levels(void)
{
    return n_heat ? n_heat : N(densities);
}

bool theme_heat_is_halved(void)
{
    return n_heat > 0;
}

struct theme_look theme_heat(int upper, int lower, const char **character)
{
    bool is_mark = upper == THEME_HEAT_MARK;
    if (n_heat) {
        *character = "▀";
        upper = is_mark ? n_heat : upper;
        lower = lower == THEME_HEAT_MARK ? n_heat : lower;
        return (struct theme_look){.pair = (short)heat_pair(upper, lower)};
    }
    *character = is_mark ? "◆" : densities[upper];
    return (struct theme_look){.attributes = is_mark ? A_BOLD : A_NORMAL};
}

struct theme_look theme_look(enum theme_element element)
{
    const struct entry *entry = &table[current][element];
    return (struct theme_look){
        .attributes = entry->attributes,
        .pair = entry->color >= 0 ? (short)(element + 1) : (short)0,
    };
}
