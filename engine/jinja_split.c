/* jinja_split.c: splitting and joining strings. */
#include "engine/jinja_value.h"

static void reverse(struct jinja_list *list)
{
    for (size_t i = 0; i < list->n / 2; i++) {
        struct jinja_value item = list->items[i];
        list->items[i] = list->items[list->n - 1 - i];
        list->items[list->n - 1 - i] = item;
    }
}

static void add_part(struct jinja_run *run, struct jinja_list *list, const struct jinja_str *s, size_t from,
                     size_t to)
{
    jinja_charge(run, 1);
    jinja_list_append(run, list, jinja_part(run, s, from, to));
}

static void split_left(struct jinja_run *run, struct jinja_list *list, const struct jinja_str *s,
                       const struct jinja_str *sep, int64_t max)
{
    size_t at = 0;
    for (; max != 0; max--) {
        size_t hit = jinja_str_find(run, s, at, sep);
        if (hit == SIZE_MAX)
            break;
        add_part(run, list, s, at, hit);
        at = hit + sep->n;
    }
    add_part(run, list, s, at, s->n);
}

static void split_right(struct jinja_run *run, struct jinja_list *list, const struct jinja_str *s,
                        const struct jinja_str *sep, int64_t max)
{
    const struct jinja_search search = jinja_search_right(run, s, sep);
    size_t end = s->n;
    for (; max != 0; max--) {
        size_t hit = jinja_search_last(&search, end);
        if (hit == SIZE_MAX)
            break;
        add_part(run, list, s, hit + sep->n, end);
        end = hit;
    }
    add_part(run, list, s, 0, end);
    reverse(list);
}

static void split_words(struct jinja_run *run, struct jinja_list *list, const struct jinja_str *s,
                        int64_t max)
{
    uint32_t cp;
    size_t at = 0, n;
    jinja_charge(run, s->n / JINJA_CHARS_PER_STEP);
    for (;; max--) {
        while (at < s->n && (n = jinja_char_at(s, at, &cp)) > 0 && jinja_is_space(cp))
            at += n;
        if (at >= s->n)
            return;
        if (max == 0)
            break;
        size_t from = at;
        while (at < s->n && (n = jinja_char_at(s, at, &cp)) > 0 && !jinja_is_space(cp))
            at += n;
        add_part(run, list, s, from, at);
    }
    add_part(run, list, s, at, s->n);
}

static void split_words_right(struct jinja_run *run, struct jinja_list *list, const struct jinja_str *s,
                              int64_t max)
{
    uint32_t cp;
    size_t end = s->n, n;
    jinja_charge(run, s->n / JINJA_CHARS_PER_STEP);
    for (;; max--) {
        while (end > 0 && (n = jinja_char_before(s, end, &cp)) > 0 && jinja_is_space(cp))
            end -= n;
        if (end == 0)
            break;
        size_t to = end;
        while (max != 0 && end > 0 && (n = jinja_char_before(s, end, &cp)) > 0 && !jinja_is_space(cp))
            end -= n;
        add_part(run, list, s, max == 0 ? 0 : end, to);
        if (max == 0)
            break;
    }
    reverse(list);
}

struct jinja_value jinja_split(struct jinja_run *run, const struct jinja_str *s, const struct jinja_str *sep,
                               int64_t max, bool from_right)
{
    struct jinja_list *list = jinja_list_new(run, JINJA_KIND_LIST, 0);
    if (sep && sep->n == 0)
        jinja_fail(run, "empty separator");
    if (!sep && from_right)
        split_words_right(run, list, s, max);
    else if (!sep)
        split_words(run, list, s, max);
    else if (from_right)
        split_right(run, list, s, sep, max);
    else
        split_left(run, list, s, sep, max);
    return jinja_list_value(list);
}

struct jinja_list *jinja_split_lines(struct jinja_run *run, const struct jinja_str *s, bool keep_ends)
{
    struct jinja_list *lines = jinja_list_new(run, JINJA_KIND_LIST, 0);
    jinja_charge(run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t from = 0, at = 0, n; at < s->n; at += n) {
        uint32_t cp;
        n = jinja_char_at(s, at, &cp);
        bool is_end =
            (cp >= 10 && cp <= 13) || (cp >= 28 && cp <= 30) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
        if (cp == '\r' && at + 1 < s->n && s->data[at + 1] == '\n')
            n = 2;
        if (is_end || at + n >= s->n) {
            add_part(run, lines, s, from, is_end && !keep_ends ? at : at + n);
            from = at + n;
        }
    }
    return lines;
}

struct jinja_value jinja_join(struct jinja_run *run, const struct jinja_str *glue,
                              const struct jinja_list *items, bool only_strings)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    for (size_t i = 0; i < items->n; i++) {
        if (only_strings && items->items[i].type != JINJA_STRING)
            jinja_fail(run, "sequence item %zu: expected str instance, %s found", i,
                       jinja_type_name(items->items[i]));
        if (i)
            jinja_put_str(&out, glue);
        jinja_put_value(&out, items->items[i]);
        jinja_charge(run, 1);
    }
    return jinja_buf_value(&out);
}
