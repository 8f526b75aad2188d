/* jinja_json.c: the tojson filter: json.dumps as Python writes it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jinja_value.h"

#define MAX_INDENT 256

struct writer {
    struct jinja_buf buf;
    bool has_indent, sort_keys, ascii;
    const struct jinja_str *indent; /* one level; NULL: spaces */
    int64_t n_spaces;
    const struct jinja_str *item, *key; /* separators */
};

static void put(struct writer *w, const char *text)
{
    jinja_put(&w->buf, text, strlen(text), true);
}

static void new_line(struct writer *w, int level)
{
    if (!w->has_indent)
        return;
    put(w, "\n");
    jinja_charge(w->buf.run,
                 (size_t)level * (1 + (w->n_spaces > 0 ? (size_t)w->n_spaces : 0)) / JINJA_CHARS_PER_STEP);
    for (int i = 0; i < level; i++) {
        if (w->indent)
            jinja_put_str(&w->buf, w->indent);
        for (int64_t k = 0; !w->indent && k < w->n_spaces; k++)
            put(w, " ");
    }
}

static void put_code_unit(struct writer *w, uint32_t unit, bool is_input)
{
    char text[16];
    jinja_put(&w->buf, text, (size_t)snprintf(text, sizeof text, "\\u%04x", unit), is_input);
}

static void put_char(struct writer *w, const struct jinja_str *s, size_t at, size_t n, uint32_t cp)
{
    static const char letters[] = "\"\\\n\r\t\f\b", names[] = "\"\\nrtfb";
    const char *hit = cp && cp < 128 ? strchr(letters, (int)cp) : NULL;
    char text[2] = {'\\', hit ? names[hit - letters] : 0};
    bool is_input = jinja_is_input_at(s, at);
    if (hit)
        jinja_put(&w->buf, text, 2, is_input);
    else if (cp < 32 || (w->ascii && cp == 127) || (w->ascii && cp >= 128 && cp < 0x10000))
        put_code_unit(w, cp, is_input);
    else if (w->ascii && cp >= 0x10000) {
        put_code_unit(w, 0xD800 + ((cp - 0x10000) >> 10), is_input);
        put_code_unit(w, 0xDC00 + ((cp - 0x10000) & 0x3FF), is_input);
    } else
        jinja_put_part(&w->buf, s, at, at + n);
}

static bool is_plain(unsigned char c)
{
    return c >= 32 && c < 127 && c != '"' && c != '\\';
}

static void put_string(struct writer *w, const struct jinja_str *s)
{
    put(w, "\"");
    jinja_charge(w->buf.run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t at = 0, n; at < s->n; at += n) {
        uint32_t cp;
        for (n = 0; at + n < s->n && is_plain((unsigned char)s->data[at + n]);)
            n++;
        if (n > 0) {
            jinja_put_part(&w->buf, s, at, at + n);
            continue;
        }
        n = jinja_char_at(s, at, &cp);
        put_char(w, s, at, n, cp);
    }
    put(w, "\"");
}

static void put_value(struct writer *w, struct jinja_value v, int level);

static void put_array(struct writer *w, const struct jinja_list *list, int level)
{
    put(w, "[");
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            jinja_put_str(&w->buf, w->item);
        new_line(w, level + 1);
        put_value(w, list->items[i], level + 1);
    }
    if (list->n)
        new_line(w, level);
    put(w, "]");
}

static void put_key(struct writer *w, struct jinja_value key)
{
    if (key.type == JINJA_STRING) {
        put_string(w, key.as.s);
    } else if (key.type == JINJA_NONE || jinja_is_number(key)) {
        put(w, "\"");
        put_value(w, key, 0);
        put(w, "\"");
    } else {
        jinja_fail(w->buf.run, "keys must be str, int, float, bool or None, not %s", jinja_type_name(key));
    }
}

static const struct jinja_pair *sorted_pairs(struct jinja_run *run, const struct jinja_dict *d)
{
    struct jinja_pair *pairs = jinja_alloc_array(run, d->n, sizeof *pairs);
    for (size_t i = 0; i < d->n; i++) { /* by insertion: tool schemas are small, and large ones are charged */
        size_t at = i;
        for (; at > 0 && jinja_less(run, d->pairs[i].key, pairs[at - 1].key); at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = d->pairs[i];
        jinja_charge(run, 1 + (i - at) / 8);
    }
    return pairs;
}

static void put_object(struct writer *w, const struct jinja_dict *d, int level)
{
    const struct jinja_pair *pairs = w->sort_keys && d->n ? sorted_pairs(w->buf.run, d) : d->pairs;
    put(w, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            jinja_put_str(&w->buf, w->item);
        new_line(w, level + 1);
        put_key(w, pairs[i].key);
        jinja_put_str(&w->buf, w->key);
        put_value(w, pairs[i].value, level + 1);
    }
    if (d->n)
        new_line(w, level);
    put(w, "}");
}

static void put_float(struct writer *w, double f)
{
    char text[40];
    jinja_float_text(f, text);
    jinja_puts(&w->buf, isnan(f) ? "NaN" : isinf(f) ? (f > 0 ? "Infinity" : "-Infinity") : text);
}

static void put_value(struct writer *w, struct jinja_value v, int level)
{
    jinja_enter(w->buf.run);
    if (v.type == JINJA_STRING)
        put_string(w, v.as.s);
    else if (v.type == JINJA_LIST && v.as.l->kind <= JINJA_KIND_TUPLE)
        put_array(w, v.as.l, level);
    else if (v.type == JINJA_DICT)
        put_object(w, v.as.d, level);
    else if (v.type == JINJA_NONE)
        jinja_puts(&w->buf, "null");
    else if (v.type == JINJA_BOOL)
        jinja_puts(&w->buf, v.as.b ? "true" : "false");
    else if (v.type == JINJA_FLOAT)
        put_float(w, v.as.f);
    else if (v.type == JINJA_INT)
        jinja_put_repr(&w->buf, v);
    else
        jinja_fail(w->buf.run, "Object of type %s is not JSON serializable", jinja_type_name(v));
    jinja_leave(w->buf.run);
}

static const struct jinja_span one_byte = {0, 1}, two_bytes = {0, 2};
static const struct jinja_str comma = {.data = ",", .n = 1, .spans = &one_byte, .n_spans = 1};
static const struct jinja_str comma_space = {.data = ", ", .n = 2, .spans = &two_bytes, .n_spans = 1};
static const struct jinja_str colon_space = {.data = ": ", .n = 2, .spans = &two_bytes, .n_spans = 1};

static void read_separators(struct jinja_run *run, struct writer *w, struct jinja_value separators)
{
    w->item = w->has_indent ? &comma : &comma_space;
    w->key = &colon_space;
    if (separators.type == JINJA_MISSING || separators.type == JINJA_NONE)
        return;
    const struct jinja_list *pair = jinja_iterate(run, separators);
    if (pair->n != 2 || pair->items[0].type != JINJA_STRING || pair->items[1].type != JINJA_STRING)
        jinja_fail(run, "separators of tojson must be two strings");
    w->item = pair->items[0].as.s;
    w->key = pair->items[1].as.s;
}

struct jinja_value jinja_to_json(struct jinja_run *run, struct jinja_value v, struct jinja_value indent,
                                 struct jinja_value separators, bool sort_keys, bool ascii)
{
    struct writer w = {.sort_keys = sort_keys, .ascii = ascii};
    jinja_buf_init(&w.buf, run);
    w.has_indent = indent.type != JINJA_MISSING && indent.type != JINJA_NONE;
    if (w.has_indent && indent.type == JINJA_STRING)
        w.indent = indent.as.s;
    else if (w.has_indent && jinja_is_integer(indent))
        w.n_spaces = jinja_as_int(indent) > MAX_INDENT ? MAX_INDENT : jinja_as_int(indent);
    else if (w.has_indent)
        jinja_fail(run, "indent of tojson must be a number or a string, not %s", jinja_type_name(indent));
    read_separators(run, &w, separators);
    put_value(&w, v, 0);
    return jinja_buf_value(&w.buf);
}
