/* jinja_text.c: str() and repr() of values, as Python writes them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jinja_ast.h"

/* The shortest digits that read back as the same number; a point or an exponent always shows. */
size_t jinja_float_text(double f, char out[40])
{
    if (isnan(f) || isinf(f))
        return (size_t)sprintf(out, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
    char digits[40];
    int precision = 1;
    do
        snprintf(digits, sizeof digits, "%.*e", precision - 1, f);
    while (strtod(digits, NULL) != f && ++precision <= 17);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        char *e = strchr(digits, 'e');
        return (size_t)snprintf(out, 40, "%.*se%c%02d", (int)(e - digits), digits, exponent < 0 ? '-' : '+',
                                abs(exponent));
    }
    int decimals = precision - 1 - exponent;
    return (size_t)snprintf(out, 40, "%.*f", decimals < 1 ? 1 : decimals, f);
}

static void code_escape(uint32_t cp, char text[16])
{
    snprintf(text, 16, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
}

void jinja_put_ascii(struct jinja_buf *buf, const struct jinja_str *s)
{
    char text[16];
    jinja_charge(buf->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t at = 0, n; at < s->n; at += n) {
        uint32_t cp;
        n = jinja_char_at(s, at, &cp);
        code_escape(cp, text);
        if (cp < 128)
            jinja_put_part(buf, s, at, at + n);
        else
            jinja_put(buf, text, strlen(text), jinja_is_input_at(s, at));
    }
}

static void put_repr_char(struct jinja_buf *buf, const struct jinja_str *s, size_t at, size_t n, uint32_t cp,
                          char quote)
{
    char text[16];
    const char *escape = cp == '\n'   ? "\\n"
                         : cp == '\r' ? "\\r"
                         : cp == '\t' ? "\\t"
                         : cp == '\\' ? "\\\\"
                                      : NULL;
    if (cp == (uint32_t)(unsigned char)quote) {
        snprintf(text, sizeof text, "\\%c", quote);
        escape = text;
    } else if (!escape && !jinja_is_printable(buf->run, cp)) {
        code_escape(cp, text);
        escape = text;
    }
    if (escape)
        jinja_put(buf, escape, strlen(escape), jinja_is_input_at(s, at));
    else
        jinja_put_part(buf, s, at, at + n);
}

static void put_repr_string(struct jinja_buf *buf, const struct jinja_str *s)
{
    bool has_single = memchr(s->data, '\'', s->n), has_double = memchr(s->data, '"', s->n);
    char quote = has_single && !has_double ? '"' : '\'';
    jinja_put(buf, &quote, 1, true);
    jinja_charge(buf->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t at = 0, n; at < s->n; at += n) {
        uint32_t cp;
        n = jinja_char_at(s, at, &cp);
        put_repr_char(buf, s, at, n, cp, quote);
    }
    jinja_put(buf, &quote, 1, true);
}

/* Brackets and commas count as input: they come with the data they hold. */
static void glue(struct jinja_buf *buf, const char *text)
{
    jinja_put(buf, text, strlen(text), true);
}

static void put_items(struct jinja_buf *buf, const struct jinja_list *list, const char *open,
                      const char *close)
{
    glue(buf, open);
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            glue(buf, ", ");
        jinja_put_repr(buf, list->items[i]);
    }
    if (list->kind == JINJA_KIND_TUPLE && list->n == 1)
        glue(buf, ",");
    glue(buf, close);
}

static void put_list(struct jinja_buf *buf, const struct jinja_list *list)
{
    char text[100];
    switch (list->kind) {
    case JINJA_KIND_LIST:
        put_items(buf, list, "[", "]");
        break;
    case JINJA_KIND_TUPLE:
        put_items(buf, list, "(", ")");
        break;
    case JINJA_KIND_RANGE:
        snprintf(text, sizeof text,
                 list->range[2] == 1 ? "range(%" PRId64 ", %" PRId64 ")"
                                     : "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")",
                 list->range[0], list->range[1], list->range[2]);
        glue(buf, text);
        break;
    case JINJA_KIND_GENERATOR:
        glue(buf, "<generator object>");
        break;
    case JINJA_KIND_VIEW:
        glue(buf, list->view_name);
        put_items(buf, list, "([", "])");
        break;
    }
}

static void put_dict(struct jinja_buf *buf, const struct jinja_dict *d)
{
    glue(buf, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            glue(buf, ", ");
        jinja_put_repr(buf, d->pairs[i].key);
        glue(buf, ": ");
        jinja_put_repr(buf, d->pairs[i].value);
    }
    glue(buf, "}");
}

static void put_macro(struct jinja_buf *buf, const struct jinja_macro *macro)
{
    jinja_puts(buf, "<Macro ");
    if (macro->node->name)
        put_repr_string(buf, macro->node->name);
    else
        jinja_puts(buf, "anonymous");
    jinja_puts(buf, ">");
}

void jinja_put_repr(struct jinja_buf *buf, struct jinja_value v)
{
    char text[100];
    jinja_enter(buf->run);
    switch (v.type) {
    case JINJA_UNDEFINED:
        jinja_puts(buf, "Undefined");
        break;
    case JINJA_NONE:
        jinja_puts(buf, "None");
        break;
    case JINJA_BOOL:
        jinja_puts(buf, v.as.b ? "True" : "False");
        break;
    case JINJA_INT:
        snprintf(text, sizeof text, "%" PRId64, v.as.i);
        jinja_puts(buf, text);
        break;
    case JINJA_FLOAT:
        jinja_float_text(v.as.f, text);
        jinja_puts(buf, text);
        break;
    case JINJA_STRING:
        put_repr_string(buf, v.as.s);
        break;
    case JINJA_LIST:
        put_list(buf, v.as.l);
        break;
    case JINJA_NAMESPACE:
        glue(buf, "<Namespace ");
        put_dict(buf, v.as.d);
        glue(buf, ">");
        break;
    case JINJA_DICT:
        put_dict(buf, v.as.d);
        break;
    case JINJA_MACRO:
        put_macro(buf, v.as.macro);
        break;
    default:
        snprintf(text, sizeof text, "<%s object>", jinja_type_name(v));
        jinja_puts(buf, text);
    }
    jinja_leave(buf->run);
}

void jinja_put_value(struct jinja_buf *buf, struct jinja_value v)
{
    if (v.type == JINJA_STRING)
        jinja_put_str(buf, v.as.s);
    else if (v.type != JINJA_UNDEFINED)
        jinja_put_repr(buf, v);
}

struct jinja_value jinja_to_string(struct jinja_run *run, struct jinja_value v)
{
    struct jinja_buf buf;
    if (v.type == JINJA_STRING)
        return v;
    jinja_buf_init(&buf, run);
    jinja_put_value(&buf, v);
    return jinja_buf_value(&buf);
}
