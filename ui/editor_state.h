/* editor_state.h: what the files of the editor share (editor.c, editor_keys.c, editor_paste.c,
 * editor_history.c, editor_search.c, editor_layout.c); nobody else includes it. */
#ifndef FERRUM_EDITOR_STATE_H
#define FERRUM_EDITOR_STATE_H

#include "engine/base/buf.h"
#include "ui/editor.h"

#define EDITOR_MAX_SEQUENCE 64
/* One reserved character (input.h) per paste: no other text can hold it, and readline takes it for a letter.
 */
#define EDITOR_MAX_CHIPS INPUT_N_RESERVED
#define EDITOR_CHIP_BYTES 4
/* Longer texts do not come to stand in the line: pastes, drafts and history entries become chips. */
#define EDITOR_MAX_LINE_BYTES 65536

struct editor_chip {
    char *text; /* NULL: free */
    size_t n, n_lines;
    uint64_t serial;
};

struct editor_search {
    bool active, found;
    struct buf query;
    int at; /* history index of the match, or where the next search starts */
};

/* One drawn row: its display text in `cells`, and the part of the source it shows. */
struct editor_row_span {
    size_t text, n, source, source_end;
    int columns;
};

struct editor_lines {
    struct buf cells;
    struct editor_row_span *rows;
    int n_rows, cap_rows;
    int cursor_row, cursor_column;
    int width;
    struct editor_row *view_rows;
    struct buf prompt;
};

struct editor {
    struct editor_options options;
    char *history_path, *warning;
    bool history_torn; /* the file's last line has no end: close it before the next entry */
    struct buf scratch;

    struct editor_event *events; /* a queue: from first_event */
    char **event_texts;
    int n_events, cap_events, first_event;
    char *given_text;

    struct buf queue; /* bytes for readline's getc, from queue_at */
    size_t queue_at;
    char sequence[EDITOR_MAX_SEQUENCE]; /* a key sequence that the keymap says is not complete */
    size_t n_sequence;
    bool awaits_raw; /* readline takes the next character as it is, and no state bit says so */
    int macro_depth;
    struct buf backup; /* the line before the feed, for the watchdog */
    int backup_point;

    struct editor_chip chips[EDITOR_MAX_CHIPS];
    uint64_t next_serial;

    struct editor_search search;
    char **candidates;
    int n_candidates;

    struct buf text, last_line;
    uint64_t revision;
    bool dirty;
    int goal_column; /* where a run of Up and Down wants to be; -1: no run */
    struct editor_lines lines;
};

/* editor.c */
void editor_push(struct editor *e, enum editor_event_type type, const struct input_token *token);
void editor_push_text(struct editor *e, enum editor_event_type type, const char *text, size_t n);
/* Replaces the whole line as one undoable change. */
void editor_replace_line(const char *text, size_t n, size_t point);
/* Appends text, made NFC, to out. */
void editor_compose(struct buf *out, const char *text, size_t n);
void editor_forget_candidates(struct editor *e);

/* editor_keys.c */
void editor_keys_open(struct editor *e);
void editor_keys_close(void);
void editor_keys_feed(struct editor *e, const struct input_token *token);
/* Takes readline out of whatever it waits for and puts this text into its line. */
void editor_keys_reset(struct editor *e, const char *text, size_t n, size_t point);
/* Readline waits for more than a command: an argument, a search string, a motion. */
bool editor_keys_pending(const struct editor *e);
void editor_accept_line(struct editor *e, const char *line);

/* editor_bindings.c: what readline is told before and after it reads the inputrc. */
void editor_bindings_prepare(struct editor *e);
void editor_bindings_apply(void);

/* editor_watchdog.c: runs feed(e) at most about a second of CPU time; false: it was cut off. */
bool editor_watchdog_run(void (*feed)(struct editor *e), struct editor *e);

/* editor_paste.c */
void editor_paste(struct editor *e, const struct input_token *token);
/* Inserts at the cursor as one undo group: as text, or as a chip when it is long. */
void editor_paste_insert(struct editor *e, const char *text, size_t n);
/* Makes a chip of a long history entry that has just come into the line. */
void editor_fold_entry(struct editor *e);
/* The chip whose placeholder starts at s[0..n), or NULL. */
const struct editor_chip *editor_chip_at(const struct editor *e, const char *s, size_t n);
bool editor_is_chip(const char *s, size_t n);
/* Appends line[0..n) with chips expanded; returns where offset `point` of the line came to lie. */
size_t editor_expand(const struct editor *e, struct buf *out, const char *line, size_t n, size_t point);
void editor_chip_label(const struct editor_chip *chip, struct buf *out);
void editor_paste_close(struct editor *e);

/* editor_history.c */
void editor_history_open(struct editor *e);

/* editor_search.c */
void editor_search_start(struct editor *e);
/* False: the key ended the search and is still to be handled. */
bool editor_search_key(struct editor *e, const struct input_token *token);
void editor_search_paste(struct editor *e, const char *text, size_t n);
void editor_search_stop(struct editor *e);
/* What the search shows: the match, or "". *point: where in it. */
const char *editor_search_match(const struct editor *e, size_t *point);

/* editor_layout.c */
/* Moves the cursor by rows; false: there is no such row. */
bool editor_move_rows(struct editor *e, int n);
void editor_layout_close(struct editor *e);

#endif
