/* jinja_text_filters.c: the filters that make text or numbers. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jinja_value.h"

static const struct jinja_str *text_of(struct jinja_call *c)
{
    return jinja_to_string(c->run, c->self).as.s;
}

static struct jinja_value f_case(struct jinja_call *c)
{
    return jinja_change_case(c->run, text_of(c), (enum jinja_case)c->aux);
}

/* Words begin behind white space and - ( { [ < here, unlike str.title. */
static struct jinja_value f_title(struct jinja_call *c)
{
    const struct jinja_str *s = text_of(c);
    struct jinja_buf out;
    jinja_buf_init(&out, c->run);
    jinja_charge(c->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t from = 0, at = 0; at < s->n;) {
        uint32_t cp;
        at += jinja_char_at(s, at, &cp);
        bool is_gap = jinja_is_space(cp) || (cp < 128 && cp && strchr("-({[<", (int)cp));
        if (is_gap || at == s->n) {
            jinja_put_str(
                &out,
                jinja_change_case(c->run, jinja_part(c->run, s, from, at).as.s, JINJA_UPPER_FIRST).as.s);
            from = at;
        }
    }
    return jinja_buf_value(&out);
}

static struct jinja_value f_trim(struct jinja_call *c)
{
    return jinja_strip(c->run, text_of(c), jinja_given(c, 0) ? jinja_arg_str(c, 0) : NULL,
                       JINJA_STRIP_LEFT | JINJA_STRIP_RIGHT);
}

static struct jinja_value f_replace(struct jinja_call *c)
{
    const struct jinja_str *from = jinja_to_string(c->run, c->a[0]).as.s,
                           *to = jinja_to_string(c->run, c->a[1]).as.s;
    return jinja_replace(c->run, text_of(c), from, to, jinja_arg_int(c, 2, -1));
}

static struct jinja_value f_string(struct jinja_call *c)
{
    return jinja_to_string(c->run, c->self);
}

static struct jinja_value f_escape(struct jinja_call *c)
{
    if (c->self.type == JINJA_STRING && c->self.as.s->is_safe && !c->aux)
        return c->self;
    return jinja_escape(c->run, text_of(c));
}

static struct jinja_value f_safe(struct jinja_call *c)
{
    const struct jinja_str *s = text_of(c);
    struct jinja_value v = jinja_part(c->run, s, 0, s->n);
    v.as.s->is_safe = true;
    return v;
}

static struct jinja_value f_tojson(struct jinja_call *c)
{
    return jinja_to_json(c->run, c->self, c->a[1], c->a[2], jinja_arg_bool(c, 3, false),
                         jinja_arg_bool(c, 0, false));
}

static struct jinja_value f_format(struct jinja_call *c)
{
    struct jinja_list *values = jinja_list_new(c->run, JINJA_KIND_TUPLE, c->args->n);
    struct jinja_dict *named = jinja_dict_new(c->run);
    for (size_t i = 0; i < c->args->n; i++)
        jinja_list_append(c->run, values, c->args->items[i]);
    for (size_t i = 0; i < c->args->n_keywords; i++)
        jinja_dict_set(c->run, named,
                       (struct jinja_value){.type = JINJA_STRING,
                                            .as.s = (struct jinja_str *)(uintptr_t)c->args->keywords[i].name},
                       c->args->keywords[i].value);
    struct jinja_value args =
        named->n ? (struct jinja_value){.type = JINJA_DICT, .as.d = named} : jinja_list_value(values);
    return jinja_format_percent(c->run, text_of(c), args);
}

static struct jinja_value spaces(struct jinja_run *run, int64_t n)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    for (int64_t i = 0; i < n; i++) {
        jinja_puts(&out, " ");
        jinja_charge(run, 1);
    }
    return jinja_buf_value(&out);
}

/* indent(width=4, first=false, blank=false); width may be the text itself. All ends of lines become \n; with
 * one more at the end, as Jinja adds it, a last empty line stays. */
static struct jinja_value f_indent(struct jinja_call *c)
{
    const struct jinja_str *s = text_of(c), newline = {.data = "\n", .n = 1};
    const struct jinja_str *by =
        c->a[0].type == JINJA_STRING ? c->a[0].as.s : spaces(c->run, jinja_arg_int(c, 0, 4)).as.s;
    bool first = jinja_arg_bool(c, 1, false), blank = jinja_arg_bool(c, 2, false);
    const struct jinja_list *lines = jinja_split_lines(c->run, jinja_concat(c->run, s, &newline).as.s, false);
    struct jinja_buf out;
    jinja_buf_init(&out, c->run);
    for (size_t i = 0; i < lines->n; i++) {
        const struct jinja_str *line = lines->items[i].as.s;
        if (i)
            jinja_put(&out, "\n", 1, s->n_spans > 0);
        if (i == 0 ? first : blank || line->n > 0)
            jinja_put_str(&out, by);
        jinja_put_str(&out, line);
        jinja_charge(c->run, 1);
    }
    return jinja_buf_value(&out);
}

static struct jinja_value f_wordcount(struct jinja_call *c)
{
    const struct jinja_str *s = text_of(c);
    int64_t n = 0;
    bool inside = false;
    jinja_charge(c->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t at = 0; at < s->n;) {
        uint32_t cp;
        at += jinja_char_at(s, at, &cp);
        bool is_word = cp >= 128
                           ? !jinja_is_space(cp)
                           : (cp >= '0' && cp <= '9') || cp == '_' || ((cp | 32) >= 'a' && (cp | 32) <= 'z');
        n += is_word && !inside;
        inside = is_word;
    }
    return jinja_int(n);
}

/* truncate(length=255, killwords=false, end='...', leeway=5) */
static struct jinja_value f_truncate(struct jinja_call *c)
{
    const struct jinja_str *s = text_of(c);
    struct jinja_value end = c->a[2].type == JINJA_STRING ? c->a[2] : jinja_str(c->run, "...");
    int64_t length = jinja_arg_int(c, 0, 255), leeway = jinja_arg_int(c, 3, 5),
            n_end = (int64_t)jinja_str_length(c->run, end.as.s);
    int64_t n = (int64_t)jinja_str_length(c->run, s);
    if (length < n_end || leeway < 0)
        jinja_fail(c->run, "expected length >= %lld, got %lld", (long long)n_end, (long long)length);
    if (leeway > n || n <= length + leeway)
        return jinja_part(c->run, s, 0, s->n);
    size_t cut = jinja_str_offset(c->run, s, (size_t)(length - n_end));
    if (!jinja_arg_bool(c, 1, false))
        for (size_t i = cut; i > 0; i--)
            if (s->data[i - 1] == ' ') {
                cut = i - 1;
                break;
            }
    return jinja_concat(c->run, jinja_part(c->run, s, 0, cut).as.s, end.as.s);
}

static bool is_url_safe(char ch)
{
    return (ch >= '0' && ch <= '9') || ((ch | 32) >= 'a' && (ch | 32) <= 'z') || (ch && strchr("_.-~/", ch));
}

/* As the path of an address, or, in a query, with + for a space and / escaped. */
static void put_quoted(struct jinja_buf *out, const struct jinja_str *s, bool is_query)
{
    jinja_charge(out->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t i = 0; i < s->n; i++) {
        char text[4];
        if (is_query && s->data[i] == ' ') {
            jinja_put(out, "+", 1, jinja_is_input_at(s, i));
        } else if (is_url_safe(s->data[i]) && !(is_query && s->data[i] == '/')) {
            jinja_put_part(out, s, i, i + 1);
        } else {
            snprintf(text, sizeof text, "%%%02X", (unsigned char)s->data[i]);
            jinja_put(out, text, 3, jinja_is_input_at(s, i));
        }
    }
}

/* urlencode: a text, or the pairs of a query. */
static struct jinja_value f_urlencode(struct jinja_call *c)
{
    struct jinja_buf out;
    jinja_buf_init(&out, c->run);
    if (c->self.type != JINJA_DICT && c->self.type != JINJA_LIST) {
        put_quoted(&out, text_of(c), false);
        return jinja_buf_value(&out);
    }
    const struct jinja_list *pairs =
        jinja_iterate(c->run, c->self.type == JINJA_DICT ? jinja_dict_pairs(c->run, c->self.as.d) : c->self);
    for (size_t i = 0; i < pairs->n; i++) {
        const struct jinja_list *pair = jinja_iterate(c->run, pairs->items[i]);
        if (pair->n != 2)
            jinja_fail(c->run, "urlencode takes pairs of a name and a value, found %zu values", pair->n);
        if (i)
            jinja_puts(&out, "&");
        put_quoted(&out, jinja_to_string(c->run, pair->items[0]).as.s, true);
        jinja_puts(&out, "=");
        put_quoted(&out, jinja_to_string(c->run, pair->items[1]).as.s, true);
        jinja_charge(c->run, 1);
    }
    return jinja_buf_value(&out);
}

/* ---- numbers ---- */

/* The number a string holds, white space around it allowed; false when it is none. */
static bool read_text(struct jinja_run *run, const struct jinja_str *s, int base, int64_t *i, double *f)
{
    char text[400], *rest;
    const struct jinja_str *bare = jinja_strip(run, s, NULL, JINJA_STRIP_LEFT | JINJA_STRIP_RIGHT).as.s;
    size_t n = 0;
    if (bare->n == 0 || bare->n >= sizeof text)
        return false;
    for (size_t k = 0; k < bare->n; k++)
        if (bare->data[k] != '_')
            text[n++] = bare->data[k];
    text[n] = 0;
    errno = 0;
    if (i)
        *i = strtoll(text, &rest, base);
    else
        *f = strtod(text, &rest);
    return n > 0 && rest == text + n && !(i && errno == ERANGE) && !(f && strpbrk(text, "xXpP("));
}

static struct jinja_value f_int(struct jinja_call *c)
{
    int64_t i;
    double f;
    if (jinja_is_integer(c->self))
        return jinja_int(jinja_as_int(c->self));
    if (c->self.type == JINJA_FLOAT && fabs(c->self.as.f) < 9.2e18)
        return jinja_int((int64_t)c->self.as.f);
    if (c->self.type == JINJA_UNDEFINED)
        jinja_fail_undefined(c->run, c->self);
    if (c->self.type == JINJA_STRING) {
        if (read_text(c->run, c->self.as.s, (int)jinja_arg_int(c, 1, 10), &i, NULL))
            return jinja_int(i);
        if (read_text(c->run, c->self.as.s, 10, NULL, &f) && fabs(f) < 9.2e18)
            return jinja_int((int64_t)f);
    }
    return c->a[0].type == JINJA_MISSING ? jinja_int(0) : c->a[0];
}

static struct jinja_value f_float(struct jinja_call *c)
{
    double f;
    if (jinja_is_number(c->self))
        return jinja_float(jinja_as_float(c->self));
    if (c->self.type == JINJA_UNDEFINED)
        jinja_fail_undefined(c->run, c->self);
    if (c->self.type == JINJA_STRING && read_text(c->run, c->self.as.s, 10, NULL, &f))
        return jinja_float(f);
    return c->a[0].type == JINJA_MISSING ? jinja_float(0) : c->a[0];
}

static struct jinja_value f_abs(struct jinja_call *c)
{
    if (c->self.type == JINJA_FLOAT)
        return jinja_float(fabs(c->self.as.f));
    if (!jinja_is_integer(c->self))
        return jinja_negate(c->run, c->self);
    return jinja_as_int(c->self) < 0 ? jinja_negate(c->run, c->self) : jinja_int(jinja_as_int(c->self));
}

/* Decimal rounding that is right for the digits shown, half to even on the exact binary value, as round(). */
static double round_common(double f, int64_t digits)
{
    char text[400];
    if (digits > 20 || fabs(f) > 1e22)
        return f;
    if (digits < 0) {
        double power = pow(10, (double)-digits);
        return nearbyint(f / power) * power;
    }
    snprintf(text, sizeof text, "%.*f", (int)digits, f);
    return strtod(text, NULL);
}

/* To tens, hundreds ...; half to even. */
static int64_t round_integer(struct jinja_run *run, int64_t value, int64_t digits)
{
    int64_t unit = 1, r, up;
    for (; digits < 0; digits++)
        if (__builtin_mul_overflow(unit, 10, &unit))
            return 0;
    r = value % unit < 0 ? value % unit + unit : value % unit;
    if (__builtin_sub_overflow(value, r, &value))
        jinja_fail(run, "an integer does not fit 64 bits");
    bool is_up = r > unit - r || (r == unit - r && r > 0 && value / unit % 2 != 0);
    if (!is_up)
        return value;
    if (__builtin_add_overflow(value, unit, &up))
        jinja_fail(run, "an integer does not fit 64 bits");
    return up;
}

static struct jinja_value f_round(struct jinja_call *c)
{
    int64_t digits = jinja_arg_int(c, 0, 0);
    if (c->self.type == JINJA_UNDEFINED)
        jinja_fail_undefined(c->run, c->self);
    if (!jinja_is_number(c->self))
        jinja_fail(c->run, "type %s doesn't define __round__ method", jinja_type_name(c->self));
    double f = jinja_as_float(c->self), power = pow(10, (double)digits);
    bool is_common = c->a[1].type == JINJA_MISSING || jinja_str_is(jinja_arg_str(c, 1), "common");
    if (is_common && jinja_is_integer(c->self))
        return jinja_int(round_integer(c->run, jinja_as_int(c->self), digits));
    if (is_common)
        return jinja_float(round_common(f, digits));
    if (jinja_str_is(jinja_arg_str(c, 1), "ceil"))
        return jinja_float(ceil(f * power) / power);
    if (jinja_str_is(jinja_arg_str(c, 1), "floor"))
        return jinja_float(floor(f * power) / power);
    jinja_fail(c->run, "method must be common, ceil or floor");
}

/* filesizeformat(binary=false) */
static struct jinja_value f_filesize(struct jinja_call *c)
{
    const struct jinja_str plain = {.data = "float", .n = 5};
    const struct jinja_args none = {0};
    double size = jinja_call_builtin(c->run, jinja_text_filter_find(&plain), c->self, &none).as.f;
    bool binary = jinja_arg_bool(c, 0, false);
    double base = binary ? 1024 : 1000;
    char text[400];
    int step = -1;
    if (isnan(size) || (size < base && size < -9e18))
        jinja_fail(c->run, "filesizeformat takes a number of bytes");
    for (; size >= base && step < 7; step++)
        size /= base;
    if (step < 0)
        snprintf(text, sizeof text, "%lld Byte%s", (long long)size, size == 1 ? "" : "s");
    else
        snprintf(text, sizeof text, "%.1f %c%sB", size, binary ? "KMGTPEZY"[step] : "kMGTPEZY"[step],
                 binary ? "i" : "");
    struct jinja_buf out;
    jinja_buf_init(&out, c->run);
    jinja_puts(&out, text);
    return jinja_buf_value(&out);
}

const struct jinja_builtin *jinja_text_filter_find(const struct jinja_str *name)
{
    static const struct jinja_builtin filters[] = {
        {"upper", "", f_case, JINJA_UPPER},
        {"lower", "", f_case, JINJA_LOWER},
        {"capitalize", "", f_case, JINJA_CAPITALIZE},
        {"title", "", f_title, 0},
        {"trim", "chars", f_trim, 0},
        {"replace", "old new| count", f_replace, 0},
        {"string", "", f_string, 0},
        {"escape", "", f_escape, 0},
        {"e", "", f_escape, 0},
        {"forceescape", "", f_escape, 1},
        {"safe", "", f_safe, 0},
        {"tojson", "ensure_ascii indent separators sort_keys", f_tojson, 0},
        {"format", "*", f_format, 0},
        {"indent", "width first blank", f_indent, 0},
        {"filesizeformat", "binary", f_filesize, 0},
        {"wordcount", "", f_wordcount, 0},
        {"truncate", "length killwords end leeway", f_truncate, 0},
        {"urlencode", "", f_urlencode, 0},
        {"int", "default base", f_int, 0},
        {"float", "default", f_float, 0},
        {"abs", "", f_abs, 0},
        {"round", "precision method", f_round, 0},
    };
    return jinja_find_in(filters, sizeof filters / sizeof *filters, name);
}
