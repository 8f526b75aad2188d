/* input.c: the byte tokenizer: what a terminal sends, cut into keys, pastes and mouse reports. */
#include "ui/input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define ESC 0x1b
#define DEL 0x7f
#define MS_NS 1000000u
#define DEFAULT_ESCAPE_MS 50
#define SEQUENCE_MS                                                                                          \
    500 /* a sequence past its introducer is no key press: only a broken line leaves it unfinished */
#define PASTE_MS 1000 /* a paste without its end mark is over after this silence */
#define READ_BYTES 65536
#define MAX_PARAMS 3

static const char paste_end[] = "\033[201~";
#define PASTE_END_BYTES (sizeof paste_end - 1)

struct input {
    uint64_t escape_ns;
    uint64_t last_ns; /* when the last byte came */
    size_t max_paste;
    struct buf raw; /* bytes not yet made into tokens, from raw.data + start */
    size_t start;
    bool skipping; /* inside a sequence that is too long to be one */
    bool pasting, cut;
    struct buf paste, clean;
    char block[READ_BYTES];
};

/* What a scanner says about the bytes at the front. */
enum verdict { VERDICT_MORE, VERDICT_DROP, VERDICT_TOKEN, VERDICT_PASTE };

struct scan {
    const unsigned char *b;
    size_t n;
    bool expired; /* no more bytes will come in time: decide now */
    size_t used;
};

struct input *input_new(const struct input_options *options)
{
    struct input *in = mem_need(sizeof *in);
    in->escape_ns = (uint64_t)(options->escape_ms > 0 ? options->escape_ms : DEFAULT_ESCAPE_MS) * MS_NS;
    in->max_paste = options->max_paste ? options->max_paste : INPUT_MAX_PASTE;
    return in;
}

void input_free(struct input *in)
{
    if (!in)
        return;
    buf_fini(&in->raw);
    buf_fini(&in->paste);
    buf_fini(&in->clean);
    mem_free(in);
}

void input_feed(struct input *in, const void *bytes, size_t n, uint64_t now_ns)
{
    if (n == 0)
        return;
    if (in->start > 0) {
        size_t left = in->raw.len - in->start;
        memmove(in->raw.data, in->raw.data + in->start, left);
        buf_truncate(&in->raw, left);
        in->start = 0;
    }
    buf_append(&in->raw, bytes, n);
    in->last_ns = now_ns;
}

bool input_read(struct input *in, int fd, uint64_t now_ns)
{
    ssize_t n = read(fd, in->block, sizeof in->block);
    if (n > 0)
        input_feed(in, in->block, (size_t)n, now_ns);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK));
}

/* ---- text ---- */

static bool is_noncharacter(uint32_t c)
{
    return (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

static bool is_reserved(uint32_t c)
{
    return c >= INPUT_FIRST_RESERVED && c < INPUT_FIRST_RESERVED + INPUT_N_RESERVED;
}

static bool is_text(uint32_t c)
{
    return c >= 0x20 && !is_reserved(c) && !(c >= DEL && c < 0xA0) && !is_noncharacter(c);
}

void input_clean(struct buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        bool valid;
        size_t used = utf8_decode(text + i, n - i, &c, &valid);
        if (c == '\r') {
            buf_putc(out, '\n');
            used += i + 1 < n && text[i + 1] == '\n';
        } else if (valid && (is_text(c) || c == '\t' || c == '\n')) {
            buf_append(out, text + i, used);
        }
        i += used;
    }
}

/* ---- tokens ---- */

static void set_key(struct input_token *token, enum input_key key, unsigned modifiers, const void *bytes,
                    size_t n)
{
    token->type = INPUT_KEY;
    token->key = key;
    token->modifiers = modifiers;
    memcpy(token->bytes, bytes, n);
    token->bytes[n] = '\0';
    token->n_bytes = n;
}

static enum verdict lone_escape(struct scan *s, struct input_token *token)
{
    set_key(token, INPUT_KEY_ESC, 0, "\033", 1);
    s->used = 1;
    return VERDICT_TOKEN;
}

static enum input_key control_key(unsigned char c)
{
    return c == '\r' ? INPUT_KEY_ENTER : INPUT_KEY_CONTROL;
}

/* One character or control at b[at]; at is 1 behind an ESC (Alt), else 0. */
static enum verdict scan_character(struct scan *s, size_t at, struct input_token *token)
{
    const unsigned char *p = s->b + at;
    size_t n = s->n - at;
    unsigned modifiers = at ? INPUT_ALT : 0;
    uint32_t c = *p;
    bool valid = true;
    size_t used = 1;
    if (c >= 0x80) {
        size_t seen = n < UTF8_MAX_BYTES ? n : UTF8_MAX_BYTES;
        if (utf8_incomplete_tail((const char *)p, seen) == seen) {
            s->used = s->n;
            return s->expired ? VERDICT_DROP : VERDICT_MORE;
        }
        used = utf8_decode((const char *)p, n, &c, &valid);
    }
    if (c < 0x20 || c == DEL) {
        set_key(token, control_key((unsigned char)c), modifiers, s->b, at + used);
    } else if (valid && is_text(c)) {
        set_key(token, INPUT_KEY_CHARACTER, modifiers, s->b, at + used);
    } else {
        s->used = at + used;
        return VERDICT_DROP;
    }
    s->used = at + used;
    return VERDICT_TOKEN;
}

/* ---- sequences ---- */

struct params {
    unsigned value[MAX_PARAMS];
    unsigned event; /* kitty's second part of the modifiers: 3 is a release */
    int n;
};

/* "1;5" of a CSI; parts behind a colon are read past (but for the event). */
static void parse_params(struct params *p, const unsigned char *b, size_t n)
{
    int part = 0;
    unsigned number = 0;
    *p = (struct params){.n = n > 0};
    for (size_t i = 0; i <= n; i++) {
        if (i < n && b[i] >= '0' && b[i] <= '9') {
            number = number < 1000000 ? number * 10 + (b[i] - '0') : number;
            continue;
        }
        if (part == 0 && p->n >= 1 && p->n <= MAX_PARAMS)
            p->value[p->n - 1] = number;
        if (part == 1 && p->n == 2)
            p->event = number;
        number = 0;
        part = i < n && b[i] == ':' ? part + 1 : 0;
        p->n += i < n && b[i] == ';';
    }
}

static unsigned modifiers_of(unsigned parameter)
{
    unsigned bits = parameter > 1 ? parameter - 1 : 0;
    return (bits & (INPUT_SHIFT | INPUT_ALT | INPUT_CTRL)) | (bits & 8 ? INPUT_ALT : 0); /* 8: Meta */
}

static enum input_key key_of_letter(unsigned char final)
{
    switch (final) {
    case 'A':
        return INPUT_KEY_UP;
    case 'B':
        return INPUT_KEY_DOWN;
    case 'C':
        return INPUT_KEY_RIGHT;
    case 'D':
        return INPUT_KEY_LEFT;
    case 'H':
        return INPUT_KEY_HOME;
    case 'F':
        return INPUT_KEY_END;
    case 'Z':
        return INPUT_KEY_BACKTAB;
    case 'P':
    case 'Q':
    case 'R':
    case 'S':
        return INPUT_KEY_F1 + (final - 'P');
    default:
        return INPUT_KEY_OTHER;
    }
}

static enum input_key key_of_number(unsigned number)
{
    /* `CSI n ~`: the VT220 numbers (and rxvt's 7 and 8), with their holes. */
    static const enum input_key keys[] = {
        [1] = INPUT_KEY_HOME,    [2] = INPUT_KEY_INSERT,    [3] = INPUT_KEY_DELETE, [4] = INPUT_KEY_END,
        [5] = INPUT_KEY_PAGE_UP, [6] = INPUT_KEY_PAGE_DOWN, [7] = INPUT_KEY_HOME,   [8] = INPUT_KEY_END,
    };
    static const unsigned char f_numbers[12] = {11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24};
    for (unsigned i = 0; i < 12; i++)
        if (number == f_numbers[i])
            return INPUT_KEY_F1 + i;
    return number < sizeof keys / sizeof keys[0] ? keys[number] : INPUT_KEY_OTHER;
}

/* The byte Ctrl makes of an ASCII character, -1 if a classic terminal sends none. */
static int control_byte(unsigned code)
{
    if (code == ' ')
        return 0;
    if (code == '?')
        return DEL;
    if (code >= '@' && code < DEL)
        return (int)(code & 0x1f);
    return -1;
}

/* A key told by its code point, into the bytes a classic terminal would have sent. False: there are none. */
static bool key_of_code(struct input_token *token, unsigned code, unsigned modifiers)
{
    char bytes[1 + UTF8_MAX_BYTES];
    size_t n = 0;
    enum input_key key = INPUT_KEY_CHARACTER;
    if (code == ESC) {
        set_key(token, INPUT_KEY_ESC, modifiers, "\033", 1);
        return true;
    }
    if (code == '\t' && modifiers & INPUT_SHIFT) {
        set_key(token, INPUT_KEY_BACKTAB, modifiers, "\033[Z", 3);
        return true;
    }
    if (modifiers & INPUT_ALT)
        bytes[n++] = ESC;
    if (code == '\r' || code == '\t' || code == '\b' || code == DEL) {
        key = control_key((unsigned char)code);
        bytes[n++] = (char)code;
    } else if (modifiers & INPUT_CTRL) {
        int c = control_byte(code);
        if (c < 0)
            return false;
        key = control_key((unsigned char)c);
        bytes[n++] = (char)c;
    } else {
        /* Code points of the private use area are kitty's names for keys without a character. */
        if (!is_text(code) || (code >= 0xE000 && code < 0xF900) || code > 0x10FFFF ||
            (code >= 0xD800 && code < 0xE000))
            return false;
        if (modifiers & INPUT_SHIFT && code >= 'a' && code <= 'z')
            code -= 'a' - 'A';
        n += utf8_encode(code, bytes + n);
    }
    set_key(token, key, modifiers, bytes, n);
    return true;
}

/* The SGR and the old report agree on the button number: bits 0-1 button, 2-4 modifiers, 5 motion, 6 wheel.
 */
static enum verdict mouse(struct input_token *token, unsigned button, unsigned x, unsigned y, bool pressed)
{
    bool wheel = button & 64;
    if (!pressed || button & 32 || button & 128 || (wheel && (button & 3) > 1) ||
        (!wheel && (button & 3) == 3))
        return VERDICT_DROP;
    token->type = wheel ? INPUT_WHEEL : INPUT_CLICK;
    token->button = (int)(button & 3);
    token->lines = wheel ? (button & 1 ? 1 : -1) : 0;
    token->modifiers = (button >> 2 & 1 ? INPUT_SHIFT : 0) | (button >> 3 & 1 ? INPUT_ALT : 0) |
                       (button >> 4 & 1 ? INPUT_CTRL : 0);
    token->column = x > 0 ? (int)x - 1 : 0;
    token->row = y > 0 ? (int)y - 1 : 0;
    return VERDICT_TOKEN;
}

/* A whole CSI: its parameters b[0..n) and final byte; bytes are those sent, for readline. */
static enum verdict decode_csi(struct scan *s, const unsigned char *b, size_t n, unsigned char final,
                               unsigned alt, struct input_token *token)
{
    struct params p;
    if (n > 0 && b[0] == '<' && (final == 'M' || final == 'm')) {
        parse_params(&p, b + 1, n - 1);
        return mouse(token, p.value[0], p.value[1], p.value[2], final == 'M');
    }
    if (n > 0 && b[0] >= '<' && b[0] <= '?')
        return VERDICT_DROP; /* a reply to a question we did not ask */
    parse_params(&p, b, n);
    if (final == '~' && p.value[0] == 200)
        return VERDICT_PASTE;
    if ((final == '~' && p.value[0] == 201) || p.event == 3)
        return VERDICT_DROP;
    if (n == 0 && (final == 'I' || final == 'O')) {
        token->type = INPUT_FOCUS;
        token->lines = final == 'I';
        return VERDICT_TOKEN;
    }
    unsigned modifiers = modifiers_of(p.value[1]) | alt;
    if (final == 'u' && n > 0 && key_of_code(token, p.value[0], modifiers))
        return VERDICT_TOKEN;
    if (final == '~' && p.value[0] == 27 && p.n == 3 && key_of_code(token, p.value[2], modifiers))
        return VERDICT_TOKEN;
    enum input_key key = final == '~' ? key_of_number(p.value[0]) : key_of_letter(final);
    set_key(token, key, modifiers, s->b, s->used);
    return VERDICT_TOKEN;
}

static enum verdict decode_ss3(struct scan *s, const unsigned char *b, size_t n, unsigned char final,
                               unsigned alt, struct input_token *token)
{
    struct params p;
    parse_params(&p, b, n);
    unsigned modifiers = modifiers_of(p.n > 1 ? p.value[1] : p.value[0]) | alt;
    if (final == 'M')
        set_key(token, INPUT_KEY_ENTER, modifiers, "\r", 1);
    else
        set_key(token, key_of_letter(final), modifiers, s->b, s->used);
    return VERDICT_TOKEN;
}

/* A sequence that got no further than its introducer: the user pressed Alt-[ or Alt-O. */
static enum verdict bare_introducer(struct scan *s, size_t at, struct input_token *token)
{
    if (at > 1)
        return lone_escape(s, token);
    set_key(token, INPUT_KEY_CHARACTER, INPUT_ALT, s->b, 2);
    s->used = 2;
    return VERDICT_TOKEN;
}

/* `CSI [ x`: function keys of the Linux console. */
static enum verdict scan_linux(struct scan *s, size_t at, struct input_token *token)
{
    size_t last = at + 2;
    s->used = s->n;
    if (last >= s->n)
        return s->expired ? VERDICT_DROP : VERDICT_MORE;
    unsigned char c = s->b[last];
    if (c < 0x20 || c >= DEL) {
        s->used = last;
        return VERDICT_DROP;
    }
    s->used = last + 1;
    set_key(token, c >= 'A' && c <= 'E' ? INPUT_KEY_F1 + (c - 'A') : INPUT_KEY_OTHER, 0, s->b, s->used);
    return VERDICT_TOKEN;
}

static enum verdict scan_old_mouse(struct scan *s, size_t at, struct input_token *token)
{
    if (s->n < at + 5) {
        s->used = s->n;
        return s->expired ? VERDICT_DROP : VERDICT_MORE;
    }
    const unsigned char *b = s->b + at + 2;
    s->used = at + 5;
    return mouse(token, (unsigned)(b[0] - 32) & 0xff, (unsigned)(b[1] - 32) & 0xff,
                 (unsigned)(b[2] - 32) & 0xff, true);
}

/* CSI or SS3 whose introducer ('[' or 'O') is b[at]. */
static enum verdict scan_sequence(struct scan *s, size_t at, bool *skipping, struct input_token *token)
{
    const unsigned char *b = s->b;
    size_t i = at + 1;
    bool csi = b[at] == '[';
    if (csi && i < s->n && b[i] == '[')
        return scan_linux(s, at, token);
    if (csi && i < s->n && b[i] == 'M')
        return scan_old_mouse(s, at, token);
    while (i < s->n && i < INPUT_MAX_SEQUENCE && b[i] >= 0x20 && b[i] <= 0x3f)
        i++;
    s->used = i;
    if (i >= INPUT_MAX_SEQUENCE) {
        *skipping = true;
        return VERDICT_DROP;
    }
    if (i == s->n && !s->expired)
        return VERDICT_MORE;
    bool cut = i == s->n || b[i] < 0x20 || b[i] >= DEL; /* another byte began something new, or none came */
    if (cut)
        return i == at + 1 ? bare_introducer(s, at, token) : VERDICT_DROP;
    unsigned alt = at > 1 ? INPUT_ALT : 0;
    s->used = i + 1;
    enum verdict verdict = csi ? decode_csi(s, b + at + 1, i - at - 1, b[i], alt, token)
                               : decode_ss3(s, b + at + 1, i - at - 1, b[i], alt, token);
    if (verdict == VERDICT_PASTE && at > 1)
        return lone_escape(s, token); /* Esc, and then a paste */
    return verdict;
}

static enum verdict scan_escape(struct scan *s, bool *skipping, struct input_token *token)
{
    size_t at = s->n > 1 && s->b[1] == ESC ? 2 : 1;
    if (s->n <= at) {
        if (!s->expired)
            return VERDICT_MORE;
        return lone_escape(s, token);
    }
    if (s->b[at] == '[' || s->b[at] == 'O')
        return scan_sequence(s, at, skipping, token);
    if (at == 2)
        return lone_escape(s, token);
    return scan_character(s, 1, token);
}

/* Reads past a sequence without end, up to the byte that would have been its last. */
static enum verdict skip(struct scan *s, bool *skipping)
{
    size_t i = 0;
    while (i < s->n && s->b[i] >= 0x20 && s->b[i] <= 0x3f)
        i++;
    *skipping = i == s->n && !s->expired;
    s->used = i + (i < s->n && s->b[i] >= 0x40 && s->b[i] < DEL);
    return VERDICT_DROP;
}

/* ---- pastes ---- */

static void keep_pasted(struct input *in, const char *bytes, size_t n)
{
    size_t room = in->max_paste - in->paste.len;
    in->cut = in->cut || n > room;
    buf_append(&in->paste, bytes, n < room ? n : room);
}

static bool finish_paste(struct input *in, struct input_token *token)
{
    in->pasting = false;
    buf_truncate(&in->clean, 0);
    input_clean(&in->clean, buf_text(&in->paste), in->paste.len);
    buf_fini(&in->paste);
    token->type = INPUT_PASTE;
    token->paste = buf_text(&in->clean);
    token->n_paste = in->clean.len;
    token->cut = in->cut;
    in->cut = false;
    return true;
}

/* Collects up to the end mark; true with the token when the paste is complete or has been silent for too
 * long. */
static bool collect_paste(struct input *in, uint64_t now_ns, struct input_token *token)
{
    while (in->start < in->raw.len) {
        const char *p = in->raw.data + in->start;
        size_t n = in->raw.len - in->start;
        const char *escape = memchr(p, ESC, n);
        size_t plain = escape ? (size_t)(escape - p) : n;
        keep_pasted(in, p, plain);
        in->start += plain;
        n -= plain;
        size_t seen = n < PASTE_END_BYTES ? n : PASTE_END_BYTES;
        if (!escape)
            break;
        if (memcmp(escape, paste_end, seen) != 0) {
            in->start++; /* an ESC in the pasted text: dropped */
        } else if (seen == PASTE_END_BYTES) {
            in->start += PASTE_END_BYTES;
            return finish_paste(in, token);
        } else {
            break;
        }
    }
    if (now_ns < in->last_ns + (uint64_t)PASTE_MS * MS_NS)
        return false;
    in->start = in->raw.len;
    return finish_paste(in, token);
}

/* ---- the front ---- */

static uint64_t patience_ns(const struct input *in)
{
    size_t n = in->raw.len - in->start;
    if (in->pasting)
        return (uint64_t)PASTE_MS * MS_NS;
    return n <= 2 && in->raw.data[in->start] == ESC ? in->escape_ns : (uint64_t)SEQUENCE_MS * MS_NS;
}

uint64_t input_deadline_ns(const struct input *in)
{
    if (!in->pasting && in->start == in->raw.len)
        return 0;
    return in->last_ns + patience_ns(in);
}

static enum verdict scan_front(struct input *in, struct scan *s, struct input_token *token)
{
    if (in->skipping)
        return skip(s, &in->skipping);
    if (s->b[0] == ESC)
        return scan_escape(s, &in->skipping, token);
    return scan_character(s, 0, token);
}

bool input_next(struct input *in, uint64_t now_ns, struct input_token *token)
{
    for (;;) {
        *token = (struct input_token){0};
        if (in->pasting)
            return collect_paste(in, now_ns, token);
        if (in->start == in->raw.len)
            return false;
        struct scan s = {.b = (const unsigned char *)in->raw.data + in->start, .n = in->raw.len - in->start};
        s.expired = now_ns >= input_deadline_ns(in);
        enum verdict verdict = scan_front(in, &s, token);
        if (verdict == VERDICT_MORE)
            return false;
        in->start += s.used;
        if (verdict == VERDICT_TOKEN)
            return true;
        in->pasting = verdict == VERDICT_PASTE;
    }
}
