/* jinja_eval.c: expressions. */
#include <string.h>

#include "engine/jinja_ast.h"

static struct jinja_value undefined_name(struct jinja_run *run, const struct jinja_str *name)
{
    return jinja_undefined(
        run, NULL, (struct jinja_value){.type = JINJA_STRING, .as.s = (struct jinja_str *)(uintptr_t)name});
}

struct jinja_value jinja_lookup(struct jinja_run *run, const struct jinja_str *name)
{
    size_t n = 0;
    for (const struct jinja_frame *frame = run->frame; frame; frame = frame->parent)
        for (const struct jinja_var *var = frame->vars; var; var = var->next, n++)
            if (jinja_str_equal(var->name, name)) {
                jinja_charge(run, (n + 1) * (1 + name->n / JINJA_BYTES_PER_STEP) / 8);
                return var->value;
            }
    jinja_charge(run, (n + run->vars->globals.n) * (1 + name->n / JINJA_BYTES_PER_STEP) / 8);
    const struct jinja_value *global = jinja_dict_find_text(&run->vars->globals, name->data, name->n);
    if (global)
        return *global;
    const struct jinja_builtin *fn = jinja_global_find(name);
    return fn ? (struct jinja_value){.type = JINJA_BUILTIN, .as.fn = fn} : undefined_name(run, name);
}

/* ---- attributes, indices, slices ---- */

static struct jinja_value name_value(const struct jinja_str *name)
{
    return (struct jinja_value){.type = JINJA_STRING, .as.s = (struct jinja_str *)(uintptr_t)name};
}

static struct jinja_value bind_method(struct jinja_run *run, const struct jinja_builtin *fn,
                                      struct jinja_value self)
{
    struct jinja_method *method = jinja_alloc(run, sizeof *method);
    *method = (struct jinja_method){fn, self};
    return (struct jinja_value){.type = JINJA_METHOD, .as.method = method};
}

/* Undefined, so that asking for it is no error yet, and calling it is one. */
static struct jinja_value refused(struct jinja_run *run, struct jinja_value v, const struct jinja_str *name)
{
    struct jinja_buf hint;
    jinja_buf_init(&hint, run);
    jinja_puts(&hint, "access to attribute '");
    jinja_put_str(&hint, name);
    jinja_puts(&hint, "' of '");
    jinja_puts(&hint, jinja_type_name(v));
    jinja_put(&hint, "' object is unsafe.", sizeof "' object is unsafe.", false);
    return jinja_undefined_hint(run, hint.data);
}

struct jinja_value jinja_get_attr(struct jinja_run *run, struct jinja_value v, const struct jinja_str *name)
{
    if (v.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, v);
    if (jinja_is_refused(v, name))
        return refused(run, v, name);
    const struct jinja_builtin *method = jinja_method_find(v, name);
    if (method)
        return bind_method(run, method, v);
    if (v.type == JINJA_LOOP)
        return jinja_loop_attr(run, v.as.loop, name);
    if (v.type == JINJA_LIST && v.as.l->kind == JINJA_KIND_TUPLE && v.as.l->view_name && v.as.l->n == 2) {
        if (jinja_str_is(name, "grouper") || jinja_str_is(name, "list"))
            return v.as.l->items[name->data[0] == 'l'];
    }
    if (v.type == JINJA_LIST && v.as.l->kind == JINJA_KIND_RANGE)
        for (int i = 0; i < 3; i++)
            if (jinja_str_is(name, i == 0 ? "start" : i == 1 ? "stop" : "step"))
                return jinja_int(v.as.l->range[i]);
    if (v.type == JINJA_CYCLER && jinja_str_is(name, "current"))
        return v.as.cycler->items->items[v.as.cycler->at];
    if (v.type == JINJA_MACRO && jinja_str_is(name, "name") && v.as.macro->node->name)
        return name_value(v.as.macro->node->name);
    if (v.type == JINJA_DICT || v.type == JINJA_NAMESPACE) {
        const struct jinja_value *value = jinja_dict_find_text(v.as.d, name->data, name->n);
        jinja_charge(run, v.as.d->n * (1 + name->n / JINJA_BYTES_PER_STEP) / 8);
        if (value)
            return *value;
    }
    return jinja_undefined(run, jinja_object_name(v), name_value(name));
}

/* Position of an index in a sequence of n; false when outside. */
static bool place(struct jinja_value key, size_t n, size_t *out)
{
    int64_t i = jinja_as_int(key);
    if (i < 0)
        i += (int64_t)n;
    *out = (size_t)i;
    return i >= 0 && (size_t)i < n;
}

static struct jinja_value character(struct jinja_run *run, const struct jinja_str *s, size_t i)
{
    uint32_t cp;
    size_t at = jinja_str_offset(run, s, i);
    return jinja_part(run, s, at, at + jinja_char_at(s, at, &cp));
}

struct jinja_value jinja_get_item(struct jinja_run *run, struct jinja_value v, struct jinja_value key)
{
    size_t i;
    if (v.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, v);
    if (v.type == JINJA_DICT) {
        const struct jinja_value *value = jinja_dict_find(run, v.as.d, key);
        if (value)
            return *value;
    } else if (v.type == JINJA_STRING && jinja_is_integer(key)) {
        if (place(key, jinja_str_length(run, v.as.s), &i))
            return character(run, v.as.s, i);
    } else if (v.type == JINJA_LIST && jinja_is_integer(key) && v.as.l->kind <= JINJA_KIND_RANGE) {
        if (place(key, v.as.l->n, &i))
            return v.as.l->items[i];
    }
    if (key.type == JINJA_STRING)
        return jinja_get_attr(run, v, key.as.s);
    return jinja_undefined(run, jinja_object_name(v), key);
}

static int64_t clamp_bound(struct jinja_run *run, struct jinja_value v, int64_t fallback, int64_t n,
                           int64_t low, int64_t high)
{
    if (v.type == JINJA_NONE || v.type == JINJA_MISSING)
        return fallback;
    if (!jinja_is_integer(v))
        jinja_fail(run, "slice indices must be integers or None or have an __index__ method");
    int64_t i = jinja_as_int(v);
    if (i < 0)
        i = i < -n ? low : i + n;
    return i < low ? low : i > high ? high : i;
}

struct bounds {
    int64_t start, stop, step;
    size_t n; /* how many items that is */
};

static struct bounds slice_bounds(struct jinja_run *run, size_t n_items, struct jinja_value start,
                                  struct jinja_value stop, struct jinja_value step)
{
    struct bounds b = {.step = 1};
    int64_t n = (int64_t)n_items;
    if (step.type != JINJA_NONE && step.type != JINJA_MISSING) {
        if (!jinja_is_integer(step))
            jinja_fail(run, "slice indices must be integers or None or have an __index__ method");
        b.step = jinja_as_int(step);
        b.step = b.step > n + 1 ? n + 1 : b.step < -n - 1 ? -n - 1 : b.step;
    }
    if (b.step == 0)
        jinja_fail(run, "slice step cannot be zero");
    bool back = b.step < 0;
    b.start = clamp_bound(run, start, back ? n - 1 : 0, n, back ? -1 : 0, back ? n - 1 : n);
    b.stop = clamp_bound(run, stop, back ? -1 : n, n, back ? -1 : 0, back ? n - 1 : n);
    if (!back && b.start < b.stop)
        b.n = (size_t)((b.stop - b.start - 1) / b.step + 1);
    if (back && b.stop < b.start)
        b.n = (size_t)((b.start - b.stop - 1) / -b.step + 1);
    return b;
}

static struct jinja_value slice_string(struct jinja_run *run, const struct jinja_str *s,
                                       struct jinja_value start, struct jinja_value stop,
                                       struct jinja_value step)
{
    struct bounds b = slice_bounds(run, jinja_str_length(run, s), start, stop, step);
    if (b.step == 1) {
        size_t from = jinja_str_offset(run, s, (size_t)b.start);
        return jinja_part(run, s, from, b.n ? jinja_str_offset(run, s, (size_t)b.stop) : from);
    }
    const struct jinja_list *chars = jinja_iterate(
        run, (struct jinja_value){.type = JINJA_STRING, .as.s = (struct jinja_str *)(uintptr_t)s});
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    for (size_t i = 0; i < b.n; i++)
        jinja_put_str(&out, chars->items[b.start + (int64_t)i * b.step].as.s);
    return jinja_buf_value(&out);
}

/* The range that a slice of a range is; false when its bounds do not fit. */
static bool slice_range(const struct jinja_list *from, const struct bounds *b, int64_t out[3])
{
    int64_t step = from->range[2];
    const int64_t bound[2] = {b->start, b->stop};
    for (int i = 0; i < 2; i++)
        if (__builtin_mul_overflow(bound[i], step, &out[i]) ||
            __builtin_add_overflow(out[i], from->range[0], &out[i]))
            return false;
    return !__builtin_mul_overflow(b->step, step, &out[2]);
}

struct jinja_value jinja_get_slice(struct jinja_run *run, struct jinja_value v, struct jinja_value start,
                                   struct jinja_value stop, struct jinja_value step)
{
    if (v.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, v);
    if (v.type == JINJA_STRING)
        return slice_string(run, v.as.s, start, stop, step);
    if (v.type != JINJA_LIST || v.as.l->kind > JINJA_KIND_RANGE)
        jinja_fail(run, "'%s' object is not subscriptable", jinja_type_name(v));
    const struct jinja_list *from = v.as.l;
    struct bounds b = slice_bounds(run, from->n, start, stop, step);
    struct jinja_list *list =
        jinja_list_new(run, from->kind == JINJA_KIND_TUPLE ? JINJA_KIND_TUPLE : JINJA_KIND_LIST, b.n);
    for (size_t i = 0; i < b.n; i++)
        list->items[list->n++] = from->items[b.start + (int64_t)i * b.step];
    if (from->kind == JINJA_KIND_RANGE && slice_range(from, &b, list->range))
        list->kind = JINJA_KIND_RANGE;
    jinja_charge(run, b.n / 4);
    return jinja_list_value(list);
}

/* ---- operators ---- */

static bool compare(struct jinja_run *run, int op, struct jinja_value a, struct jinja_value b)
{
    switch (op) {
    case JINJA_EQ:
        return jinja_equal(run, a, b);
    case JINJA_NE:
        return !jinja_equal(run, a, b);
    case JINJA_IN:
        return jinja_contains(run, a, b);
    case JINJA_NOT_IN:
        return !jinja_contains(run, a, b);
    default:
        break;
    }
    bool is_nan = (a.type == JINJA_FLOAT && a.as.f != a.as.f) || (b.type == JINJA_FLOAT && b.as.f != b.as.f);
    int order = jinja_order(run, a, b);
    return !is_nan && (op == JINJA_LT   ? order < 0
                       : op == JINJA_LE ? order <= 0
                       : op == JINJA_GT ? order > 0
                                        : order >= 0);
}

static struct jinja_value eval_compare(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value left = jinja_eval(run, node->a);
    for (const struct jinja_node *next = node->b; next; next = next->next) {
        struct jinja_value right = jinja_eval(run, next->a);
        if (!compare(run, next->op, left, right))
            return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

static struct jinja_value eval_concat(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    for (const struct jinja_node *item = node->a; item; item = item->next)
        jinja_put_value(&out, jinja_eval(run, item));
    return jinja_buf_value(&out);
}

static struct jinja_value eval_list(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_list *list = jinja_list_new(run, node->op ? JINJA_KIND_TUPLE : JINJA_KIND_LIST, 0);
    for (const struct jinja_node *item = node->a; item; item = item->next)
        jinja_list_append(run, list, jinja_eval(run, item));
    return jinja_list_value(list);
}

static struct jinja_value eval_dict(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_dict *d = jinja_dict_new(run);
    for (const struct jinja_node *item = node->a; item; item = item->next->next) {
        struct jinja_value key = jinja_eval(run, item);
        jinja_dict_set(run, d, key, jinja_eval(run, item->next));
    }
    return (struct jinja_value){.type = JINJA_DICT, .as.d = d};
}

static struct jinja_value eval_part(struct jinja_run *run, const struct jinja_node *node)
{
    return node ? jinja_eval(run, node) : jinja_missing();
}

static struct jinja_value eval_slice(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value v = jinja_eval(run, node->a), start = eval_part(run, node->b),
                       stop = eval_part(run, node->c);
    return jinja_get_slice(run, v, start, stop, eval_part(run, node->d));
}

static struct jinja_value eval_cond(struct jinja_run *run, const struct jinja_node *node)
{
    if (jinja_truth(jinja_eval(run, node->b)))
        return jinja_eval(run, node->a);
    if (node->c)
        return jinja_eval(run, node->c);
    return jinja_undefined_hint(
        run, "the inline if-expression evaluated to false and no else section was defined.");
}

static struct jinja_value eval_filter(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value self = jinja_eval(run, node->a);
    struct jinja_args args;
    if (!node->fn)
        jinja_fail(run, "No filter named '%.*s'.", (int)node->name->n, node->name->data);
    jinja_eval_args(run, node->b, &args, 0);
    return jinja_call_builtin(run, node->fn, self, &args);
}

static struct jinja_value eval_test(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value self = jinja_eval(run, node->a);
    struct jinja_args args;
    if (!node->fn)
        jinja_fail(run, "No test named '%.*s'.", (int)node->name->n, node->name->data);
    jinja_eval_args(run, node->b, &args, 0);
    return jinja_bool(jinja_truth(jinja_call_builtin(run, node->fn, self, &args)) != (node->op != 0));
}

static struct jinja_value eval_call(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_args args;
    struct jinja_value callee = jinja_eval(run, node->a);
    jinja_eval_args(run, node->b, &args, 0);
    return jinja_call_value(run, callee, &args);
}

static struct jinja_value eval_arith(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value a = jinja_eval(run, node->a), b = jinja_eval(run, node->b);
    return jinja_arith(run, node->op, a, b);
}

static struct jinja_value eval_both(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value left = jinja_eval(run, node->a);
    return jinja_truth(left) == (node->kind == JINJA_AND) ? jinja_eval(run, node->b) : left;
}

static struct jinja_value eval_item(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value v = jinja_eval(run, node->a);
    return jinja_get_item(run, v, jinja_eval(run, node->b));
}

static struct jinja_value eval_kind(struct jinja_run *run, const struct jinja_node *node)
{
    switch (node->kind) {
    case JINJA_CONST:
        return node->value;
    case JINJA_NAME:
        return jinja_lookup(run, node->name);
    case JINJA_LISTX:
        return eval_list(run, node);
    case JINJA_DICTX:
        return eval_dict(run, node);
    case JINJA_ATTR:
        return jinja_get_attr(run, jinja_eval(run, node->a), node->name);
    case JINJA_ITEM:
        return eval_item(run, node);
    case JINJA_SLICE:
        return eval_slice(run, node);
    case JINJA_CALL:
        return eval_call(run, node);
    case JINJA_FILTER:
        return eval_filter(run, node);
    case JINJA_TEST:
        return eval_test(run, node);
    case JINJA_NEG:
        return jinja_negate(run, jinja_eval(run, node->a));
    case JINJA_POS:
        return jinja_arith(run, '-', jinja_eval(run, node->a), jinja_int(0));
    case JINJA_ARITH:
        return eval_arith(run, node);
    case JINJA_CONCAT:
        return eval_concat(run, node);
    case JINJA_COMPARE:
        return eval_compare(run, node);
    case JINJA_AND:
    case JINJA_OR:
        return eval_both(run, node);
    case JINJA_NOT:
        return jinja_bool(!jinja_truth(jinja_eval(run, node->a)));
    case JINJA_COND:
        return eval_cond(run, node);
    default:
        jinja_fail(run, "a statement where an expression is expected");
    }
}

struct jinja_value jinja_eval(struct jinja_run *run, const struct jinja_node *node)
{
    unsigned line = run->line, column = run->column;
    run->line = node->line;
    run->column = node->column;
    jinja_enter(run);
    struct jinja_value v = eval_kind(run, node);
    jinja_leave(run);
    run->line = line;
    run->column = column;
    return v;
}
