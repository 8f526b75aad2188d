/* jinja_stmt.c: statements, frames of variables, and rendering as a whole. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja_ast.h"

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };
static enum flow exec_list(struct jinja_run *run, const struct jinja_node *list);

/* ---- variables ---- */

struct jinja_frame *jinja_push_frame(struct jinja_run *run, struct jinja_frame *parent)
{
    struct jinja_frame *old = run->frame, *frame = jinja_alloc(run, sizeof *frame);
    *frame = (struct jinja_frame){.parent = parent};
    run->frame = frame;
    return old;
}

void jinja_define(struct jinja_run *run, const struct jinja_str *name, struct jinja_value value)
{
    size_t n = 0;
    for (struct jinja_var *var = run->frame->vars; var; var = var->next, n++)
        if (jinja_str_equal(var->name, name)) {
            var->value = value;
            jinja_charge(run, n / 8);
            return;
        }
    jinja_charge(run, n / 8);
    struct jinja_var *var = jinja_alloc(run, sizeof *var);
    *var = (struct jinja_var){name, value, run->frame->vars};
    run->frame->vars = var;
}

static void assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value);

static void assign_tuple(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value)
{
    const struct jinja_list *items = jinja_iterate(run, value);
    size_t n = 0;
    for (const struct jinja_node *t = target->a; t; t = t->next)
        n++;
    if (items->n < n)
        jinja_fail(run, "not enough values to unpack (expected %zu, got %zu)", n, items->n);
    if (items->n > n)
        jinja_fail(run, "too many values to unpack (expected %zu)", n);
    n = 0;
    for (const struct jinja_node *t = target->a; t; t = t->next)
        assign(run, t, items->items[n++]);
}

static void assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value)
{
    if (target->kind == JINJA_NAME) {
        jinja_define(run, target->name, value);
    } else if (target->kind == JINJA_LISTX) {
        assign_tuple(run, target, value);
    } else {
        struct jinja_value owner = jinja_lookup(run, target->a->name);
        if (owner.type != JINJA_NAMESPACE)
            jinja_fail(run, "cannot assign attribute on non-namespace object");
        jinja_dict_set(
            run, owner.as.d,
            (struct jinja_value){.type = JINJA_STRING, .as.s = (struct jinja_str *)(uintptr_t)target->name},
            value);
    }
}

/* ---- blocks that produce a value ---- */

struct jinja_value jinja_capture(struct jinja_run *run, const struct jinja_node *list)
{
    struct jinja_buf text, *old = run->out;
    jinja_buf_init(&text, run);
    text.max_bytes = JINJA_MAX_OUTPUT_BYTES;
    run->out = &text;
    exec_list(run, list);
    run->out = old;
    return jinja_buf_value(&text);
}

static struct jinja_value capture_in_frame(struct jinja_run *run, const struct jinja_node *list)
{
    struct jinja_frame *old = jinja_push_frame(run, run->frame);
    struct jinja_value text = jinja_capture(run, list);
    run->frame = old;
    return text;
}

/* A chain of filters whose innermost one has nothing to filter yet. */
static struct jinja_value apply_filters(struct jinja_run *run, const struct jinja_node *node,
                                        struct jinja_value text)
{
    struct jinja_args args;
    if (!node)
        return text;
    jinja_enter(run);
    struct jinja_value self = apply_filters(run, node->a, text);
    if (!node->fn)
        jinja_fail(run, "No filter named '%.*s'.", (int)node->name->n, node->name->data);
    jinja_eval_args(run, node->b, &args, 0);
    struct jinja_value v = jinja_call_builtin(run, node->fn, self, &args);
    jinja_leave(run);
    return v;
}

static struct jinja_value new_macro(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_macro *macro = jinja_alloc(run, sizeof *macro);
    *macro = (struct jinja_macro){node, run->frame};
    return (struct jinja_value){.type = JINJA_MACRO, .as.macro = macro};
}

static void exec_call_block(struct jinja_run *run, const struct jinja_node *node)
{
    static const struct jinja_str caller = {.data = "caller", .n = 6};
    struct jinja_args args;
    struct jinja_value callee = jinja_eval(run, node->a->a);
    jinja_eval_args(run, node->a->b, &args, 1);
    args.keywords[args.n_keywords++] = (struct jinja_keyword){&caller, new_macro(run, node->b)};
    jinja_put_value(run->out, jinja_call_value(run, callee, &args));
}

/* ---- for ---- */

static struct jinja_list *filtered(struct jinja_run *run, const struct jinja_node *node,
                                   const struct jinja_list *items)
{
    struct jinja_list *kept = jinja_list_new(run, JINJA_KIND_LIST, 0);
    struct jinja_frame *outer = run->frame;
    for (size_t i = 0; i < items->n; i++) {
        jinja_push_frame(run, outer);
        assign(run, node->a, items->items[i]);
        if (jinja_truth(jinja_eval(run, node->e)))
            jinja_list_append(run, kept, items->items[i]);
    }
    run->frame = outer;
    return kept;
}

static void exec_loop(struct jinja_run *run, const struct jinja_node *node, struct jinja_value items,
                      int depth)
{
    static const struct jinja_str loop_name = {.data = "loop", .n = 4};
    struct jinja_frame *outer = run->frame;
    const struct jinja_list *list = jinja_iterate(run, items);
    if (node->e)
        list = filtered(run, node, list);
    struct jinja_loop *loop = jinja_alloc(run, sizeof *loop);
    *loop = (struct jinja_loop){
        .items = list->items, .n = list->n, .depth = depth, .frame = outer, .changed = jinja_missing()};
    loop->node = node->op ? node : NULL;
    for (; loop->index < loop->n; loop->index++) {
        jinja_push_frame(run, outer);
        assign(run, node->a, loop->items[loop->index]);
        jinja_define(run, &loop_name, (struct jinja_value){.type = JINJA_LOOP, .as.loop = loop});
        if (exec_list(run, node->c) == FLOW_BREAK)
            break;
    }
    if (loop->n == 0 && node->d) {
        jinja_push_frame(run, outer);
        exec_list(run, node->d);
    }
    run->frame = outer;
}

struct jinja_value jinja_loop_again(struct jinja_run *run, struct jinja_loop *loop, struct jinja_value items)
{
    struct jinja_buf text, *old_out = run->out;
    struct jinja_frame *old_frame = run->frame;
    if (!loop->node)
        jinja_fail(run, "The loop must have the 'recursive' marker to be called recursively.");
    jinja_enter(run);
    jinja_buf_init(&text, run);
    text.max_bytes = JINJA_MAX_OUTPUT_BYTES;
    run->out = &text;
    run->frame = loop->frame;
    exec_loop(run, loop->node, items, loop->depth + 1);
    run->frame = old_frame;
    run->out = old_out;
    jinja_leave(run);
    return jinja_buf_value(&text);
}

struct jinja_value jinja_loop_attr(struct jinja_run *run, struct jinja_loop *loop,
                                   const struct jinja_str *name)
{
    int64_t i = (int64_t)loop->index, n = (int64_t)loop->n;
    const struct {
        const char *name;
        struct jinja_value value;
    } numbers[] = {{"index", jinja_int(i + 1)},       {"index0", jinja_int(i)},
                   {"revindex", jinja_int(n - i)},    {"revindex0", jinja_int(n - i - 1)},
                   {"first", jinja_bool(i == 0)},     {"last", jinja_bool(i + 1 == n)},
                   {"length", jinja_int(n)},          {"depth", jinja_int(loop->depth + 1)},
                   {"depth0", jinja_int(loop->depth)}};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        if (jinja_str_is(name, numbers[k].name))
            return numbers[k].value;
    if (jinja_str_is(name, "previtem"))
        return i > 0 ? loop->items[i - 1] : jinja_undefined_hint(run, "there is no previous item");
    if (jinja_str_is(name, "nextitem"))
        return i + 1 < n ? loop->items[i + 1] : jinja_undefined_hint(run, "there is no next item");
    return jinja_undefined(
        run, "jinja2.runtime.LoopContext object",
        (struct jinja_value){.type = JINJA_STRING, .as.s = (struct jinja_str *)(uintptr_t)name});
}

/* ---- the others ---- */

static enum flow exec_if(struct jinja_run *run, const struct jinja_node *node)
{
    for (;;) {
        if (jinja_truth(jinja_eval(run, node->a)))
            return exec_list(run, node->b);
        if (!node->c)
            return FLOW_NEXT;
        /* An elif, or an else with nothing but an if in it: the same, without going deeper. */
        if (node->c->kind != JINJA_IF || node->c->next)
            return exec_list(run, node->c);
        node = node->c;
        jinja_charge(run, 1);
    }
}

static enum flow exec_scope(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_frame *old = jinja_push_frame(run, run->frame);
    enum flow flow = exec_list(run, node->b);
    run->frame = old;
    return flow;
}

static enum flow exec_with(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_list *values = jinja_list_new(run, JINJA_KIND_LIST, 0);
    size_t i = 0;
    for (const struct jinja_node *v = node->b; v; v = v->next)
        jinja_list_append(run, values, jinja_eval(run, v));
    struct jinja_frame *old = jinja_push_frame(run, run->frame);
    for (const struct jinja_node *t = node->a; t; t = t->next)
        assign(run, t, values->items[i++]);
    enum flow flow = exec_list(run, node->c);
    run->frame = old;
    return flow;
}

static enum flow exec_kind(struct jinja_run *run, const struct jinja_node *node)
{
    switch (node->kind) {
    case JINJA_DATA:
        jinja_put_str(run->out, node->value.as.s);
        break;
    case JINJA_PRINT:
        jinja_put_value(run->out, jinja_eval(run, node->a));
        break;
    case JINJA_IF:
        return exec_if(run, node);
    case JINJA_FOR:
        exec_loop(run, node, jinja_eval(run, node->b), 0);
        break;
    case JINJA_SET:
        assign(run, node->a, jinja_eval(run, node->b));
        break;
    case JINJA_SET_BLOCK:
        assign(run, node->a, apply_filters(run, node->c, capture_in_frame(run, node->b)));
        break;
    case JINJA_MACRO_DEF:
        jinja_define(run, node->name, new_macro(run, node));
        break;
    case JINJA_CALL_BLOCK:
        exec_call_block(run, node);
        break;
    case JINJA_FILTER_BLOCK:
        jinja_put_value(run->out, apply_filters(run, node->a, capture_in_frame(run, node->b)));
        break;
    case JINJA_WITH:
        return exec_with(run, node);
    case JINJA_SCOPE:
        return exec_scope(run, node);
    case JINJA_BREAK:
        return FLOW_BREAK;
    case JINJA_CONTINUE:
        return FLOW_CONTINUE;
    default:
        jinja_fail(run, "an expression where a statement is expected");
    }
    return FLOW_NEXT;
}

static enum flow exec_list(struct jinja_run *run, const struct jinja_node *list)
{
    enum flow flow = FLOW_NEXT;
    jinja_enter(run);
    for (const struct jinja_node *node = list; node && flow == FLOW_NEXT; node = node->next) {
        run->line = node->line;
        run->column = node->column;
        jinja_charge(run, 1);
        flow = exec_kind(run, node);
    }
    jinja_leave(run);
    return flow;
}

/* ---- rendering ---- */

static bool copy_result(const struct jinja_buf *out, struct jinja_text *text, struct err *err)
{
    size_t at = 0;
    text->bytes = mem_alloc(out->n + 1, err);
    text->runs = text->bytes ? mem_array(2 * out->n_spans + 1, sizeof *text->runs, err) : NULL;
    if (!text->runs)
        return false;
    if (out->n)
        memcpy(text->bytes, out->data, out->n);
    text->n = out->n;
    for (size_t i = 0; i < out->n_spans; i++) {
        struct jinja_span span = out->spans[i];
        if (span.at > at)
            text->runs[text->n_runs++] = (struct jtext_run){at, span.at - at, false};
        text->runs[text->n_runs++] = (struct jtext_run){span.at, span.n, true};
        at = span.at + span.n;
    }
    if (out->n > at)
        text->runs[text->n_runs++] = (struct jtext_run){at, out->n - at, false};
    return true;
}

static bool run_all(struct jinja_run *run, const struct jinja_template *t, struct jinja_buf *out)
{
    if (setjmp(run->jump))
        return false;
    jinja_buf_init(out, run);
    out->max_bytes = JINJA_MAX_OUTPUT_BYTES;
    run->out = out;
    jinja_push_frame(run, NULL);
    exec_list(run, t->body);
    return true;
}

bool jinja_render(const struct jinja_template *t, struct jinja_vars *vars, const struct tm *now,
                  struct jinja_text *out, struct err *err)
{
    struct jinja_buf text = {0};
    *out = (struct jinja_text){0};
    if (vars->failed && vars->arena.is_full)
        return err_set(err, ERR_RUNTIME, "the chat needs more memory than the %zu MiB of a template",
                       vars->arena.max_bytes >> 20);
    if (vars->failed)
        return err_set(err, ERR_MEMORY, "there is no more memory for the values of the template");
    struct jinja_run *run = mem_alloc(sizeof *run, err);
    if (!run)
        return false;
    run->arena = &vars->arena;
    run->err = err;
    run->vars = vars;
    run->now = now;
    run->line = run->column = 1;
    bool ok = run_all(run, t, &text) && copy_result(&text, out, err);
    out->n_steps = run->steps;
    if (run->locale)
        freelocale(run->locale);
    mem_free(run);
    return ok;
}

void jinja_text_fini(struct jinja_text *text)
{
    mem_free(text->bytes);
    mem_free(text->runs);
    *text = (struct jinja_text){0};
}
