/* jinja_vars.c: the values a caller gives to a rendering. Nothing here can leave by longjmp: what does not
 * fit marks the set, and jinja_render says so. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja_value.h"

struct jinja_vars *jinja_vars_new(struct err *err)
{
    struct jinja_vars *vars = mem_alloc(sizeof *vars, err);
    if (vars)
        vars->arena.max_bytes = JINJA_MAX_MEMORY_BYTES;
    return vars;
}

void jinja_vars_free(struct jinja_vars *vars)
{
    if (!vars)
        return;
    jinja_arena_fini(&vars->arena);
    mem_free(vars);
}

static void *take(struct jinja_vars *vars, size_t n)
{
    void *p = jinja_arena_alloc(&vars->arena, n);
    vars->failed |= !p;
    return p;
}

static struct jinja_value new_string(struct jinja_vars *vars, const char *bytes, size_t n, bool is_input)
{
    struct jinja_str *s = take(vars, sizeof *s);
    char *data = take(vars, n);
    struct jinja_span *span = is_input && n ? take(vars, sizeof *span) : NULL;
    if (vars->failed)
        return jinja_null();
    if (n)
        memcpy(data, bytes, n);
    *s = (struct jinja_str){.data = data, .n = n};
    if (span) {
        *span = (struct jinja_span){0, n};
        s->spans = span;
        s->n_spans = 1;
    }
    return (struct jinja_value){.type = JINJA_STRING, .as.s = s};
}

struct jinja_value jinja_string_input(struct jinja_vars *vars, const char *bytes, size_t n)
{
    return new_string(vars, bytes, n, true);
}

struct jinja_value jinja_string_trusted(struct jinja_vars *vars, const char *bytes, size_t n)
{
    return new_string(vars, bytes, n, false);
}

struct jinja_value jinja_list(struct jinja_vars *vars)
{
    struct jinja_list *list = take(vars, sizeof *list);
    return list ? (struct jinja_value){.type = JINJA_LIST, .as.l = list} : jinja_null();
}

/* Room for one more item behind the n of an array; the array as it may have moved, NULL when there is none.
 */
static void *one_more(struct jinja_vars *vars, void *items, size_t n, size_t *cap, size_t item_bytes)
{
    size_t bytes, more_cap = *cap ? *cap * 2 : 8;
    if (n < *cap)
        return items;
    void *more = mem_mul(more_cap, item_bytes, &bytes) ? take(vars, bytes) : NULL;
    vars->failed |= !more;
    if (!more)
        return NULL;
    if (n)
        memcpy(more, items, n * item_bytes);
    *cap = more_cap;
    return more;
}

void jinja_list_add(struct jinja_vars *vars, struct jinja_value list, struct jinja_value item)
{
    if (list.type != JINJA_LIST)
        return;
    struct jinja_list *l = list.as.l;
    struct jinja_value *items = one_more(vars, l->items, l->n, &l->cap, sizeof *items);
    if (!items)
        return;
    l->items = items;
    items[l->n++] = item;
}

struct jinja_value jinja_dict(struct jinja_vars *vars)
{
    struct jinja_dict *d = take(vars, sizeof *d);
    return d ? (struct jinja_value){.type = JINJA_DICT, .as.d = d} : jinja_null();
}

static void add_pair(struct jinja_vars *vars, struct jinja_dict *d, struct jinja_value key,
                     struct jinja_value value)
{
    struct jinja_value *old =
        key.type == JINJA_STRING ? jinja_dict_find_text(d, key.as.s->data, key.as.s->n) : NULL;
    if (old) {
        *old = value;
        return;
    }
    struct jinja_pair *pairs = one_more(vars, d->pairs, d->n, &d->cap, sizeof *pairs);
    if (!pairs || key.type != JINJA_STRING)
        return;
    d->pairs = pairs;
    pairs[d->n++] = (struct jinja_pair){key, value};
}

void jinja_dict_add(struct jinja_vars *vars, struct jinja_value dict, const char *key, size_t n,
                    struct jinja_value value)
{
    if (dict.type == JINJA_DICT)
        add_pair(vars, dict.as.d, jinja_string_input(vars, key, n), value);
}

void jinja_vars_set(struct jinja_vars *vars, const char *name, struct jinja_value value)
{
    add_pair(vars, &vars->globals, jinja_string_trusted(vars, name, strlen(name)), value);
}
