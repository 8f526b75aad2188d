/* Owns the rules of what may reach a terminal, one code point after the other. Clusters are held back until
 * they are complete, because NFC (and with it the width) is decided by the whole cluster. Does no drawing. */
#include "ui/sanitize.h"

#include <string.h>
#include <utf8proc.h>
#include <wchar.h>

#include "engine/base/utf8.h"

#define MAX_MARKS 4 /* ncurses keeps five code points in a cell */
#define DOTTED_CIRCLE 0x25CC
#define BIDI_MARK 0x2426
#define TAB_COLUMNS 8
#define NFC_MAX (SANITIZER_CLUSTER_MAX * 8) /* the longest canonical decomposition is 4 code points */

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F;
}

static bool is_bidi_control(int32_t c)
{
    return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F ||
           c == 0x061C;
}

static bool is_skin_tone(int32_t c)
{
    return c >= 0x1F3FB && c <= 0x1F3FF;
}

static bool is_emoji(int32_t c)
{
    return utf8proc_get_property(c)->boundclass == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
}

/* Invisible characters that take part in no composition: nothing is lost on the screen without them. */
static bool is_dropped(const struct sanitizer *s, int32_t c)
{
    const utf8proc_property_t *p = utf8proc_get_property(c);
    if (p->ignorable || c == 0x20E3 || (c >= 0xE0000 && c <= 0xE0FFF))
        return true;
    if (p->category == UTF8PROC_CATEGORY_CF && wcwidth((wchar_t)c) == 0)
        return true;
    return is_skin_tone(c) && s->n_cluster > 0 && is_emoji(s->cluster[s->n_cluster - 1]);
}

static void put(struct buf *out, int32_t c)
{
    char bytes[UTF8_MAX_BYTES];
    buf_append(out, bytes, utf8_encode((uint32_t)c, bytes));
}

/* NFC of the held cluster into composed; returns its length. */
static int compose(const struct sanitizer *s, int32_t composed[NFC_MAX])
{
    if (s->n_cluster == 1 && utf8proc_get_property(s->cluster[0])->decomp_seqindex == UINT16_MAX) {
        composed[0] = s->cluster[0];
        return 1;
    }
    char utf8[SANITIZER_CLUSTER_MAX * UTF8_MAX_BYTES];
    size_t n = 0;
    for (int i = 0; i < s->n_cluster; i++)
        n += utf8_encode((uint32_t)s->cluster[i], utf8 + n);
    utf8proc_option_t options = UTF8PROC_COMPOSE | UTF8PROC_STABLE;
    utf8proc_ssize_t count =
        utf8proc_decompose((const utf8proc_uint8_t *)utf8, (utf8proc_ssize_t)n, composed, NFC_MAX, options);
    if (count <= 0 || count > NFC_MAX) {
        composed[0] = (int32_t)UTF8_REPLACEMENT;
        return 1;
    }
    return (int)utf8proc_normalize_utf32(composed, count, options);
}

/* Writes one code point of a finished cluster. Marks count from the last base, across clusters, because a
 * terminal puts them all into that base's cell. */
static void put_counted(struct sanitizer *s, struct buf *out, int32_t c)
{
    int width = wcwidth((wchar_t)c);
    if (width < 0) {
        c = (int32_t)UTF8_REPLACEMENT;
        width = 1;
    }
    if (width == 0 && s->column == 0) {
        put(out, DOTTED_CIRCLE);
        s->column = 1;
        s->n_written_marks = 0;
    }
    if (width == 0 && s->n_written_marks == MAX_MARKS)
        return;
    s->n_written_marks = width == 0 ? s->n_written_marks + 1 : 0;
    put(out, c);
    s->column += (size_t)width;
}

/* Writes the held cluster. Widths are looked up behind NFC, because that is what the terminal gets. */
static void flush_cluster(struct sanitizer *s, struct buf *out)
{
    if (s->n_cluster == 0)
        return;
    int32_t composed[NFC_MAX];
    int n = compose(s, composed);
    for (int i = 0; i < n; i++)
        put_counted(s, out, composed[i]);
    s->n_cluster = 0;
    s->n_marks = 0;
    s->break_state = 0;
}

/* One visible code point: joins the held cluster or closes it. */
static void add(struct sanitizer *s, struct buf *out, int32_t c)
{
    int width = wcwidth((wchar_t)c);
    if (width < 0)
        c = (int32_t)UTF8_REPLACEMENT;
    if (s->n_cluster > 0 &&
        utf8proc_grapheme_break_stateful(s->cluster[s->n_cluster - 1], c, &s->break_state))
        flush_cluster(s, out);
    if (width == 0 && s->n_cluster > 0) {
        if (s->n_marks == MAX_MARKS)
            return;
        s->n_marks++;
    } else {
        s->n_marks = 0;
    }
    if (s->n_cluster == SANITIZER_CLUSTER_MAX) {
        flush_cluster(s, out);
        c = (int32_t)UTF8_REPLACEMENT;
    }
    s->cluster[s->n_cluster++] = c;
}

static void line_break(struct sanitizer *s, struct buf *out)
{
    flush_cluster(s, out);
    buf_putc(out, '\n');
    s->column = 0;
}

static void tab(struct sanitizer *s, struct buf *out)
{
    flush_cluster(s, out);
    do {
        buf_putc(out, ' ');
        s->column++;
        s->n_written_marks = 0;
    } while (s->column % TAB_COLUMNS != 0);
}

static void take(struct sanitizer *s, struct buf *out, int32_t c)
{
    bool after_cr = s->after_cr;
    s->after_cr = c == '\r';
    if (c == '\n' && after_cr)
        return;
    if (c == '\n' || c == '\r' || c == 0x0B || c == 0x0C || c == 0x2028 || c == 0x2029)
        line_break(s, out);
    else if (c == '\t')
        tab(s, out);
    else if (c < 0x20)
        add(s, out, 0x2400 + c);
    else if (c == 0x7F)
        add(s, out, 0x2421);
    else if (c >= 0x80 && c < 0xA0)
        add(s, out, (int32_t)UTF8_REPLACEMENT);
    else if (is_bidi_control(c))
        add(s, out, BIDI_MARK);
    else if (c < 0x7F || !is_dropped(s, c))
        add(s, out, c);
}

/* Completes a character whose first bytes came with an earlier call; returns the bytes used of text. */
static size_t finish_tail(struct sanitizer *s, struct buf *out, const char *text, size_t n)
{
    size_t used = 0;
    while (s->n_tail > 0) {
        while (used < n && (size_t)s->n_tail < sizeof s->tail &&
               utf8_incomplete_tail(s->tail, (size_t)s->n_tail) == (size_t)s->n_tail)
            s->tail[s->n_tail++] = text[used++];
        if (used == n && utf8_incomplete_tail(s->tail, (size_t)s->n_tail) == (size_t)s->n_tail)
            return used;
        uint32_t c;
        size_t k = utf8_decode(s->tail, (size_t)s->n_tail, &c, NULL);
        take(s, out, (int32_t)c);
        /* At most the byte that proved the start ill-formed remains: it was the last one taken. */
        used -= (size_t)s->n_tail - k;
        s->n_tail = 0;
    }
    return used;
}

/* Printable ASCII from text[i] on, as far as another such character follows: each is a cluster of its own,
 * whatever stands behind. The common case by far. Returns the new i. */
static size_t push_plain(struct sanitizer *s, struct buf *out, const char *text, size_t i, size_t end)
{
    size_t start = i;
    while (i + 1 < end && is_plain((unsigned char)text[i]) && is_plain((unsigned char)text[i + 1]))
        i++;
    if (i == start)
        return i;
    add(s, out, text[start]);
    flush_cluster(s, out);
    buf_append(out, text + start + 1, i - start - 1);
    s->column += i - start - 1;
    s->n_written_marks = 0;
    s->after_cr = false;
    return i;
}

void sanitizer_push(struct sanitizer *s, struct buf *out, const char *text, size_t n)
{
    size_t i = finish_tail(s, out, text, n);
    if (s->n_tail > 0)
        return;
    size_t end = n - utf8_incomplete_tail(text + i, n - i);
    while (i < end) {
        i = push_plain(s, out, text, i, end);
        uint32_t c;
        i += utf8_decode(text + i, end - i, &c, NULL);
        take(s, out, (int32_t)c);
    }
    s->n_tail = (int)(n - end);
    memcpy(s->tail, text + end, n - end);
}

void sanitizer_flush(struct sanitizer *s, struct buf *out)
{
    if (s->n_tail > 0) {
        s->n_tail = 0;
        take(s, out, (int32_t)UTF8_REPLACEMENT);
    }
    flush_cluster(s, out);
}

void sanitize_append(struct buf *out, const char *text, size_t n)
{
    struct sanitizer s = {0};
    if (n == 0)
        return;
    sanitizer_push(&s, out, text, n);
    sanitizer_flush(&s, out);
}

char *sanitize_line(const char *text)
{
    struct buf clean = {0};
    sanitize_append(&clean, text ? text : "", text ? strlen(text) : 0);
    for (size_t i = 0; i < clean.len; i++)
        if (clean.data[i] == '\n')
            clean.data[i] = ' ';
    return buf_take(&clean);
}

size_t text_cell(const char *text, size_t n, int *width)
{
    uint32_t c;
    size_t used = utf8_decode(text, n, &c, NULL);
    int columns = c < 0x80 ? 1 : wcwidth((wchar_t)c);
    while (used < n && (unsigned char)text[used] >= 0x80) {
        size_t k = utf8_decode(text + used, n - used, &c, NULL);
        if (wcwidth((wchar_t)c) != 0)
            break;
        used += k;
    }
    if (width)
        *width = columns < 0 ? 1 : columns;
    return used;
}

size_t text_width(const char *text, size_t n)
{
    size_t columns = 0;
    for (size_t i = 0; i < n;) {
        int width;
        i += text_cell(text + i, n - i, &width);
        columns += (size_t)width;
    }
    return columns;
}

void text_copy(char *out, size_t n_out, const char *text)
{
    size_t n = strlen(text), fits = 0;
    while (fits < n) {
        size_t k = text_cell(text + fits, n - fits, NULL);
        if (fits + k >= n_out)
            break;
        fits += k;
    }
    memcpy(out, text, fits);
    out[fits] = '\0';
}

size_t text_fit(const char *text, size_t n, size_t max)
{
    size_t columns = 0, i = 0;
    while (i < n) {
        int width;
        size_t k = text_cell(text + i, n - i, &width);
        if (columns + (size_t)width > max)
            break;
        columns += (size_t)width;
        i += k;
    }
    return i;
}
