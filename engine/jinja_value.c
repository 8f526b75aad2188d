/* jinja_value.c: lists, dicts, truth, equality, order and iteration, as Python has them. */
#include "engine/jinja_value.h"

#include <math.h>
#include <string.h>

struct jinja_value jinja_null(void)
{
    return (struct jinja_value){.type = JINJA_NONE};
}

struct jinja_value jinja_bool(bool b)
{
    return (struct jinja_value){.type = JINJA_BOOL, .as.b = b};
}

struct jinja_value jinja_int(int64_t i)
{
    return (struct jinja_value){.type = JINJA_INT, .as.i = i};
}

struct jinja_value jinja_float(double f)
{
    return (struct jinja_value){.type = JINJA_FLOAT, .as.f = f};
}

struct jinja_value jinja_missing(void)
{
    return (struct jinja_value){.type = JINJA_MISSING};
}

struct jinja_value jinja_undefined(struct jinja_run *run, const char *owner, struct jinja_value name)
{
    struct jinja_undef *u = jinja_alloc(run, sizeof *u);
    *u = (struct jinja_undef){.owner = owner, .name = name};
    return (struct jinja_value){.type = JINJA_UNDEFINED, .as.u = u};
}

struct jinja_value jinja_undefined_hint(struct jinja_run *run, const char *hint)
{
    struct jinja_undef *u = jinja_alloc(run, sizeof *u);
    *u = (struct jinja_undef){.hint = hint};
    return (struct jinja_value){.type = JINJA_UNDEFINED, .as.u = u};
}

void jinja_fail_undefined(struct jinja_run *run, struct jinja_value v)
{
    const struct jinja_undef *u = v.as.u;
    struct jinja_buf name;
    jinja_buf_init(&name, run);
    if (u->hint)
        jinja_fail(run, "%s", u->hint);
    jinja_put_repr(&name, u->name);
    int n = name.n > 200 ? 200 : (int)name.n;
    if (!u->owner)
        jinja_fail(run, "%.*s is undefined", n, name.data);
    if (u->name.type != JINJA_STRING)
        jinja_fail(run, "%s has no element %.*s", u->owner, n, name.data);
    jinja_fail(run, "'%s' has no attribute %.*s", u->owner, n, name.data);
}

/* ---- lists ---- */

struct jinja_list *jinja_list_new(struct jinja_run *run, enum jinja_kind kind, size_t cap)
{
    struct jinja_list *list = jinja_alloc(run, sizeof *list);
    *list = (struct jinja_list){.kind = kind, .cap = cap};
    if (cap)
        list->items = jinja_alloc_array(run, cap, sizeof *list->items);
    return list;
}

struct jinja_value jinja_list_value(struct jinja_list *list)
{
    return (struct jinja_value){.type = JINJA_LIST, .as.l = list};
}

void jinja_list_append(struct jinja_run *run, struct jinja_list *list, struct jinja_value item)
{
    list->items = jinja_grow(run, list->items, list->n, &list->cap, sizeof *list->items);
    list->items[list->n++] = item;
}

struct jinja_value jinja_pair(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    struct jinja_list *pair = jinja_list_new(run, JINJA_KIND_TUPLE, 2);
    jinja_list_append(run, pair, a);
    jinja_list_append(run, pair, b);
    return jinja_list_value(pair);
}

/* ---- dicts ---- */

struct jinja_dict *jinja_dict_new(struct jinja_run *run)
{
    struct jinja_dict *d = jinja_alloc(run, sizeof *d);
    *d = (struct jinja_dict){0};
    return d;
}

static void check_hashable(struct jinja_run *run, struct jinja_value key)
{
    if (key.type == JINJA_DICT || (key.type == JINJA_LIST && key.as.l->kind == JINJA_KIND_LIST))
        jinja_fail(run, "unhashable type: '%s'", jinja_type_name(key));
}

struct jinja_value *jinja_dict_find(struct jinja_run *run, const struct jinja_dict *d, struct jinja_value key)
{
    check_hashable(run, key);
    jinja_charge(run, d->n / 8);
    for (size_t i = 0; i < d->n; i++)
        if (jinja_equal(run, d->pairs[i].key, key))
            return &d->pairs[i].value;
    return NULL;
}

struct jinja_value *jinja_dict_find_text(const struct jinja_dict *d, const char *key, size_t n)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct jinja_value *k = &d->pairs[i].key;
        if (k->type == JINJA_STRING && k->as.s->n == n && !memcmp(k->as.s->data, key, n))
            return &d->pairs[i].value;
    }
    return NULL;
}

void jinja_dict_set(struct jinja_run *run, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value)
{
    struct jinja_value *old = jinja_dict_find(run, d, key);
    if (old) {
        *old = value;
        return;
    }
    d->pairs = jinja_grow(run, d->pairs, d->n, &d->cap, sizeof *d->pairs);
    d->pairs[d->n++] = (struct jinja_pair){key, value};
}

struct jinja_value jinja_dict_pairs(struct jinja_run *run, const struct jinja_dict *d)
{
    struct jinja_list *pairs = jinja_list_new(run, JINJA_KIND_GENERATOR, d->n);
    for (size_t i = 0; i < d->n; i++)
        jinja_list_append(run, pairs, jinja_pair(run, d->pairs[i].key, d->pairs[i].value));
    jinja_charge(run, d->n);
    return jinja_list_value(pairs);
}

/* ---- kinds ---- */

bool jinja_is_integer(struct jinja_value v)
{
    return v.type == JINJA_INT || v.type == JINJA_BOOL;
}

bool jinja_is_number(struct jinja_value v)
{
    return jinja_is_integer(v) || v.type == JINJA_FLOAT;
}

int64_t jinja_as_int(struct jinja_value v)
{
    return v.type == JINJA_BOOL ? v.as.b : v.as.i;
}

double jinja_as_float(struct jinja_value v)
{
    return v.type == JINJA_FLOAT ? v.as.f : (double)jinja_as_int(v);
}

bool jinja_truth(struct jinja_value v)
{
    switch (v.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
    case JINJA_MISSING:
        return false;
    case JINJA_BOOL:
        return v.as.b;
    case JINJA_INT:
        return v.as.i != 0;
    case JINJA_FLOAT:
        return v.as.f != 0;
    case JINJA_STRING:
        return v.as.s->n > 0;
    case JINJA_LIST:
        return v.as.l->n > 0 || v.as.l->kind == JINJA_KIND_GENERATOR;
    case JINJA_DICT:
        return v.as.d->n > 0;
    }
    return true;
}

static const char *list_name(const struct jinja_list *list)
{
    switch (list->kind) {
    case JINJA_KIND_LIST:
        return "list";
    case JINJA_KIND_TUPLE:
        return "tuple";
    case JINJA_KIND_RANGE:
        return "range";
    case JINJA_KIND_GENERATOR:
        return "generator";
    case JINJA_KIND_VIEW:
        break;
    }
    return list->view_name;
}

const char *jinja_type_name(struct jinja_value v)
{
    static const char *const names[] = {
        [JINJA_UNDEFINED] = "Undefined", [JINJA_NONE] = "NoneType",
        [JINJA_BOOL] = "bool",           [JINJA_INT] = "int",
        [JINJA_FLOAT] = "float",         [JINJA_STRING] = "str",
        [JINJA_DICT] = "dict",           [JINJA_NAMESPACE] = "Namespace",
        [JINJA_LOOP] = "LoopContext",    [JINJA_MACRO] = "Macro",
        [JINJA_BUILTIN] = "function",    [JINJA_METHOD] = "builtin_function_or_method",
        [JINJA_CYCLER] = "Cycler",       [JINJA_JOINER] = "Joiner",
        [JINJA_MISSING] = "missing"};
    return v.type == JINJA_LIST ? list_name(v.as.l) : names[v.type];
}

const char *jinja_object_name(struct jinja_value v)
{
    static const char *const names[] = {[JINJA_UNDEFINED] = "jinja2.runtime.Undefined object",
                                        [JINJA_NONE] = "None",
                                        [JINJA_BOOL] = "bool object",
                                        [JINJA_INT] = "int object",
                                        [JINJA_FLOAT] = "float object",
                                        [JINJA_STRING] = "str object",
                                        [JINJA_DICT] = "dict object",
                                        [JINJA_NAMESPACE] = "jinja2.utils.Namespace object",
                                        [JINJA_LOOP] = "jinja2.runtime.LoopContext object",
                                        [JINJA_MACRO] = "jinja2.runtime.Macro object",
                                        [JINJA_BUILTIN] = "function object",
                                        [JINJA_METHOD] = "builtin_function_or_method object",
                                        [JINJA_CYCLER] = "jinja2.utils.Cycler object",
                                        [JINJA_JOINER] = "jinja2.utils.Joiner object",
                                        [JINJA_MISSING] = "missing"};
    static const char *const kinds[] = {"list object", "tuple object", "range object", "generator object",
                                        "dict view object"};
    return v.type == JINJA_LIST ? kinds[v.as.l->kind] : names[v.type];
}

/* ---- equality and order ---- */

static bool lists_equal(struct jinja_run *run, const struct jinja_list *a, const struct jinja_list *b)
{
    if (a->kind == JINJA_KIND_GENERATOR || b->kind == JINJA_KIND_GENERATOR)
        return a == b;
    if (a->kind != b->kind || a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        jinja_charge(run, 1);
        if (!jinja_equal(run, a->items[i], b->items[i]))
            return false;
    }
    return true;
}

static bool dicts_equal(struct jinja_run *run, const struct jinja_dict *a, const struct jinja_dict *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        jinja_charge(run, 1);
        const struct jinja_value *other = jinja_dict_find(run, b, a->pairs[i].key);
        if (!other || !jinja_equal(run, a->pairs[i].value, *other))
            return false;
    }
    return true;
}

static bool numbers_equal(struct jinja_value a, struct jinja_value b)
{
    if (jinja_is_integer(a) && jinja_is_integer(b))
        return jinja_as_int(a) == jinja_as_int(b);
    return jinja_as_float(a) == jinja_as_float(b);
}

bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    if (jinja_is_number(a) && jinja_is_number(b))
        return numbers_equal(a, b);
    if (a.type != b.type)
        return false;
    if (a.type == JINJA_STRING) {
        if (a.as.s->n > 64)
            jinja_charge(run, a.as.s->n / 64);
        return jinja_str_equal(a.as.s, b.as.s);
    }
    if (a.type == JINJA_NONE || a.type == JINJA_UNDEFINED)
        return true;
    if (a.type != JINJA_LIST && a.type != JINJA_DICT)
        return a.as.d == b.as.d; /* the same object */
    jinja_enter(run);
    bool equal = a.type == JINJA_LIST ? lists_equal(run, a.as.l, b.as.l) : dicts_equal(run, a.as.d, b.as.d);
    jinja_leave(run);
    return equal;
}

static int order_lists(struct jinja_run *run, const struct jinja_list *a, const struct jinja_list *b)
{
    jinja_enter(run);
    int order = 0;
    for (size_t i = 0; order == 0 && i < a->n && i < b->n; i++) {
        jinja_charge(run, 1);
        if (!jinja_equal(run, a->items[i], b->items[i]))
            order = jinja_order(run, a->items[i], b->items[i]);
    }
    jinja_leave(run);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    if (jinja_is_integer(a) && jinja_is_integer(b))
        return (jinja_as_int(a) > jinja_as_int(b)) - (jinja_as_int(a) < jinja_as_int(b));
    if (jinja_is_number(a) && jinja_is_number(b))
        return (jinja_as_float(a) > jinja_as_float(b)) - (jinja_as_float(a) < jinja_as_float(b));
    if (a.type == JINJA_STRING && b.type == JINJA_STRING) {
        jinja_charge(run, a.as.s->n / 64);
        return jinja_str_compare(a.as.s, b.as.s);
    }
    if (a.type == JINJA_LIST && b.type == JINJA_LIST && a.as.l->kind == b.as.l->kind &&
        a.as.l->kind <= JINJA_KIND_TUPLE)
        return order_lists(run, a.as.l, b.as.l);
    if (a.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, a);
    if (b.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, b);
    jinja_fail(run, "'<' not supported between instances of '%s' and '%s'", jinja_type_name(a),
               jinja_type_name(b));
}

bool jinja_less(struct jinja_run *run, struct jinja_value a, struct jinja_value b)
{
    return jinja_order(run, a, b) < 0;
}

bool jinja_contains(struct jinja_run *run, struct jinja_value item, struct jinja_value container)
{
    if (container.type == JINJA_STRING) {
        if (item.type != JINJA_STRING)
            jinja_fail(run, "'in <string>' requires string as left operand, not %s", jinja_type_name(item));
        return jinja_str_find(run, container.as.s, 0, item.as.s) != SIZE_MAX;
    }
    if (container.type == JINJA_DICT)
        return jinja_dict_find(run, container.as.d, item) != NULL;
    if (container.type != JINJA_LIST && container.type != JINJA_UNDEFINED)
        jinja_fail(run, "argument of type '%s' is not iterable", jinja_type_name(container));
    const struct jinja_list *list = jinja_iterate(run, container);
    for (size_t i = 0; i < list->n; i++) {
        jinja_charge(run, 1);
        if (jinja_equal(run, list->items[i], item))
            return true;
    }
    return false;
}

/* ---- iteration ---- */

static struct jinja_list *characters(struct jinja_run *run, const struct jinja_str *s)
{
    struct jinja_list *list = jinja_list_new(run, JINJA_KIND_LIST, 0);
    uint32_t cp;
    for (size_t at = 0, n; at < s->n; at += n) {
        n = jinja_char_at(s, at, &cp);
        jinja_list_append(run, list, jinja_part(run, s, at, at + n));
        jinja_charge(run, 1);
    }
    return list;
}

static struct jinja_list *keys(struct jinja_run *run, const struct jinja_dict *d)
{
    struct jinja_list *list = jinja_list_new(run, JINJA_KIND_LIST, d->n);
    for (size_t i = 0; i < d->n; i++)
        jinja_list_append(run, list, d->pairs[i].key);
    jinja_charge(run, d->n / 4);
    return list;
}

struct jinja_list *jinja_iterate(struct jinja_run *run, struct jinja_value v)
{
    switch (v.type) {
    case JINJA_UNDEFINED:
        return jinja_list_new(run, JINJA_KIND_LIST, 0);
    case JINJA_STRING:
        return characters(run, v.as.s);
    case JINJA_DICT:
        return keys(run, v.as.d);
    case JINJA_LIST:
        if (v.as.l->kind == JINJA_KIND_GENERATOR) {
            struct jinja_list *rest = jinja_list_new(run, JINJA_KIND_GENERATOR, 0);
            *rest = *v.as.l;
            v.as.l->n = v.as.l->cap = 0; /* used up */
            return rest;
        }
        return v.as.l;
    }
    jinja_fail(run, "'%s' object is not iterable", jinja_type_name(v));
}

struct jinja_list *jinja_copy_items(struct jinja_run *run, struct jinja_value v, enum jinja_kind kind)
{
    const struct jinja_list *from = jinja_iterate(run, v);
    struct jinja_list *list = jinja_list_new(run, kind, from->n);
    if (from->n)
        memcpy(list->items, from->items, from->n * sizeof *from->items);
    list->n = from->n;
    jinja_charge(run, from->n / 4);
    return list;
}

bool jinja_length(struct jinja_run *run, struct jinja_value v, size_t *n)
{
    *n = 0;
    if (v.type == JINJA_STRING)
        *n = jinja_str_length(run, v.as.s);
    else if (v.type == JINJA_LIST && v.as.l->kind != JINJA_KIND_GENERATOR)
        *n = v.as.l->n;
    else if (v.type == JINJA_DICT)
        *n = v.as.d->n;
    else if (v.type == JINJA_LOOP)
        *n = v.as.loop->n;
    else if (v.type != JINJA_UNDEFINED)
        return false;
    return true;
}
