/* input.h: bytes from the terminal to tokens: characters, keys, wheel, pastes.
 *
 * Deterministic: the same bytes give the same tokens however they are cut, as long as no timer runs out
 * between two pieces; the clock is handed in. What leaves here is clean: whole valid UTF-8 characters without
 * C1 controls and noncharacters (ill-formed bytes are dropped), complete sequences, pastes with LF line ends
 * and no control but TAB, LF. Sequences: ECMA-48 CSI and SS3, ESC + key, xterm's SGR (1006) and old mouse
 * reports, bracketed paste (2004), focus (1004), `CSI code ; modifiers u` and `CSI 27 ; modifiers ; code ~`,
 * the Linux console's `CSI [ A`. Thread rule: one thread per struct. Times: clock_now_ns(). */
#ifndef FERRUM_INPUT_H
#define FERRUM_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define INPUT_MAX_SEQUENCE 48
#define INPUT_MAX_PASTE ((size_t)16 << 20)

/* Private-use characters U+10FF00 ... that no text leaves with: the editor's placeholders for pastes. */
#define INPUT_FIRST_RESERVED 0x10FF00u
#define INPUT_N_RESERVED 32

struct input_options {
    int escape_ms;    /* how long a lone ESC waits for the rest of a sequence; 0: 50 (use 150 over ssh, or
                         ESCDELAY) */
    size_t max_paste; /* bytes of one paste that are kept; 0: INPUT_MAX_PASTE */
};

enum input_type {
    INPUT_KEY,   /* bytes, key, modifiers */
    INPUT_PASTE, /* paste, n_paste, cut */
    INPUT_WHEEL, /* lines: -1 up, +1 down; column, row (from 0) */
    INPUT_CLICK, /* button 0 to 2 pressed at column, row */
    INPUT_FOCUS, /* lines: 1 gained, 0 lost */
};

/* What a key is called, whatever the terminal sends for it. */
enum input_key {
    INPUT_KEY_OTHER,     /* complete, but of no use to us: terminal replies, exotic keys */
    INPUT_KEY_CHARACTER, /* bytes: one UTF-8 character, with INPUT_ALT after an ESC */
    INPUT_KEY_CONTROL,   /* bytes: one byte below 0x20 or 0x7f, with INPUT_ALT after an ESC; Enter is
                            INPUT_KEY_ENTER */
    INPUT_KEY_ESC,       /* ESC alone */
    INPUT_KEY_ENTER,     /* CR; with INPUT_SHIFT only where the terminal can tell */
    INPUT_KEY_UP,
    INPUT_KEY_DOWN,
    INPUT_KEY_RIGHT,
    INPUT_KEY_LEFT,
    INPUT_KEY_HOME,
    INPUT_KEY_END,
    INPUT_KEY_INSERT,
    INPUT_KEY_DELETE,
    INPUT_KEY_PAGE_UP,
    INPUT_KEY_PAGE_DOWN,
    INPUT_KEY_BACKTAB,
    INPUT_KEY_F1, /* INPUT_KEY_F1 + n - 1 is Fn, up to F12 */
    INPUT_KEY_F12 = INPUT_KEY_F1 + 11,
};

#define INPUT_SHIFT 1u
#define INPUT_ALT 2u
#define INPUT_CTRL 4u

struct input_token {
    enum input_type type;
    enum input_key key;
    unsigned modifiers;
    /* INPUT_KEY: what readline is fed: the bytes as sent, but CSI-u forms of plain keys as the classic bytes.
     * NUL-ended (though a NUL may be among them: Ctrl-Space). */
    char bytes[INPUT_MAX_SEQUENCE + 1];
    size_t n_bytes;
    const char *paste; /* owned by input, until the next input_feed or input_next */
    size_t n_paste;
    bool cut; /* the paste was longer than max_paste: tell the user */
    int lines, button, column, row;
};

struct input;

struct input *input_new(const struct input_options *options);
void input_free(struct input *input);

void input_feed(struct input *input, const void *bytes, size_t n, uint64_t now_ns);

/* Reads what fd (non-blocking or not; poll said it is readable) has, at most 64 KiB: call input_next until
 * false, then again. False: the terminal is gone (end of file, EIO, hang-up). */
bool input_read(struct input *input, int fd, uint64_t now_ns);

/* The next token; false: more bytes or more time are needed. */
bool input_next(struct input *input, uint64_t now_ns, struct input_token *token);

/* When input_next must be called again although no byte came; 0: never. */
uint64_t input_deadline_ns(const struct input *input);

/* The cleaning of pastes, for any text on its way into the editor: appends text[0..n) with CR LF and CR as
 * LF, without ill-formed bytes, controls other than TAB and LF, and noncharacters. */
void input_clean(struct buf *out, const char *text, size_t n);

#endif
