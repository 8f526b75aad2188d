/* jinja_strip.c: what Python's str does to ends and parts. */
#include "engine/jinja_value.h"

/* The characters to strip: those of ASCII in a table, since a template may give any number of them; others
 * are looked for one by one, and charged. */
struct char_set {
    struct jinja_run *run;
    const struct jinja_str *chars; /* NULL: white space */
    bool ascii[128];
};

static struct char_set char_set(struct jinja_run *run, const struct jinja_str *chars)
{
    struct char_set set = {.run = run, .chars = chars};
    for (size_t i = 0; chars && i < chars->n; i++)
        if ((unsigned char)chars->data[i] < 128)
            set.ascii[(unsigned char)chars->data[i]] = true;
    jinja_charge(run, chars ? chars->n / JINJA_CHARS_PER_STEP : 0);
    return set;
}

static bool is_one_of(uint32_t cp, const struct char_set *set)
{
    if (!set->chars)
        return jinja_is_space(cp);
    if (cp < 128)
        return set->ascii[cp];
    for (size_t at = 0; at < set->chars->n;) {
        uint32_t other;
        at += jinja_char_at(set->chars, at, &other);
        if (other == cp) {
            jinja_charge(set->run, at / JINJA_CHARS_PER_STEP);
            return true;
        }
    }
    jinja_charge(set->run, set->chars->n / JINJA_CHARS_PER_STEP);
    return false;
}

struct jinja_value jinja_strip(struct jinja_run *run, const struct jinja_str *s,
                               const struct jinja_str *chars, int sides)
{
    const struct char_set set = char_set(run, chars);
    size_t from = 0, to = s->n;
    uint32_t cp;
    if (sides & JINJA_STRIP_LEFT)
        for (size_t n; from < to && (n = jinja_char_at(s, from, &cp)) > 0 && is_one_of(cp, &set);)
            from += n;
    if (sides & JINJA_STRIP_RIGHT)
        for (size_t n; to > from && (n = jinja_char_before(s, to, &cp)) > 0 && is_one_of(cp, &set);)
            to -= n;
    jinja_charge(run, (s->n - (to - from)) / JINJA_CHARS_PER_STEP);
    return jinja_part(run, s, from, to);
}

struct jinja_value jinja_replace(struct jinja_run *run, const struct jinja_str *s,
                                 const struct jinja_str *from, const struct jinja_str *to, int64_t max)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    size_t at = 0;
    for (; max != 0; max--) {
        size_t hit = jinja_str_find(run, s, at, from);
        if (hit == SIZE_MAX)
            break;
        jinja_put_part(&out, s, at, hit);
        jinja_put_str(&out, to);
        at = hit + from->n;
        jinja_charge(run, 1);
        if (from->n == 0) { /* between all characters, and at both ends */
            uint32_t cp;
            if (at >= s->n)
                break;
            size_t n = jinja_char_at(s, at, &cp);
            jinja_put_part(&out, s, at, at + n);
            at += n;
        }
    }
    jinja_put_part(&out, s, at, s->n);
    struct jinja_value v = jinja_buf_value(&out);
    v.as.s->is_safe = s->is_safe;
    return v;
}
