/* panel.h: the profiler panel: where the time of a turn goes, layer by layer, and which experts are asked.
 *
 * A strip above the editor, or the right-hand side where the screen is wide. What is seen is a pure function
 * of the profile that app handed over (ui_set_profile), the one that is held to be compared with, and the
 * few choices below; those are kept while the panel is closed. All times are per token of the phase that is
 * shown. What is not known is "–", never 0:
 *   share     of the wall time of a token, or (one layer) of that layer's; "other" is wall time less all
 *             operations
 *   GB/s      bytes of weights and KV read, by the time of the operation
 *   of max    that, by what plain reading reaches on this machine (a roofline: 100 % is as fast as memory is)
 *   balance, entropy, overlap: prof_experts.h has the formulas
 * Ownership: prof is app's; held is the panel's copy. Single thread. Private to this room. */
#ifndef FERRUM_PANEL_H
#define FERRUM_PANEL_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/prof.h"
#include "ui/theme.h"

enum panel_view { PANEL_OPS, PANEL_LAYERS, PANEL_EXPERTS, PANEL_N_VIEWS };
enum panel_form { PANEL_NONE, PANEL_STRIP, PANEL_SIDE };

#define PANEL_ALL_LAYERS (-1)
#define PANEL_TITLE_BYTES 96

struct panel {
    bool open;
    enum panel_view view;
    enum prof_phase phase;
    int layer;                       /* 0 .. n_layers - 1, n_layers: what belongs to none, PANEL_ALL_LAYERS */
    int n_layers;                    /* of the last profile there was */
    int strip_percent, side_percent; /* share of the screen; 0: the default */

    const struct prof *prof;       /* NULL: none, and title says why */
    char title[PANEL_TITLE_BYTES]; /* clean */
    double read_gb_s;
    struct prof *held; /* NULL: none */
    char held_title[PANEL_TITLE_BYTES];
};

void panel_fini(struct panel *p);
/* Takes a profile over; a layer that it does not have is left. */
void panel_set(struct panel *p, const struct prof *prof, double read_gb_s, const char *title);

/* ---- what the keys do ---- */

void panel_next_view(struct panel *p);
void panel_next_phase(struct panel *p);
void panel_step_layer(struct panel *p, int step);
/* By step twentieths of the screen; form: what it is now. */
void panel_resize(struct panel *p, enum panel_form form, int step);
/* Holds what is shown, or lets go. False: there is nothing to hold, or no memory. */
bool panel_hold(struct panel *p);
/* "layers", "decode", "12", ...; false: it is none of these. */
bool panel_command(struct panel *p, const char *word, size_t n);

/* ---- where it stands ---- */

#define PANEL_OTHER_ROWS 6 /* of a screen: title, hairline, editor, status and the air between them */
/* How the screen is shared: room_rows are those between title and hairline. */
struct panel_place {
    enum panel_form form;
    int rows;    /* of a strip, its title among them */
    int columns; /* of a side, its separator among them */
};
struct panel_place panel_place(const struct panel *p, int columns, int room_rows);
/* What is said where there is no room for it. */
#define PANEL_TOO_SMALL "the profile needs 60x15"

/* ---- pictures; an area is cleared by the caller ---- */

struct panel_area {
    int y, x, rows, columns;
};
void panel_draw(const struct panel *p, enum panel_form form, const struct panel_area *area);

/* The parts (panel_ops.c, panel_layers.c, panel_experts.c). Each returns the rows it used. */
int panel_draw_ops(const struct panel *p, const struct panel_area *area, bool with_speed);
int panel_draw_layers(const struct panel *p, const struct panel_area *area);
int panel_draw_experts(const struct panel *p, const struct panel_area *area);
/* Pieces joined by " · ", on as many rows as they need (at most rows); returns how many. Only counts where
 * rows is 0. */
int panel_draw_pieces(int y, int x, int columns, int rows, enum theme_element look, const char *text);
/* Tokens per second of the newest tokens, one cell each, and the mean. */
void panel_draw_speed(const struct panel *p, int y, int x, int columns);

/* ---- numbers (panel_number.c): NAN is what is not known ---- */

#define PANEL_UNKNOWN "–"
double panel_wall_ms(const struct prof *p, enum prof_phase phase);             /* of a token */
double panel_per_s(const struct prof *p, enum prof_phase phase);               /* tokens */
double panel_layer_ms(const struct prof *p, enum prof_phase phase, int layer); /* of a token */
/* Of all layers with PANEL_ALL_LAYERS. */
struct prof_entry panel_entry(const struct prof *p, enum prof_phase phase, int layer, enum prof_op op);
/* Right-aligned in width columns. */
void panel_put_number(struct buf *out, int width, int decimals, double value);
/* The same with a percent sign; share 1 is 100 %. */
void panel_put_share(struct buf *out, int width, int decimals, double share);
/* Decimals for a column whose largest value this is. */
int panel_decimals(double largest);

#endif
