/* jinja_globals.c: the functions every template has. */
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/jinja_value.h"

#define MAX_RANGE 100000 /* that of Jinja's sandbox */
#define MAX_TIME_BYTES 4096

static struct jinja_value global_range(struct jinja_call *c)
{
    bool is_one = c->a[1].type == JINJA_MISSING;
    int64_t start = is_one ? 0 : jinja_arg_int(c, 0, 0), stop = jinja_arg_int(c, is_one ? 0 : 1, 0);
    int64_t step = c->a[2].type == JINJA_MISSING ? 1 : jinja_arg_int(c, 2, 0);
    if (c->a[is_one ? 0 : 1].type == JINJA_UNDEFINED)
        jinja_fail_undefined(c->run, c->a[is_one ? 0 : 1]);
    if (step == 0)
        jinja_fail(c->run, "range() arg 3 must not be zero");
    __int128 span = step > 0 ? (__int128)stop - start : (__int128)start - stop;
    __int128 size = step > 0 ? step : -(__int128)step, n = span <= 0 ? 0 : (span - 1) / size + 1;
    if (n > MAX_RANGE)
        jinja_fail(c->run, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MAX_RANGE);
    struct jinja_list *list = jinja_list_new(c->run, JINJA_KIND_RANGE, (size_t)n);
    list->range[0] = start;
    list->range[1] = stop;
    list->range[2] = step;
    for (int64_t i = 0; i < (int64_t)n; i++)
        list->items[list->n++] = jinja_int(start + i * step);
    jinja_charge(c->run, (size_t)n / 4);
    return jinja_list_value(list);
}

/* dict(x, k=v): x a dict or pairs. */
static struct jinja_dict *make_dict(struct jinja_call *c)
{
    struct jinja_dict *d = jinja_dict_new(c->run);
    if (c->args->n > 1)
        jinja_fail(c->run, "dict expected at most 1 argument, got %zu", c->args->n);
    if (c->args->n && c->args->items[0].type == JINJA_DICT) {
        const struct jinja_dict *from = c->args->items[0].as.d;
        for (size_t i = 0; i < from->n; i++)
            jinja_dict_set(c->run, d, from->pairs[i].key, from->pairs[i].value);
    } else if (c->args->n) {
        const struct jinja_list *pairs = jinja_iterate(c->run, c->args->items[0]);
        for (size_t i = 0; i < pairs->n; i++) {
            const struct jinja_list *pair = jinja_iterate(c->run, pairs->items[i]);
            if (pair->n != 2)
                jinja_fail(c->run, "dictionary update sequence element #%zu has length %zu; 2 is required", i,
                           pair->n);
            jinja_dict_set(c->run, d, pair->items[0], pair->items[1]);
        }
    }
    for (size_t i = 0; i < c->args->n_keywords; i++)
        jinja_dict_set(c->run, d,
                       (struct jinja_value){.type = JINJA_STRING,
                                            .as.s = (struct jinja_str *)(uintptr_t)c->args->keywords[i].name},
                       c->args->keywords[i].value);
    return d;
}

static struct jinja_value global_dict(struct jinja_call *c)
{
    return (struct jinja_value){.type = JINJA_DICT, .as.d = make_dict(c)};
}

static struct jinja_value global_namespace(struct jinja_call *c)
{
    return (struct jinja_value){.type = JINJA_NAMESPACE, .as.d = make_dict(c)};
}

static struct jinja_value global_raise(struct jinja_call *c)
{
    const struct jinja_str *text = jinja_to_string(c->run, c->a[0]).as.s;
    jinja_fail_text(c->run, text->data, text->n);
}

/* Python's own parts of a format: microseconds, and no zone. */
static void python_format(struct buf *out, const struct jinja_str *format)
{
    for (size_t i = 0; i < format->n; i++) {
        char c = format->data[i], next = i + 1 < format->n ? format->data[i + 1] : 0;
        if (c == '%' && next == 'f')
            buf_puts(out, "000000");
        else if (c == '%' && next && next != 'z' && next != 'Z')
            buf_append(out, format->data + i, 2);
        else if (c != '%' && c != '\0')
            buf_putc(out, c);
        i += c == '%' && next;
    }
}

static struct jinja_value global_now(struct jinja_call *c)
{
    const struct jinja_str *format = jinja_arg_str(c, 0);
    struct tm present;
    time_t now = time(NULL);
    struct buf pattern = {0};
    char *text = jinja_alloc(c->run, MAX_TIME_BYTES);
    if (format->n > MAX_TIME_BYTES / 8)
        jinja_fail(c->run, "the format of strftime_now is too long");
    python_format(&pattern, format);
    const struct tm *tm = c->run->now ? c->run->now : localtime_r(&now, &present);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = tm && pattern.len ? strftime(text, MAX_TIME_BYTES, pattern.data, tm) : 0;
#pragma GCC diagnostic pop
    buf_fini(&pattern);
    return jinja_str_n(c->run, text, n);
}

static struct jinja_value global_cycler(struct jinja_call *c)
{
    struct jinja_cycler *cycler = jinja_alloc(c->run, sizeof *cycler);
    *cycler = (struct jinja_cycler){.items = jinja_list_new(c->run, JINJA_KIND_LIST, 0)};
    for (size_t i = 0; i < c->args->n; i++)
        jinja_list_append(c->run, cycler->items, c->args->items[i]);
    if (!c->args->n)
        jinja_fail(c->run, "at least one item has to be provided");
    return (struct jinja_value){.type = JINJA_CYCLER, .as.cycler = cycler};
}

static struct jinja_value global_joiner(struct jinja_call *c)
{
    struct jinja_cycler *joiner = jinja_alloc(c->run, sizeof *joiner);
    *joiner = (struct jinja_cycler){.items = jinja_list_new(c->run, JINJA_KIND_LIST, 1)};
    jinja_list_append(c->run, joiner->items,
                      c->a[0].type == JINJA_MISSING ? jinja_str(c->run, ", ") : c->a[0]);
    return (struct jinja_value){.type = JINJA_JOINER, .as.cycler = joiner};
}

const struct jinja_builtin *jinja_global_find(const struct jinja_str *name)
{
    static const struct jinja_builtin globals[] = {
        {"range", "start|stop step", global_range, 0}, {"dict", "*", global_dict, 0},
        {"namespace", "*", global_namespace, 0},       {"raise_exception", "message|", global_raise, 0},
        {"strftime_now", "format|", global_now, 0},    {"cycler", "*", global_cycler, 0},
        {"joiner", "sep", global_joiner, 0},
    };
    return jinja_find_in(globals, sizeof globals / sizeof *globals, name);
}
