/* jinja_str_methods.c: the methods of Python's str. */
#include "engine/jinja_value.h"

static const struct jinja_str *self(struct jinja_call *c)
{
    return c->self.as.s;
}

static struct jinja_value m_upper(struct jinja_call *c)
{
    return jinja_change_case(c->run, self(c), JINJA_UPPER);
}

static struct jinja_value m_lower(struct jinja_call *c)
{
    return jinja_change_case(c->run, self(c), JINJA_LOWER);
}

static struct jinja_value m_title(struct jinja_call *c)
{
    return jinja_change_case(c->run, self(c), JINJA_TITLE);
}

static struct jinja_value m_capitalize(struct jinja_call *c)
{
    return jinja_change_case(c->run, self(c), JINJA_CAPITALIZE);
}

static struct jinja_value m_swapcase(struct jinja_call *c)
{
    return jinja_change_case(c->run, self(c), JINJA_SWAPCASE);
}

static struct jinja_value m_casefold(struct jinja_call *c)
{
    return jinja_change_case(c->run, self(c), JINJA_CASEFOLD);
}

static struct jinja_value strip(struct jinja_call *c, int sides)
{
    return jinja_strip(c->run, self(c), jinja_given(c, 0) ? jinja_arg_str(c, 0) : NULL, sides);
}

static struct jinja_value m_strip(struct jinja_call *c)
{
    return strip(c, JINJA_STRIP_LEFT | JINJA_STRIP_RIGHT);
}

static struct jinja_value m_lstrip(struct jinja_call *c)
{
    return strip(c, JINJA_STRIP_LEFT);
}

static struct jinja_value m_rstrip(struct jinja_call *c)
{
    return strip(c, JINJA_STRIP_RIGHT);
}

static struct jinja_value m_split(struct jinja_call *c)
{
    return jinja_split(c->run, self(c), jinja_given(c, 0) ? jinja_arg_str(c, 0) : NULL,
                       jinja_arg_int(c, 1, -1), false);
}

static struct jinja_value m_rsplit(struct jinja_call *c)
{
    return jinja_split(c->run, self(c), jinja_given(c, 0) ? jinja_arg_str(c, 0) : NULL,
                       jinja_arg_int(c, 1, -1), true);
}

static struct jinja_value m_splitlines(struct jinja_call *c)
{
    return jinja_list_value(jinja_split_lines(c->run, self(c), jinja_arg_bool(c, 0, false)));
}

/* ---- beginnings and ends ---- */

static bool has_affix(struct jinja_run *run, const struct jinja_str *s, const struct jinja_str *affix,
                      bool at_end)
{
    jinja_charge(run, affix->n <= s->n ? affix->n / JINJA_BYTES_PER_STEP : 0);
    struct jinja_str part = {.data = at_end ? s->data + (s->n - affix->n) : s->data, .n = affix->n};
    return affix->n <= s->n && (part.n == 0 || jinja_str_equal(&part, affix));
}

/* The string from the start and stop that may be given behind the first argument. */
static const struct jinja_str *window(struct jinja_call *c)
{
    if (c->a[1].type == JINJA_MISSING && c->a[2].type == JINJA_MISSING)
        return self(c);
    return jinja_get_slice(c->run, c->self, c->a[1], c->a[2], jinja_missing()).as.s;
}

static struct jinja_value affix(struct jinja_call *c, bool at_end)
{
    const struct jinja_str *s = window(c);
    if (c->a[0].type != JINJA_LIST || c->a[0].as.l->kind != JINJA_KIND_TUPLE)
        return jinja_bool(has_affix(c->run, s, jinja_arg_str(c, 0), at_end));
    const struct jinja_list *any = c->a[0].as.l;
    for (size_t i = 0; i < any->n; i++) {
        jinja_charge(c->run, 1);
        if (any->items[i].type == JINJA_STRING && has_affix(c->run, s, any->items[i].as.s, at_end))
            return jinja_bool(true);
    }
    return jinja_bool(false);
}

static struct jinja_value m_startswith(struct jinja_call *c)
{
    return affix(c, false);
}

static struct jinja_value m_endswith(struct jinja_call *c)
{
    return affix(c, true);
}

static struct jinja_value m_removeprefix(struct jinja_call *c)
{
    const struct jinja_str *s = self(c), *prefix = jinja_arg_str(c, 0);
    return jinja_part(c->run, s, has_affix(c->run, s, prefix, false) ? prefix->n : 0, s->n);
}

static struct jinja_value m_removesuffix(struct jinja_call *c)
{
    const struct jinja_str *s = self(c), *suffix = jinja_arg_str(c, 0);
    return jinja_part(c->run, s, 0, has_affix(c->run, s, suffix, true) ? s->n - suffix->n : s->n);
}

/* ---- looking for parts ---- */

/* Byte offset of the first or the last hit. */
static size_t find(struct jinja_call *c, const struct jinja_str *s, const struct jinja_str *needle, bool last)
{
    if (!last)
        return jinja_str_find(c->run, s, 0, needle);
    const struct jinja_search search = jinja_search_right(c->run, s, needle);
    return jinja_search_last(&search, s->n);
}

static int64_t find_index(struct jinja_call *c, bool last)
{
    struct jinja_value all = c->self;
    const struct jinja_str *s = window(c);
    size_t hit = find(c, s, jinja_arg_str(c, 0), last);
    if (hit == SIZE_MAX)
        return -1;
    struct jinja_str before = {.data = all.as.s->data, .n = (size_t)(s->data - all.as.s->data) + hit};
    return (int64_t)jinja_str_length(c->run, &before);
}

static struct jinja_value m_find(struct jinja_call *c)
{
    return jinja_int(find_index(c, false));
}

static struct jinja_value m_rfind(struct jinja_call *c)
{
    return jinja_int(find_index(c, true));
}

static struct jinja_value m_index(struct jinja_call *c)
{
    int64_t i = find_index(c, false);
    if (i < 0)
        jinja_fail(c->run, "substring not found");
    return jinja_int(i);
}

static struct jinja_value m_rindex(struct jinja_call *c)
{
    int64_t i = find_index(c, true);
    if (i < 0)
        jinja_fail(c->run, "substring not found");
    return jinja_int(i);
}

static struct jinja_value m_count(struct jinja_call *c)
{
    const struct jinja_str *s = window(c), *needle = jinja_arg_str(c, 0);
    int64_t n = 0;
    if (needle->n == 0)
        return jinja_int((int64_t)jinja_str_length(c->run, s) + 1);
    for (size_t at = 0; (at = jinja_str_find(c->run, s, at, needle)) != SIZE_MAX; at += needle->n, n++)
        jinja_charge(c->run, 1);
    return jinja_int(n);
}

static struct jinja_value partition(struct jinja_call *c, bool last)
{
    const struct jinja_str *s = self(c), *sep = jinja_arg_str(c, 0);
    struct jinja_list *parts = jinja_list_new(c->run, JINJA_KIND_TUPLE, 3);
    if (sep->n == 0)
        jinja_fail(c->run, "empty separator");
    size_t hit = find(c, s, sep, last), end = s->n;
    size_t first = hit != SIZE_MAX ? hit : last ? 0 : end, second = hit != SIZE_MAX ? hit + sep->n : first;
    jinja_list_append(c->run, parts, jinja_part(c->run, s, 0, first));
    jinja_list_append(c->run, parts, jinja_part(c->run, s, first, second));
    jinja_list_append(c->run, parts, jinja_part(c->run, s, second, end));
    return jinja_list_value(parts);
}

static struct jinja_value m_partition(struct jinja_call *c)
{
    return partition(c, false);
}

static struct jinja_value m_rpartition(struct jinja_call *c)
{
    return partition(c, true);
}

static struct jinja_value m_replace(struct jinja_call *c)
{
    return jinja_replace(c->run, self(c), jinja_arg_str(c, 0), jinja_arg_str(c, 1), jinja_arg_int(c, 2, -1));
}

static struct jinja_value m_join(struct jinja_call *c)
{
    return jinja_join(c->run, self(c), jinja_iterate(c->run, c->a[0]), true);
}

static struct jinja_value m_format(struct jinja_call *c)
{
    return jinja_format_braces(c->run, self(c), c->args);
}

/* ---- filling up ---- */

static struct jinja_value pad(struct jinja_call *c, int side) /* -1: text left, 1: right, 0: centre */
{
    const struct jinja_str *s = self(c), space = {.data = " ", .n = 1};
    const struct jinja_str *fill = jinja_given(c, 1) ? jinja_arg_str(c, 1) : &space;
    int64_t n = (int64_t)jinja_str_length(c->run, s), width = jinja_arg_int(c, 0, 0),
            more = width > n ? width - n : 0;
    if (jinja_str_length(c->run, fill) != 1)
        jinja_fail(c->run, "The fill character must be exactly one character long");
    int64_t left = side < 0 ? 0 : side > 0 ? more : more / 2 + (more & width & 1);
    struct jinja_buf out;
    jinja_buf_init(&out, c->run);
    for (int64_t i = 0; i < more; i++) {
        if (i == left)
            jinja_put_str(&out, s);
        jinja_put_str(&out, fill);
        jinja_charge(c->run, 1);
    }
    if (left >= more)
        jinja_put_str(&out, s);
    return jinja_buf_value(&out);
}

static struct jinja_value m_ljust(struct jinja_call *c)
{
    return pad(c, -1);
}

static struct jinja_value m_rjust(struct jinja_call *c)
{
    return pad(c, 1);
}

static struct jinja_value m_center(struct jinja_call *c)
{
    return pad(c, 0);
}

static struct jinja_value m_zfill(struct jinja_call *c)
{
    const struct jinja_str *s = self(c);
    int64_t more = jinja_arg_int(c, 0, 0) - (int64_t)jinja_str_length(c->run, s);
    bool has_sign = s->n > 0 && (s->data[0] == '-' || s->data[0] == '+');
    struct jinja_buf out;
    jinja_buf_init(&out, c->run);
    jinja_put_part(&out, s, 0, has_sign);
    for (; more > 0; more--) {
        jinja_puts(&out, "0");
        jinja_charge(c->run, 1);
    }
    jinja_put_part(&out, s, has_sign, s->n);
    return jinja_buf_value(&out);
}

/* ---- kinds of characters ---- */

static bool is_alpha(struct jinja_run *run, uint32_t cp)
{
    return jinja_is_alpha(run, cp);
}

static bool is_decimal(struct jinja_run *run, uint32_t cp)
{
    (void)run;
    return jinja_is_decimal(cp);
}

static bool is_digit(struct jinja_run *run, uint32_t cp)
{
    (void)run;
    return jinja_is_digit(cp);
}

static bool is_numeric(struct jinja_run *run, uint32_t cp)
{
    (void)run;
    return jinja_is_numeric(cp);
}

static bool is_alnum(struct jinja_run *run, uint32_t cp)
{
    return jinja_is_alpha(run, cp) || jinja_is_numeric(cp);
}

static bool is_space(struct jinja_run *run, uint32_t cp)
{
    (void)run;
    return jinja_is_space(cp);
}

static bool is_ascii(struct jinja_run *run, uint32_t cp)
{
    (void)run;
    return cp < 128;
}

/* aux 0: an empty string is not; 1: it is */
static struct jinja_value all_are(struct jinja_call *c, bool (*test)(struct jinja_run *, uint32_t))
{
    const struct jinja_str *s = self(c);
    jinja_charge(c->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t at = 0; at < s->n;) {
        uint32_t cp;
        at += jinja_char_at(s, at, &cp);
        if (!test(c->run, cp))
            return jinja_bool(false);
    }
    return jinja_bool(s->n > 0 || c->aux);
}

static struct jinja_value m_isalpha(struct jinja_call *c)
{
    return all_are(c, is_alpha);
}

static struct jinja_value m_isdecimal(struct jinja_call *c)
{
    return all_are(c, is_decimal);
}

static struct jinja_value m_isdigit(struct jinja_call *c)
{
    return all_are(c, is_digit);
}

static struct jinja_value m_isnumeric(struct jinja_call *c)
{
    return all_are(c, is_numeric);
}

static struct jinja_value m_isalnum(struct jinja_call *c)
{
    return all_are(c, is_alnum);
}

static struct jinja_value m_isspace(struct jinja_call *c)
{
    return all_are(c, is_space);
}

static struct jinja_value m_isascii(struct jinja_call *c)
{
    return all_are(c, is_ascii);
}

static struct jinja_value m_isprintable(struct jinja_call *c)
{
    return all_are(c, jinja_is_printable);
}

static struct jinja_value m_isidentifier(struct jinja_call *c)
{
    const struct jinja_str *s = self(c);
    jinja_charge(c->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t at = 0; at < s->n;) {
        uint32_t cp;
        bool is_first = at == 0;
        at += jinja_char_at(s, at, &cp);
        if (cp != '_' && !jinja_is_alpha(c->run, cp) && (is_first || !jinja_is_decimal(cp)))
            return jinja_bool(false);
    }
    return jinja_bool(s->n > 0);
}

/* At least one letter with a case, and all of them of that case. */
static struct jinja_value is_cased(struct jinja_call *c, enum jinja_case how)
{
    const struct jinja_str *s = self(c);
    return jinja_bool(
        jinja_str_equal(s, jinja_change_case(c->run, s, how).as.s) &&
        !jinja_str_equal(s,
                         jinja_change_case(c->run, s, how == JINJA_UPPER ? JINJA_LOWER : JINJA_UPPER).as.s));
}

static struct jinja_value m_isupper(struct jinja_call *c)
{
    return is_cased(c, JINJA_UPPER);
}

static struct jinja_value m_islower(struct jinja_call *c)
{
    return is_cased(c, JINJA_LOWER);
}

/* title() finds nothing to change, and there is a letter with a case. */
static struct jinja_value m_istitle(struct jinja_call *c)
{
    const struct jinja_str *s = self(c);
    return jinja_bool(jinja_str_equal(s, jinja_change_case(c->run, s, JINJA_TITLE).as.s) &&
                      !jinja_str_equal(s, jinja_change_case(c->run, s, JINJA_SWAPCASE).as.s));
}

static struct jinja_value m_expandtabs(struct jinja_call *c)
{
    const struct jinja_str *s = self(c);
    int64_t size = jinja_arg_int(c, 0, 8), column = 0;
    struct jinja_buf out;
    jinja_buf_init(&out, c->run);
    jinja_charge(c->run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t at = 0, n; at < s->n; at += n) {
        uint32_t cp;
        n = jinja_char_at(s, at, &cp);
        if (cp != '\t') {
            jinja_put_part(&out, s, at, at + n);
            column = cp == '\n' || cp == '\r' ? 0 : column + 1;
            continue;
        }
        for (int64_t more = size > 0 ? size - column % size : 0; more > 0; more--, column++) {
            jinja_put(&out, " ", 1, jinja_is_input_at(s, at));
            jinja_charge(c->run, 1);
        }
    }
    return jinja_buf_value(&out);
}

const struct jinja_builtin *jinja_str_method_find(const struct jinja_str *name)
{
    static const struct jinja_builtin methods[] = {
        {"split", "sep maxsplit", m_split, 0},
        {"strip", "chars", m_strip, 0},
        {"lstrip", "chars", m_lstrip, 0},
        {"rstrip", "chars", m_rstrip, 0},
        {"startswith", "prefix| start end", m_startswith, 0},
        {"endswith", "suffix| start end", m_endswith, 0},
        {"replace", "old new| count", m_replace, 0},
        {"upper", "", m_upper, 0},
        {"lower", "", m_lower, 0},
        {"title", "", m_title, 0},
        {"capitalize", "", m_capitalize, 0},
        {"swapcase", "", m_swapcase, 0},
        {"casefold", "", m_casefold, 0},
        {"rsplit", "sep maxsplit", m_rsplit, 0},
        {"splitlines", "keepends", m_splitlines, 0},
        {"find", "sub| start end", m_find, 0},
        {"rfind", "sub| start end", m_rfind, 0},
        {"index", "sub| start end", m_index, 0},
        {"rindex", "sub| start end", m_rindex, 0},
        {"count", "sub| start end", m_count, 0},
        {"join", "iterable|", m_join, 0},
        {"format", "*", m_format, 0},
        {"removeprefix", "prefix|", m_removeprefix, 0},
        {"removesuffix", "suffix|", m_removesuffix, 0},
        {"partition", "sep|", m_partition, 0},
        {"rpartition", "sep|", m_rpartition, 0},
        {"ljust", "width| fillchar", m_ljust, 0},
        {"rjust", "width| fillchar", m_rjust, 0},
        {"center", "width| fillchar", m_center, 0},
        {"zfill", "width|", m_zfill, 0},
        {"isalpha", "", m_isalpha, 0},
        {"isdigit", "", m_isdigit, 0},
        {"isdecimal", "", m_isdecimal, 0},
        {"isnumeric", "", m_isnumeric, 0},
        {"isascii", "", m_isascii, 1},
        {"isprintable", "", m_isprintable, 1},
        {"isidentifier", "", m_isidentifier, 0},
        {"isalnum", "", m_isalnum, 0},
        {"isspace", "", m_isspace, 0},
        {"isupper", "", m_isupper, 0},
        {"islower", "", m_islower, 0},
        {"istitle", "", m_istitle, 0},
        {"expandtabs", "tabsize", m_expandtabs, 0},
    };
    return jinja_find_in(methods, sizeof methods / sizeof *methods, name);
}
