/* jinja_list_filters.c: the filters that take or make sequences, and the one that looks all filters up. */
#include <string.h>

#include "engine/jinja_value.h"

static struct jinja_list *items_of(struct jinja_call *c)
{
    return jinja_iterate(c->run, c->self);
}

static struct jinja_value new_list(struct jinja_list *list)
{
    return jinja_list_value(list);
}

/* "a.b.0" of an item; an integer is an index. */
static struct jinja_value attribute(struct jinja_call *c, struct jinja_value item, struct jinja_value path)
{
    if (path.type != JINJA_STRING)
        return path.type == JINJA_MISSING || path.type == JINJA_NONE ? item
                                                                     : jinja_get_item(c->run, item, path);
    const struct jinja_str *s = path.as.s;
    for (size_t from = 0; from <= s->n;) {
        const char *dot = memchr(s->data + from, '.', s->n - from);
        size_t to = dot ? (size_t)(dot - s->data) : s->n;
        struct jinja_value part = jinja_part(c->run, s, from, to);
        jinja_charge(c->run, 1);
        int64_t number = 0;
        bool is_number = to > from && to - from < 10;
        for (size_t i = from; i < to; i++) {
            is_number &= s->data[i] >= '0' && s->data[i] <= '9';
            number = number * 10 + (is_number ? s->data[i] - '0' : 0);
            if (!is_number)
                break;
        }
        item = jinja_get_item(c->run, item, is_number ? jinja_int(number) : part);
        from = to + 1;
    }
    return item;
}

/* Strings compare without case unless asked otherwise. */
static struct jinja_value folded(struct jinja_call *c, struct jinja_value v, bool with_case)
{
    return v.type == JINJA_STRING && !with_case ? jinja_change_case(c->run, v.as.s, JINJA_LOWER) : v;
}

/* ---- first, last, length, list ---- */

static struct jinja_value f_first(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    return list->n ? list->items[0] : jinja_undefined_hint(c->run, "No first item, sequence was empty.");
}

static struct jinja_value f_last(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    return list->n ? list->items[list->n - 1]
                   : jinja_undefined_hint(c->run, "No last item, sequence was empty.");
}

static struct jinja_value f_length(struct jinja_call *c)
{
    size_t n;
    if (!jinja_length(c->run, c->self, &n))
        jinja_fail(c->run, "object of type '%s' has no len()", jinja_type_name(c->self));
    return jinja_int((int64_t)n);
}

static struct jinja_value f_list(struct jinja_call *c)
{
    return new_list(jinja_copy_items(c->run, c->self, JINJA_KIND_LIST));
}

static struct jinja_value f_default(struct jinja_call *c)
{
    bool use = c->self.type == JINJA_UNDEFINED || (jinja_arg_bool(c, 1, false) && !jinja_truth(c->self));
    return !use ? c->self : c->a[0].type == JINJA_MISSING ? jinja_str(c->run, "") : c->a[0];
}

static struct jinja_value f_join(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    const struct jinja_str *glue =
        c->a[0].type == JINJA_MISSING ? jinja_str(c->run, "").as.s : jinja_to_string(c->run, c->a[0]).as.s;
    if (!jinja_given(c, 1))
        return jinja_join(c->run, glue, list, false);
    struct jinja_list *parts = jinja_list_new(c->run, JINJA_KIND_LIST, list->n);
    for (size_t i = 0; i < list->n; i++)
        jinja_list_append(c->run, parts, attribute(c, list->items[i], c->a[1]));
    return jinja_join(c->run, glue, parts, false);
}

static struct jinja_value f_reverse(struct jinja_call *c)
{
    if (c->self.type == JINJA_STRING)
        return jinja_get_slice(c->run, c->self, jinja_missing(), jinja_missing(), jinja_int(-1));
    struct jinja_list *list = jinja_copy_items(c->run, c->self, JINJA_KIND_GENERATOR);
    for (size_t i = 0; i < list->n / 2; i++) {
        struct jinja_value item = list->items[i];
        list->items[i] = list->items[list->n - 1 - i];
        list->items[list->n - 1 - i] = item;
    }
    return new_list(list);
}

/* ---- order ---- */

struct keyed {
    struct jinja_value key, item;
};

/* Merge sort: stable, as Python's. */
static void sort_keyed(struct jinja_run *run, struct keyed *a, struct keyed *space, size_t n, bool reverse)
{
    if (n < 2)
        return;
    size_t half = n / 2, i = 0, k = half;
    sort_keyed(run, a, space, half, reverse);
    sort_keyed(run, a + half, space, n - half, reverse);
    memcpy(space, a, n * sizeof *a);
    for (size_t out = 0; out < n; out++) {
        jinja_charge(run, 1);
        bool right = i == half || (k < n && (reverse ? jinja_less(run, space[i].key, space[k].key)
                                                     : jinja_less(run, space[k].key, space[i].key)));
        a[out] = right ? space[k++] : space[i++];
    }
}

static struct jinja_value sort_by_keys(struct jinja_call *c, struct keyed *keyed, size_t n, bool reverse)
{
    struct jinja_list *list = jinja_list_new(c->run, JINJA_KIND_LIST, n);
    sort_keyed(c->run, keyed, jinja_alloc_array(c->run, n, sizeof *keyed), n, reverse);
    for (size_t i = 0; i < n; i++)
        jinja_list_append(c->run, list, keyed[i].item);
    return new_list(list);
}

/* One attribute, or several separated by commas as a tuple. */
static struct jinja_value sort_key(struct jinja_call *c, struct jinja_value item, struct jinja_value path,
                                   bool with_case)
{
    if (path.type != JINJA_STRING || !memchr(path.as.s->data, ',', path.as.s->n))
        return folded(c, attribute(c, item, path), with_case);
    struct jinja_list *key = jinja_list_new(c->run, JINJA_KIND_TUPLE, 0);
    const struct jinja_str comma = {.data = ",", .n = 1};
    const struct jinja_list *paths = jinja_split(c->run, path.as.s, &comma, -1, false).as.l;
    for (size_t i = 0; i < paths->n; i++)
        jinja_list_append(c->run, key, folded(c, attribute(c, item, paths->items[i]), with_case));
    return jinja_list_value(key);
}

/* sort(reverse=false, case_sensitive=false, attribute=none) */
static struct jinja_value f_sort(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    struct keyed *keyed = jinja_alloc_array(c->run, list->n, sizeof *keyed);
    for (size_t i = 0; i < list->n; i++)
        keyed[i] =
            (struct keyed){sort_key(c, list->items[i], c->a[2], jinja_arg_bool(c, 1, false)), list->items[i]};
    return sort_by_keys(c, keyed, list->n, jinja_arg_bool(c, 0, false));
}

/* dictsort(case_sensitive=false, by='key', reverse=false) */
static struct jinja_value f_dictsort(struct jinja_call *c)
{
    if (c->self.type == JINJA_UNDEFINED)
        jinja_fail_undefined(c->run, c->self);
    if (c->self.type != JINJA_DICT)
        jinja_fail(c->run, "'%s' object has no attribute 'items'", jinja_type_name(c->self));
    const struct jinja_dict *d = c->self.as.d;
    bool by_value = jinja_given(c, 1) && jinja_str_is(jinja_arg_str(c, 1), "value");
    struct keyed *keyed = jinja_alloc_array(c->run, d->n, sizeof *keyed);
    for (size_t i = 0; i < d->n; i++) {
        struct jinja_value key = by_value ? d->pairs[i].value : d->pairs[i].key;
        keyed[i] = (struct keyed){folded(c, key, jinja_arg_bool(c, 0, false)),
                                  jinja_pair(c->run, d->pairs[i].key, d->pairs[i].value)};
    }
    return sort_by_keys(c, keyed, d->n, jinja_arg_bool(c, 2, false));
}

/* min and max(case_sensitive=false, attribute=none); aux 1: max */
static struct jinja_value f_extreme(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    if (!list->n)
        return jinja_undefined_hint(c->run, "No aggregated item, sequence was empty.");
    size_t best = 0;
    struct jinja_value best_key = sort_key(c, list->items[0], c->a[1], jinja_arg_bool(c, 0, false));
    for (size_t i = 1; i < list->n; i++) {
        struct jinja_value key = sort_key(c, list->items[i], c->a[1], jinja_arg_bool(c, 0, false));
        if (c->aux ? jinja_less(c->run, best_key, key) : jinja_less(c->run, key, best_key)) {
            best = i;
            best_key = key;
        }
        jinja_charge(c->run, 1);
    }
    return list->items[best];
}

/* sum(attribute=none, start=0) */
static struct jinja_value f_sum(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    struct jinja_value total = c->a[1].type == JINJA_MISSING ? jinja_int(0) : c->a[1];
    for (size_t i = 0; i < list->n; i++) {
        total = jinja_arith(c->run, '+', total, attribute(c, list->items[i], c->a[0]));
        jinja_charge(c->run, 1);
    }
    return total;
}

static struct jinja_value f_unique(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    struct jinja_list *kept = jinja_list_new(c->run, JINJA_KIND_GENERATOR, 0);
    struct jinja_dict *seen = jinja_dict_new(c->run);
    for (size_t i = 0; i < list->n; i++) {
        struct jinja_value key = sort_key(c, list->items[i], c->a[1], jinja_arg_bool(c, 0, false));
        jinja_charge(c->run, 1);
        if (jinja_dict_find(c->run, seen, key))
            continue;
        jinja_dict_set(c->run, seen, key, jinja_null());
        jinja_list_append(c->run, kept, list->items[i]);
    }
    return new_list(kept);
}

/* ---- items, groups ---- */

static struct jinja_value f_items(struct jinja_call *c)
{
    if (c->self.type == JINJA_UNDEFINED)
        return new_list(jinja_list_new(c->run, JINJA_KIND_GENERATOR, 0));
    if (c->self.type != JINJA_DICT)
        jinja_fail(c->run, "Can only get item pairs from a mapping.");
    return jinja_dict_pairs(c->run, c->self.as.d);
}

/* batch(linecount, fill_with=none) */
static struct jinja_value f_batch(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    struct jinja_list *rows = jinja_list_new(c->run, JINJA_KIND_GENERATOR, 0), *row = NULL;
    int64_t size = jinja_arg_int(c, 0, 1);
    if (size < 1)
        jinja_fail(c->run, "batch needs rows of at least one item");
    for (size_t i = 0; i < list->n; i++) {
        if (!row || row->n == (size_t)size) {
            row = jinja_list_new(c->run, JINJA_KIND_LIST, 0);
            jinja_list_append(c->run, rows, new_list(row));
        }
        jinja_list_append(c->run, row, list->items[i]);
        jinja_charge(c->run, 1);
    }
    while (row && jinja_given(c, 1) && row->n < (size_t)size) {
        jinja_list_append(c->run, row, c->a[1]);
        jinja_charge(c->run, 1);
    }
    return new_list(rows);
}

/* slice(slices, fill_with=none): columns */
static struct jinja_value f_slice(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    struct jinja_list *columns = jinja_list_new(c->run, JINJA_KIND_GENERATOR, 0);
    int64_t n_columns = jinja_arg_int(c, 0, 1);
    if (n_columns < 1)
        jinja_fail(c->run, "integer division or modulo by zero");
    size_t each = list->n / (size_t)n_columns, longer = list->n % (size_t)n_columns, at = 0;
    for (int64_t k = 0; k < n_columns; k++) {
        struct jinja_list *column = jinja_list_new(c->run, JINJA_KIND_LIST, 0);
        for (size_t i = 0; i < each + ((size_t)k < longer); i++)
            jinja_list_append(c->run, column, list->items[at++]);
        if (jinja_given(c, 1) && (size_t)k >= longer)
            jinja_list_append(c->run, column, c->a[1]);
        jinja_list_append(c->run, columns, new_list(column));
        jinja_charge(c->run, 1 + column->n);
    }
    return new_list(columns);
}

/* groupby(attribute, default=none, case_sensitive=false): pairs of the key and a list */
static struct jinja_value f_groupby(struct jinja_call *c)
{
    const struct jinja_list *list = items_of(c);
    struct keyed *keyed = jinja_alloc_array(c->run, list->n, sizeof *keyed);
    struct jinja_list *groups = jinja_list_new(c->run, JINJA_KIND_LIST, 0), *group = NULL;
    bool with_case = jinja_arg_bool(c, 2, false);
    struct jinja_value last = jinja_missing();
    for (size_t i = 0; i < list->n; i++) {
        struct jinja_value key = attribute(c, list->items[i], c->a[0]);
        if (key.type == JINJA_UNDEFINED && c->a[1].type != JINJA_MISSING)
            key = c->a[1];
        keyed[i] = (struct keyed){folded(c, key, with_case), jinja_pair(c->run, key, list->items[i])};
    }
    const struct jinja_list *sorted = sort_by_keys(c, keyed, list->n, false).as.l;
    for (size_t i = 0; i < sorted->n; i++) {
        const struct jinja_value *pair = sorted->items[i].as.l->items;
        struct jinja_value key = folded(c, pair[0], with_case);
        if (!group || !jinja_equal(c->run, key, last)) {
            group = jinja_list_new(c->run, JINJA_KIND_LIST, 0);
            jinja_list_append(c->run, groups, jinja_pair(c->run, pair[0], new_list(group)));
            groups->items[groups->n - 1].as.l->view_name = JINJA_GROUP;
            last = key;
        }
        jinja_list_append(c->run, group, pair[1]);
    }
    return new_list(groups);
}

/* ---- map, select, reject ---- */

static struct jinja_args rest_of(const struct jinja_args *args, size_t n)
{
    struct jinja_args rest = *args;
    rest.items = args->items ? args->items + n : NULL;
    rest.n -= n;
    return rest;
}

/* What is false, None among it, counts as an empty list for this family, and its arguments are not looked at.
 */
static struct jinja_value nothing(struct jinja_call *c)
{
    return new_list(jinja_list_new(c->run, JINJA_KIND_GENERATOR, 0));
}

/* map(attribute=..., default=...) or map('filter', arguments) */
static struct jinja_value f_map(struct jinja_call *c)
{
    if (!jinja_truth(c->self))
        return nothing(c);
    const struct jinja_list *list = items_of(c);
    struct jinja_list *out = jinja_list_new(c->run, JINJA_KIND_GENERATOR, list->n);
    const struct jinja_value *path = jinja_keyword(c->args, "attribute"),
                             *fallback = jinja_keyword(c->args, "default");
    const struct jinja_builtin *fn = NULL;
    struct jinja_args rest = {0};
    if (!path) {
        if (!c->args->n || c->args->items[0].type != JINJA_STRING)
            jinja_fail(c->run, "map requires a filter argument");
        const struct jinja_str *name = c->args->items[0].as.s;
        fn = jinja_filter_find(name);
        if (!fn)
            jinja_fail(c->run, "No filter named '%.*s'.", name->n > 60 ? 60 : (int)name->n, name->data);
        rest = rest_of(c->args, 1);
    }
    for (size_t i = 0; i < list->n; i++) {
        struct jinja_value v = path ? attribute(c, list->items[i], *path)
                                    : jinja_call_builtin(c->run, fn, list->items[i], &rest);
        if (v.type == JINJA_UNDEFINED && path && fallback)
            v = *fallback;
        jinja_charge(c->run, 1);
        jinja_list_append(c->run, out, v);
    }
    return new_list(out);
}

#define BY_ATTRIBUTE 1
#define REJECT 2

/* select, reject (test, arguments); selectattr, rejectattr (attribute, test, arguments) */
static struct jinja_value f_select(struct jinja_call *c)
{
    if (!jinja_truth(c->self))
        return nothing(c);
    const struct jinja_list *list = items_of(c);
    struct jinja_list *out = jinja_list_new(c->run, JINJA_KIND_GENERATOR, 0);
    bool by_attribute = c->aux & BY_ATTRIBUTE;
    const struct jinja_builtin *test = NULL;
    struct jinja_args rest = {0};
    if (by_attribute && !c->args->n)
        jinja_fail(c->run, "Missing parameter for attribute name");
    if (c->args->n > (size_t)by_attribute) {
        struct jinja_value name = c->args->items[by_attribute];
        test = name.type == JINJA_STRING ? jinja_test_find(name.as.s) : NULL;
        if (!test)
            jinja_fail(c->run, "No test named '%.*s'.",
                       name.type == JINJA_STRING && name.as.s->n < 60 ? (int)name.as.s->n : 0,
                       name.type == JINJA_STRING ? name.as.s->data : "");
        rest = rest_of(c->args, (size_t)by_attribute + 1);
    }
    for (size_t i = 0; i < list->n; i++) {
        struct jinja_value v =
            by_attribute ? attribute(c, list->items[i], c->args->items[0]) : list->items[i];
        bool is_hit = jinja_truth(test ? jinja_call_builtin(c->run, test, v, &rest) : v);
        jinja_charge(c->run, 1);
        if (is_hit != ((c->aux & REJECT) != 0))
            jinja_list_append(c->run, out, list->items[i]);
    }
    return new_list(out);
}

static struct jinja_value f_center(struct jinja_call *c)
{
    static const struct jinja_str name = {.data = "center", .n = 6};
    struct jinja_value width = jinja_int(jinja_arg_int(c, 0, 80));
    const struct jinja_args args = {.items = &width, .n = 1};
    return jinja_call_builtin(c->run, jinja_str_method_find(&name), jinja_to_string(c->run, c->self), &args);
}

/* attr('name') */
static struct jinja_value f_attr(struct jinja_call *c)
{
    const struct jinja_str *name = jinja_arg_str(c, 0);
    if (c->self.type == JINJA_DICT && !jinja_method_find(c->self, name) && !jinja_is_refused(c->self, name))
        return jinja_undefined(c->run, jinja_object_name(c->self), c->a[0]);
    return jinja_get_attr(c->run, c->self, name);
}

const struct jinja_builtin *jinja_filter_find(const struct jinja_str *name)
{
    static const struct jinja_builtin filters[] = {
        {"length", "", f_length, 0},
        {"count", "", f_length, 0},
        {"default", "value boolean", f_default, 0},
        {"d", "value boolean", f_default, 0},
        {"first", "", f_first, 0},
        {"last", "", f_last, 0},
        {"list", "", f_list, 0},
        {"join", "d attribute", f_join, 0},
        {"reverse", "", f_reverse, 0},
        {"sort", "reverse case_sensitive attribute", f_sort, 0},
        {"dictsort", "case_sensitive by reverse", f_dictsort, 0},
        {"min", "case_sensitive attribute", f_extreme, 0},
        {"max", "case_sensitive attribute", f_extreme, 1},
        {"sum", "attribute start", f_sum, 0},
        {"unique", "case_sensitive attribute", f_unique, 0},
        {"items", "", f_items, 0},
        {"batch", "linecount| fill_with", f_batch, 0},
        {"slice", "slices| fill_with", f_slice, 0},
        {"groupby", "attribute| default case_sensitive", f_groupby, 0},
        {"map", "*", f_map, 0},
        {"select", "*", f_select, 0},
        {"reject", "*", f_select, REJECT},
        {"selectattr", "*", f_select, BY_ATTRIBUTE},
        {"rejectattr", "*", f_select, BY_ATTRIBUTE | REJECT},
        {"attr", "name|", f_attr, 0},
        {"center", "width", f_center, 0},
    };
    const struct jinja_builtin *fn = jinja_find_in(filters, sizeof filters / sizeof *filters, name);
    return fn ? fn : jinja_text_filter_find(name);
}
