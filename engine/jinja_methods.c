/* jinja_methods.c: the methods of lists, dicts, loops and cyclers; those of strings are in
 * jinja_str_methods.c. Those that would change a list or a dict are refused, as transformers' sandbox does.
 */
#include "engine/jinja_value.h"

/* ---- dict ---- */

static struct jinja_value view(struct jinja_call *c, const char *name, int what)
{
    const struct jinja_dict *d = c->self.as.d;
    struct jinja_list *list = jinja_list_new(c->run, JINJA_KIND_VIEW, d->n);
    list->view_name = name;
    for (size_t i = 0; i < d->n; i++)
        jinja_list_append(c->run, list,
                          what == 0   ? d->pairs[i].key
                          : what == 1 ? d->pairs[i].value
                                      : jinja_pair(c->run, d->pairs[i].key, d->pairs[i].value));
    jinja_charge(c->run, d->n / 4);
    return jinja_list_value(list);
}

static struct jinja_value dict_keys(struct jinja_call *c)
{
    return view(c, "dict_keys", 0);
}

static struct jinja_value dict_values(struct jinja_call *c)
{
    return view(c, "dict_values", 1);
}

static struct jinja_value dict_items(struct jinja_call *c)
{
    return view(c, "dict_items", 2);
}

static struct jinja_value dict_get(struct jinja_call *c)
{
    const struct jinja_value *value = jinja_dict_find(c->run, c->self.as.d, c->a[0]);
    return value ? *value : c->a[1].type == JINJA_MISSING ? jinja_null() : c->a[1];
}

static struct jinja_value dict_copy(struct jinja_call *c)
{
    struct jinja_dict *copy = jinja_dict_new(c->run);
    const struct jinja_dict *d = c->self.as.d;
    for (size_t i = 0; i < d->n; i++)
        jinja_dict_set(c->run, copy, d->pairs[i].key, d->pairs[i].value);
    return (struct jinja_value){.type = JINJA_DICT, .as.d = copy};
}

static struct jinja_value dict_fromkeys(struct jinja_call *c)
{
    struct jinja_dict *d = jinja_dict_new(c->run);
    const struct jinja_list *keys = jinja_iterate(c->run, c->a[0]);
    for (size_t i = 0; i < keys->n; i++)
        jinja_dict_set(c->run, d, keys->items[i], c->a[1].type == JINJA_MISSING ? jinja_null() : c->a[1]);
    return (struct jinja_value){.type = JINJA_DICT, .as.d = d};
}

/* ---- list ---- */

static struct jinja_value list_copy(struct jinja_call *c)
{
    return jinja_list_value(jinja_copy_items(c->run, c->self, JINJA_KIND_LIST));
}

static struct jinja_value list_index(struct jinja_call *c)
{
    const struct jinja_list *list = c->self.as.l;
    for (size_t i = 0; i < list->n; i++) {
        jinja_charge(c->run, 1);
        if (jinja_equal(c->run, list->items[i], c->a[0]))
            return jinja_int((int64_t)i);
    }
    jinja_fail(c->run, "the value is not in the list");
}

static struct jinja_value list_count(struct jinja_call *c)
{
    const struct jinja_list *list = c->self.as.l;
    int64_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        jinja_charge(c->run, 1);
        n += jinja_equal(c->run, list->items[i], c->a[0]);
    }
    return jinja_int(n);
}

/* ---- loop and cycler ---- */

static struct jinja_value loop_cycle(struct jinja_call *c)
{
    if (!c->args->n)
        jinja_fail(c->run, "no items for cycling given");
    return c->args->items[c->self.as.loop->index % c->args->n];
}

static struct jinja_value loop_changed(struct jinja_call *c)
{
    struct jinja_list *now = jinja_list_new(c->run, JINJA_KIND_TUPLE, 0);
    for (size_t i = 0; i < c->args->n; i++)
        jinja_list_append(c->run, now, c->args->items[i]);
    struct jinja_loop *loop = c->self.as.loop;
    bool changed =
        loop->changed.type == JINJA_MISSING || !jinja_equal(c->run, loop->changed, jinja_list_value(now));
    loop->changed = jinja_list_value(now);
    return jinja_bool(changed);
}

static struct jinja_value cycler_next(struct jinja_call *c)
{
    struct jinja_cycler *cycler = c->self.as.cycler;
    struct jinja_value item = cycler->items->items[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->items->n;
    return item;
}

static struct jinja_value cycler_reset(struct jinja_call *c)
{
    c->self.as.cycler->at = 0;
    return jinja_null();
}

static const struct jinja_builtin dict_methods[] = {
    {"get", "key| default", dict_get, 0}, {"items", "", dict_items, 0},
    {"keys", "", dict_keys, 0},           {"values", "", dict_values, 0},
    {"copy", "", dict_copy, 0},           {"fromkeys", "keys| value", dict_fromkeys, 0},
};
static const struct jinja_builtin list_methods[] = {
    {"copy", "", list_copy, 0},
    {"index", "value|", list_index, 0},
    {"count", "value|", list_count, 0},
};
static const struct jinja_builtin tuple_methods[] = {
    {"index", "value|", list_index, 0},
    {"count", "value|", list_count, 0},
};
static const struct jinja_builtin loop_methods[] = {
    {"cycle", "*", loop_cycle, 0},
    {"changed", "*", loop_changed, 0},
};
static const struct jinja_builtin cycler_methods[] = {
    {"next", "", cycler_next, 0},
    {"reset", "", cycler_reset, 0},
};
#define FIND(table) jinja_find_in(table, sizeof table / sizeof *table, name)

bool jinja_is_refused(struct jinja_value self, const struct jinja_str *name)
{
    static const char *const of_lists[] = {"append", "clear",  "extend",  "insert",
                                           "pop",    "remove", "reverse", "sort"};
    static const char *const of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
    bool is_list = self.type == JINJA_LIST && self.as.l->kind == JINJA_KIND_LIST;
    const char *const *names = is_list ? of_lists : of_dicts;
    size_t n = is_list                   ? sizeof of_lists / sizeof *of_lists
               : self.type == JINJA_DICT ? sizeof of_dicts / sizeof *of_dicts
                                         : 0;
    for (size_t i = 0; i < n; i++)
        if (jinja_str_is(name, names[i]))
            return true;
    return false;
}

const struct jinja_builtin *jinja_method_find(struct jinja_value self, const struct jinja_str *name)
{
    switch (self.type) {
    case JINJA_STRING:
        return jinja_str_method_find(name);
    case JINJA_DICT:
        return FIND(dict_methods);
    case JINJA_LIST:
        return self.as.l->kind == JINJA_KIND_LIST    ? FIND(list_methods)
               : self.as.l->kind <= JINJA_KIND_RANGE ? FIND(tuple_methods)
                                                     : NULL;
    case JINJA_LOOP:
        return FIND(loop_methods);
    case JINJA_CYCLER:
        return FIND(cycler_methods);
    default:
        return NULL;
    }
}
