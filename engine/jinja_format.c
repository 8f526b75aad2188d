/* jinja_format.c: Python's two ways to format: "%5.2f" % x, and "{:>5}".format(x). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/jinja_value.h"

#define MAX_WIDTH 10000

/* One directive of either kind. */
struct spec {
    uint32_t fill;
    char align; /* '<' '>' '^' '=' or 0 */
    char sign;  /* '+' ' ' or '-' */
    bool alternate, comma;
    int width, precision; /* precision -1: none */
    char type;            /* 0: none given */
};

static size_t read_number(const char *s, size_t n, size_t at, int *out)
{
    int value = 0;
    for (; at < n && s[at] >= '0' && s[at] <= '9'; at++)
        value = value * 10 + (s[at] - '0') > MAX_WIDTH ? MAX_WIDTH : value * 10 + (s[at] - '0');
    *out = value;
    return at;
}

/* Pads the text that stands in `body` and appends it. */
static void put_padded(struct jinja_buf *out, const struct jinja_str *body, const struct spec *f,
                       char default_align)
{
    int64_t more = f->width - (int64_t)jinja_str_length(out->run, body);
    char align = f->align ? f->align : default_align;
    jinja_charge(out->run, more > 0 ? (size_t)more / JINJA_CHARS_PER_STEP : 0);
    int64_t left = more <= 0 || align == '<' || align == '=' ? 0 : align == '^' ? more / 2 : more;
    size_t head = 0;
    if (align == '=') { /* the sign stays in front of the filling */
        head = body->n > 0 && strchr("+- ", body->data[0]) ? 1 : 0;
        jinja_put_part(out, body, 0, head);
        left = more;
    }
    for (int64_t i = 0; i < left; i++)
        jinja_put_char_like(out, f->fill, &(struct jinja_str){.data = ""}, 0);
    jinja_put_part(out, body, head, body->n);
    for (int64_t i = left < 0 ? 0 : left; i < more; i++)
        jinja_put_char_like(out, f->fill, &(struct jinja_str){.data = ""}, 0);
}

static void add_commas(struct jinja_buf *out, const char *digits, size_t n)
{
    size_t whole = strspn(digits, "0123456789");
    for (size_t i = 0; i < whole; i++) {
        if (i && (whole - i) % 3 == 0)
            jinja_puts(out, ",");
        jinja_put(out, digits + i, 1, false);
    }
    jinja_put(out, digits + whole, n - whole, false);
}

static void put_digits(struct jinja_buf *out, const struct spec *f, bool negative, const char *digits)
{
    struct jinja_buf body;
    jinja_buf_init(&body, out->run);
    if (negative)
        jinja_puts(&body, "-");
    else if (f->sign == '+' || f->sign == ' ')
        jinja_put(&body, &f->sign, 1, false);
    if (f->comma)
        add_commas(&body, digits, strlen(digits));
    else
        jinja_puts(&body, digits);
    put_padded(out, jinja_buf_value(&body).as.s, f, '>');
}

static void put_integer(struct jinja_buf *out, const struct spec *f, int64_t value)
{
    char digits[80];
    uint64_t u = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t n = 0;
    if (f->alternate && (f->type == 'x' || f->type == 'X' || f->type == 'o' || f->type == 'b'))
        n = (size_t)snprintf(digits, sizeof digits, "0%c", f->type);
    if (f->type == 'b') {
        int top = 63;
        while (top > 0 && !(u >> top & 1))
            top--;
        for (; top >= 0; top--)
            digits[n++] = (char)('0' + (u >> top & 1));
        digits[n] = 0;
    } else {
        snprintf(digits + n, sizeof digits - n,
                 f->type == 'x'   ? "%" PRIx64
                 : f->type == 'X' ? "%" PRIX64
                 : f->type == 'o' ? "%" PRIo64
                                  : "%" PRIu64,
                 u);
    }
    put_digits(out, f, value < 0, digits);
}

static void put_float(struct jinja_buf *out, const struct spec *f, double value)
{
    char digits[600];
    int precision = f->precision < 0 ? 6 : f->precision > 200 ? 200 : f->precision;
    double size = value < 0 ? -value : value;
    switch (f->type) {
    case 'e':
        snprintf(digits, sizeof digits, "%.*e", precision, size);
        break;
    case 'E':
        snprintf(digits, sizeof digits, "%.*E", precision, size);
        break;
    case 'g':
    case 'G':
        snprintf(digits, sizeof digits, "%.*g", precision, size);
        break;
    case 0:
        jinja_float_text(size, digits);
        break;
    case '%':
        snprintf(digits, sizeof digits, "%.*f%%", precision, size * 100);
        break;
    default:
        snprintf(digits, sizeof digits, "%.*f", precision, size);
    }
    put_digits(out, f, value < 0, digits);
}

static void put_text(struct jinja_buf *out, const struct spec *f, const struct jinja_str *s, char align)
{
    size_t end = f->precision >= 0 ? jinja_str_offset(out->run, s, (size_t)f->precision) : s->n;
    put_padded(out, jinja_part(out->run, s, 0, end).as.s, f, align);
}

static struct jinja_value repr_value(struct jinja_run *run, struct jinja_value v, bool only_ascii)
{
    struct jinja_buf text, ascii;
    jinja_buf_init(&text, run);
    jinja_put_repr(&text, v);
    if (!only_ascii)
        return jinja_buf_value(&text);
    jinja_buf_init(&ascii, run);
    jinja_put_ascii(&ascii, jinja_buf_value(&text).as.s);
    return jinja_buf_value(&ascii);
}

/* ---- percent ---- */

struct percent {
    const struct jinja_str *format;
    size_t at;
    struct jinja_value args;
    size_t n_used;
};

static struct jinja_value next_arg(struct jinja_run *run, struct percent *p)
{
    bool is_tuple = p->args.type == JINJA_LIST && p->args.as.l->kind == JINJA_KIND_TUPLE;
    if (p->n_used >= (is_tuple ? p->args.as.l->n : 1))
        jinja_fail(run, "not enough arguments for format string");
    return is_tuple ? p->args.as.l->items[p->n_used++] : (p->n_used++, p->args);
}

/* %(name)s */
static struct jinja_value named_arg(struct jinja_run *run, struct percent *p)
{
    const struct jinja_str *f = p->format;
    size_t from = ++p->at;
    while (p->at < f->n && f->data[p->at] != ')')
        p->at++;
    if (p->at >= f->n)
        jinja_fail(run, "incomplete format key");
    if (p->args.type != JINJA_DICT)
        jinja_fail(run, "format requires a mapping");
    struct jinja_value key = jinja_part(run, f, from, p->at++);
    const struct jinja_value *value = jinja_dict_find(run, p->args.as.d, key);
    if (!value)
        jinja_fail(run, "KeyError: '%.*s'", key.as.s->n > 60 ? 60 : (int)key.as.s->n, key.as.s->data);
    p->n_used = 1;
    return *value;
}

static void read_flags(struct percent *p, struct spec *f)
{
    for (; p->at < p->format->n; p->at++) {
        char c = p->format->data[p->at];
        if (c == '-')
            f->align = '<';
        else if (c == '0' && f->align != '<') {
            f->fill = '0';
            f->align = '=';
        } else if (c == '+' || c == ' ')
            f->sign = c;
        else if (c == '#')
            f->alternate = true;
        else if (c != '0')
            return;
    }
}

static void put_percent_value(struct jinja_buf *out, const struct spec *f, struct jinja_value v)
{
    struct jinja_run *run = out->run;
    if (strchr("diuxXo", f->type) && jinja_is_number(v)) {
        if (v.type == JINJA_FLOAT && !(fabs(v.as.f) < 9.2e18))
            jinja_fail(run, "%%%c format: %g does not fit an integer of 64 bits", f->type, v.as.f);
        put_integer(out, f, v.type == JINJA_FLOAT ? (int64_t)v.as.f : jinja_as_int(v));
    } else if (strchr("eEfFgG", f->type) && jinja_is_number(v)) {
        put_float(out, f, jinja_as_float(v));
    } else if (f->type == 's' || (f->type == 'c' && v.type == JINJA_STRING)) {
        put_text(out, f, jinja_to_string(run, v).as.s, '>');
    } else if (f->type == 'r' || f->type == 'a') {
        put_text(out, f, repr_value(run, v, f->type == 'a').as.s, '>');
    } else if (strchr("diuxXoeEfFgGc", f->type)) {
        jinja_fail(run, "%%%c format: a real number is required, not %s", f->type, jinja_type_name(v));
    } else {
        jinja_fail(run, "unsupported format character '%c'", f->type);
    }
}

static void put_percent(struct jinja_buf *out, struct percent *p)
{
    const struct jinja_str *format = p->format;
    struct spec f = {.fill = ' ', .precision = -1};
    struct jinja_value v = jinja_missing();
    if (p->at < format->n && format->data[p->at] == '(')
        v = named_arg(out->run, p);
    read_flags(p, &f);
    p->at = read_number(format->data, format->n, p->at, &f.width);
    if (p->at < format->n && format->data[p->at] == '.')
        p->at = read_number(format->data, format->n, p->at + 1, &f.precision);
    f.type = p->at < format->n ? format->data[p->at++] : 0;
    if (!f.type)
        jinja_fail(out->run, "incomplete format");
    if (f.type == '%') {
        jinja_puts(out, "%");
        return;
    }
    put_percent_value(out, &f, v.type == JINJA_MISSING ? next_arg(out->run, p) : v);
}

struct jinja_value jinja_format_percent(struct jinja_run *run, const struct jinja_str *format,
                                        struct jinja_value args)
{
    struct jinja_buf out;
    struct percent p = {.format = format, .args = args};
    jinja_buf_init(&out, run);
    while (p.at < format->n) {
        const char *hit = memchr(format->data + p.at, '%', format->n - p.at);
        size_t to = hit ? (size_t)(hit - format->data) : format->n;
        jinja_put_part(&out, format, p.at, to);
        jinja_charge(run, 1);
        p.at = to + 1;
        if (hit)
            put_percent(&out, &p);
    }
    if (args.type == JINJA_LIST && args.as.l->kind == JINJA_KIND_TUPLE ? p.n_used < args.as.l->n
                                                                       : !p.n_used && args.type != JINJA_DICT)
        jinja_fail(run, "not all arguments converted during string formatting");
    return jinja_buf_value(&out);
}

/* ---- braces ---- */

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static struct spec read_spec(struct jinja_run *run, const struct jinja_str *s)
{
    struct spec f = {.fill = ' ', .precision = -1};
    size_t at = 0, n = s->n ? jinja_char_at(s, 0, &f.fill) : 0;
    if (n && n < s->n && memchr("<>^=", s->data[n], 4)) {
        f.align = s->data[n];
        at = n + 1;
    } else {
        f.fill = ' ';
        if (s->n && memchr("<>^=", s->data[0], 4))
            f.align = s->data[at++];
    }
    if (at < s->n && memchr("+- ", s->data[at], 3))
        f.sign = s->data[at++];
    if (at < s->n && s->data[at] == '#') {
        f.alternate = true;
        at++;
    }
    if (at < s->n && s->data[at] == '0' && !f.align) {
        f.fill = '0';
        f.align = '=';
    }
    at = read_number(s->data, s->n, at, &f.width);
    if (at < s->n && s->data[at] == ',') {
        f.comma = true;
        at++;
    }
    if (at < s->n && s->data[at] == '.')
        at = read_number(s->data, s->n, at + 1, &f.precision);
    if (at < s->n)
        f.type = s->data[at++];
    if (at < s->n)
        jinja_fail(run, "Invalid format specifier");
    return f;
}

static void put_formatted(struct jinja_buf *out, struct jinja_value v, const struct jinja_str *text)
{
    struct spec f = read_spec(out->run, text);
    if (text->n == 0)
        jinja_put_value(out, v);
    else if (v.type == JINJA_FLOAT || (jinja_is_integer(v) && f.type && strchr("eEfFgG%", f.type)))
        put_float(out, &f, jinja_as_float(v));
    else if (jinja_is_integer(v) && (v.type == JINJA_INT || f.type))
        put_integer(out, &f, jinja_as_int(v));
    else if (f.type && f.type != 's')
        jinja_fail(out->run, "Unknown format code '%c' for object of type '%s'", f.type, jinja_type_name(v));
    else
        put_text(out, &f, jinja_to_string(out->run, v).as.s, '<');
}

/* "0", "name", "", each with ".attr" and "[index]" behind. */
static struct jinja_value find_field(struct jinja_run *run, const struct jinja_str *field,
                                     const struct jinja_args *args, size_t *n_auto)
{
    size_t end = 0;
    int number;
    struct jinja_value v;
    while (end < field->n && field->data[end] != '.' && field->data[end] != '[')
        end++;
    struct jinja_value name = jinja_part(run, field, 0, end);
    if (end == 0 || read_number(field->data, end, 0, &number) == end) {
        size_t i = end == 0 ? (*n_auto)++ : (size_t)number;
        if (i >= args->n)
            jinja_fail(run, "Replacement index %zu out of range for positional args tuple", i);
        v = args->items[i];
    } else {
        const struct jinja_value *found = jinja_keyword_for(run, args, name.as.s);
        if (!found)
            jinja_fail(run, "KeyError: '%.*s'", end > 60 ? 60 : (int)end, field->data);
        v = *found;
    }
    while (end < field->n) {
        bool is_index = field->data[end++] == '[';
        size_t from = end;
        while (end < field->n && (is_index ? field->data[end] != ']' : !strchr(".[", field->data[end])))
            end++;
        struct jinja_value key = jinja_part(run, field, from, end);
        bool is_number = is_index && end > from && read_number(field->data, end, from, &number) == end;
        v = is_index ? jinja_get_item(run, v, is_number ? jinja_int(number) : key)
                     : jinja_get_attr(run, v, key.as.s);
        end += is_index;
        jinja_charge(run, 1);
    }
    return v;
}

static void put_field(struct jinja_buf *out, const struct jinja_str *inside, const struct jinja_args *args,
                      size_t *n_auto)
{
    struct jinja_run *run = out->run;
    const char *colon = memchr(inside->data, ':', inside->n);
    size_t end = colon ? (size_t)(colon - inside->data) : inside->n, name_end = end;
    char conversion = 0;
    if (end >= 2 && inside->data[end - 2] == '!') {
        conversion = inside->data[end - 1];
        name_end = end - 2;
    }
    struct jinja_value v = find_field(run, jinja_part(run, inside, 0, name_end).as.s, args, n_auto);
    if (v.type == JINJA_UNDEFINED && !conversion && colon)
        jinja_fail_undefined(run, v);
    if (conversion == 'r' || conversion == 'a') {
        v = repr_value(run, v, conversion == 'a');
    } else if (conversion == 's') {
        v = jinja_to_string(run, v);
    }
    put_formatted(out, v, jinja_part(run, inside, colon ? end + 1 : inside->n, inside->n).as.s);
}

struct jinja_value jinja_format_braces(struct jinja_run *run, const struct jinja_str *format,
                                       const struct jinja_args *args)
{
    struct jinja_buf out;
    size_t n_auto = 0;
    jinja_buf_init(&out, run);
    for (size_t at = 0; at < format->n;) {
        char c = format->data[at];
        jinja_charge(run, 1);
        if (c != '{' && c != '}') {
            jinja_put_part(&out, format, at, at + 1);
            at++;
        } else if (at + 1 < format->n && format->data[at + 1] == c) {
            jinja_put_part(&out, format, at, at + 1);
            at += 2;
        } else {
            const char *close = c == '{' ? memchr(format->data + at, '}', format->n - at) : NULL;
            if (!close)
                jinja_fail(run, "Single '%c' encountered in format string", c);
            size_t end = (size_t)(close - format->data);
            put_field(&out, jinja_part(run, format, at + 1, end).as.s, args, &n_auto);
            at = end + 1;
        }
    }
    return jinja_buf_value(&out);
}
