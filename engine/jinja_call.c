/* jinja_call.c: arguments, calls of builtins and macros. */
#include <string.h>

#include "engine/jinja_ast.h"

/* ---- arguments ---- */

static void unpack_list(struct jinja_run *run, struct jinja_list *items, struct jinja_value v)
{
    const struct jinja_list *more = jinja_iterate(run, v);
    for (size_t i = 0; i < more->n; i++)
        jinja_list_append(run, items, more->items[i]);
    jinja_charge(run, more->n);
}

static void add_keyword(struct jinja_run *run, struct jinja_args *args, size_t *cap,
                        const struct jinja_str *name, struct jinja_value value)
{
    args->keywords = jinja_grow(run, args->keywords, args->n_keywords, cap, sizeof *args->keywords);
    args->keywords[args->n_keywords++] = (struct jinja_keyword){name, value};
}

static void unpack_dict(struct jinja_run *run, struct jinja_args *args, size_t *cap, struct jinja_value v)
{
    if (v.type != JINJA_DICT)
        jinja_fail(run, "argument after ** must be a mapping, not %s", jinja_type_name(v));
    for (size_t i = 0; i < v.as.d->n; i++) {
        if (v.as.d->pairs[i].key.type != JINJA_STRING)
            jinja_fail(run, "keywords must be strings");
        add_keyword(run, args, cap, v.as.d->pairs[i].key.as.s, v.as.d->pairs[i].value);
        jinja_charge(run, 1);
    }
}

/* n_more_keywords: room left behind the keywords for the caller to add. */
void jinja_eval_args(struct jinja_run *run, const struct jinja_node *list, struct jinja_args *out,
                     int n_more_keywords)
{
    struct jinja_list items = {0};
    size_t cap = 0;
    *out = (struct jinja_args){0};
    if (!list && !n_more_keywords)
        return;
    for (const struct jinja_node *arg = list; arg; arg = arg->next) {
        struct jinja_value v = jinja_eval(run, arg->a);
        if (arg->op == '*')
            unpack_list(run, &items, v);
        else if (arg->op == 'd')
            unpack_dict(run, out, &cap, v);
        else if (arg->name)
            add_keyword(run, out, &cap, arg->name, v);
        else
            jinja_list_append(run, &items, v);
    }
    for (int i = 0; i < n_more_keywords; i++)
        add_keyword(run, out, &cap, NULL, jinja_null());
    out->n_keywords -= (size_t)n_more_keywords;
    out->items = items.items;
    out->n = items.n;
}

const struct jinja_value *jinja_keyword(const struct jinja_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_keywords; i++)
        if (jinja_str_is(args->keywords[i].name, name))
            return &args->keywords[i].value;
    return NULL;
}

/* ---- builtins ---- */

struct params {
    const char *name[JINJA_MAX_PARAMS];
    size_t length[JINJA_MAX_PARAMS];
    size_t n, n_required;
};

static struct params split_params(const char *text)
{
    struct params p = {0};
    while (*text) {
        size_t n = strcspn(text, " |");
        if (n > 0 && p.n < JINJA_MAX_PARAMS) {
            p.name[p.n] = text;
            p.length[p.n++] = n;
        }
        text += n;
        if (*text == '|')
            p.n_required = p.n;
        text += *text != 0;
    }
    return p;
}

static void bind_keyword(struct jinja_call *c, const struct jinja_builtin *fn, const struct params *p,
                         const struct jinja_keyword *k)
{
    for (size_t i = 0; i < p->n; i++)
        if (k->name->n == p->length[i] && !memcmp(k->name->data, p->name[i], p->length[i])) {
            if (c->a[i].type != JINJA_MISSING)
                jinja_fail(c->run, "%s() got multiple values for argument '%.*s'", fn->name,
                           (int)p->length[i], p->name[i]);
            c->a[i] = k->value;
            return;
        }
    jinja_fail(c->run, "%s() got an unexpected keyword argument '%.*s'", fn->name,
               k->name->n > 60 ? 60 : (int)k->name->n, k->name->data);
}

struct jinja_value jinja_call_builtin(struct jinja_run *run, const struct jinja_builtin *fn,
                                      struct jinja_value self, const struct jinja_args *args)
{
    struct jinja_call c = {.run = run, .self = self, .args = args, .aux = fn->aux};
    jinja_enter(run);
    for (size_t i = 0; i < JINJA_MAX_PARAMS; i++)
        c.a[i] = jinja_missing();
    if (fn->params[0] != '*') {
        struct params p = split_params(fn->params);
        if (args->n > p.n)
            jinja_fail(run, "%s() takes at most %zu arguments, %zu given", fn->name, p.n, args->n);
        for (size_t i = 0; i < args->n; i++)
            c.a[i] = args->items[i];
        for (size_t i = 0; i < args->n_keywords; i++)
            bind_keyword(&c, fn, &p, &args->keywords[i]);
        for (size_t i = 0; i < p.n_required; i++)
            if (c.a[i].type == JINJA_MISSING)
                jinja_fail(run, "%s() missing 1 required positional argument: '%.*s'", fn->name,
                           (int)p.length[i], p.name[i]);
    }
    struct jinja_value v = fn->fn(&c);
    jinja_leave(run);
    return v;
}

bool jinja_given(struct jinja_call *c, int i)
{
    return c->a[i].type != JINJA_MISSING && c->a[i].type != JINJA_NONE;
}

int64_t jinja_arg_int(struct jinja_call *c, int i, int64_t fallback)
{
    if (!jinja_given(c, i))
        return fallback;
    if (!jinja_is_integer(c->a[i]))
        jinja_fail(c->run, "'%s' object cannot be interpreted as an integer", jinja_type_name(c->a[i]));
    return jinja_as_int(c->a[i]);
}

const struct jinja_str *jinja_arg_str(struct jinja_call *c, int i)
{
    if (c->a[i].type == JINJA_UNDEFINED)
        jinja_fail_undefined(c->run, c->a[i]);
    if (c->a[i].type != JINJA_STRING)
        jinja_fail(c->run, "expected str, got %s", jinja_type_name(c->a[i]));
    return c->a[i].as.s;
}

bool jinja_arg_bool(struct jinja_call *c, int i, bool fallback)
{
    return c->a[i].type == JINJA_MISSING ? fallback : jinja_truth(c->a[i]);
}

const struct jinja_builtin *jinja_find_in(const struct jinja_builtin *table, size_t n,
                                          const struct jinja_str *name)
{
    for (size_t i = 0; i < n; i++)
        if (jinja_str_is(name, table[i].name))
            return &table[i];
    return NULL;
}

/* ---- macros ---- */

static const char *macro_name(const struct jinja_macro *macro)
{
    return macro->node->name ? macro->node->name->data : "caller";
}

static int macro_name_length(const struct jinja_macro *macro)
{
    return macro->node->name ? (int)macro->node->name->n : 6;
}

static bool has_param(struct jinja_run *run, const struct jinja_node *node, const struct jinja_str *name)
{
    for (const struct jinja_node *p = node->a; p; p = p->next) {
        jinja_charge(run, 1 + name->n / JINJA_BYTES_PER_STEP);
        if (jinja_str_equal(p->name, name))
            return true;
    }
    return false;
}

const struct jinja_value *jinja_keyword_for(struct jinja_run *run, const struct jinja_args *args,
                                            const struct jinja_str *name)
{
    for (size_t i = 0; i < args->n_keywords; i++) {
        jinja_charge(run, 1 + name->n / JINJA_BYTES_PER_STEP);
        if (jinja_str_equal(args->keywords[i].name, name))
            return &args->keywords[i].value;
    }
    return NULL;
}

/* Keywords that are no parameters: caller, and whatever kwargs takes. */
static void bind_other_keywords(struct jinja_run *run, const struct jinja_macro *macro,
                                const struct jinja_args *args)
{
    static const struct jinja_str caller_name = {.data = "caller", .n = 6},
                                  kwargs_name = {.data = "kwargs", .n = 6};
    struct jinja_dict *rest = jinja_dict_new(run);
    for (size_t i = 0; i < args->n_keywords; i++) {
        const struct jinja_keyword *k = &args->keywords[i];
        if (has_param(run, macro->node, k->name))
            continue;
        if (jinja_str_equal(k->name, &caller_name))
            jinja_define(run, k->name, k->value);
        else if (macro->node->op & JINJA_USES_KWARGS)
            jinja_dict_set(
                run, rest,
                (struct jinja_value){.type = JINJA_STRING, .as.s = (struct jinja_str *)(uintptr_t)k->name},
                k->value);
        else
            jinja_fail(run, "macro '%.*s' takes no keyword argument '%.*s'", macro_name_length(macro),
                       macro_name(macro), k->name->n > 60 ? 60 : (int)k->name->n, k->name->data);
    }
    if (macro->node->op & JINJA_USES_KWARGS)
        jinja_define(run, &kwargs_name, (struct jinja_value){.type = JINJA_DICT, .as.d = rest});
}

static void bind_varargs(struct jinja_run *run, const struct jinja_macro *macro,
                         const struct jinja_args *args, size_t used)
{
    static const struct jinja_str varargs_name = {.data = "varargs", .n = 7};
    if (!(macro->node->op & JINJA_USES_VARARGS)) {
        if (args->n > used)
            jinja_fail(run, "macro '%.*s' takes not more than %zu argument(s)", macro_name_length(macro),
                       macro_name(macro), used);
        return;
    }
    struct jinja_list *rest = jinja_list_new(run, JINJA_KIND_TUPLE, 0);
    for (size_t i = used; i < args->n; i++)
        jinja_list_append(run, rest, args->items[i]);
    jinja_define(run, &varargs_name, jinja_list_value(rest));
}

/* Defaults see the parameters before them. */
static size_t bind_params(struct jinja_run *run, const struct jinja_macro *macro,
                          const struct jinja_args *args)
{
    size_t i = 0;
    for (const struct jinja_node *p = macro->node->a; p; p = p->next, i++) {
        const struct jinja_value *keyword = jinja_keyword_for(run, args, p->name);
        jinja_charge(run, 1);
        if (i < args->n && keyword)
            jinja_fail(run, "macro '%.*s' got multiple values for argument '%.*s'", macro_name_length(macro),
                       macro_name(macro), (int)p->name->n, p->name->data);
        if (i < args->n || keyword)
            jinja_define(run, p->name, i < args->n ? args->items[i] : *keyword);
        else
            jinja_define(run, p->name,
                         p->a ? jinja_eval(run, p->a)
                              : jinja_undefined_hint(run, "a parameter of the macro was not provided"));
    }
    return i;
}

static struct jinja_value call_macro(struct jinja_run *run, const struct jinja_macro *macro,
                                     const struct jinja_args *args)
{
    jinja_enter(run);
    struct jinja_frame *old = jinja_push_frame(run, macro->closure);
    size_t used = bind_params(run, macro, args);
    bind_varargs(run, macro, args, used);
    bind_other_keywords(run, macro, args);
    struct jinja_value text = jinja_capture(run, macro->node->b);
    run->frame = old;
    jinja_leave(run);
    return text;
}

struct jinja_value jinja_call_value(struct jinja_run *run, struct jinja_value callee,
                                    const struct jinja_args *args)
{
    switch (callee.type) {
    case JINJA_UNDEFINED:
        jinja_fail_undefined(run, callee);
    case JINJA_MACRO:
        return call_macro(run, callee.as.macro, args);
    case JINJA_BUILTIN:
        return jinja_call_builtin(run, callee.as.fn, jinja_missing(), args);
    case JINJA_METHOD:
        return jinja_call_builtin(run, callee.as.method->fn, callee.as.method->self, args);
    case JINJA_LOOP:
        if (args->n != 1 || args->n_keywords)
            jinja_fail(run, "loop() takes the items of the next level");
        return jinja_loop_again(run, callee.as.loop, args->items[0]);
    case JINJA_JOINER:
        return callee.as.cycler->at++ ? callee.as.cycler->items->items[0] : jinja_str(run, "");
    }
    jinja_fail(run, "'%s' object is not callable", jinja_type_name(callee));
}
