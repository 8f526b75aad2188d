/* fuzz_jinja.c: any bytes as a template: refused with a sentence, or rendered; the runs of a result cover it.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/jinja.h"
#include "tests/fuzz/fuzz.h"

static struct jinja_value message(struct jinja_vars *vars, const char *role, const char *content)
{
    struct jinja_value m = jinja_dict(vars);
    jinja_dict_add(vars, m, "role", 4, jinja_string_trusted(vars, role, strlen(role)));
    jinja_dict_add(vars, m, "content", 7, jinja_string_input(vars, content, strlen(content)));
    return m;
}

static void set_variables(struct jinja_vars *vars)
{
    struct jinja_value messages = jinja_list(vars);
    jinja_list_add(vars, messages,
                   message(vars, "user",
                           "Gr\xc3\xbc\xc3\x9f"
                           "e <|x|>"));
    jinja_list_add(vars, messages, message(vars, "assistant", "<think>\na\n</think>\n\nb"));
    jinja_vars_set(vars, "messages", messages);
    jinja_vars_set(vars, "n", jinja_int(3));
    jinja_vars_set(vars, "f", jinja_float(2.5));
    jinja_vars_set(vars, "t", jinja_bool(true));
}

static void check_runs(const struct jinja_text *out)
{
    size_t at = 0;
    for (size_t i = 0; i < out->n_runs; at += out->runs[i++].n)
        if (out->runs[i].start != at || !out->runs[i].n ||
            (i && out->runs[i].is_input == out->runs[i - 1].is_input))
            abort();
    if (at != out->n)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct tm now = {.tm_year = 126, .tm_mon = 10, .tm_mday = 21};
    struct err err = {0};
    struct jinja_text out = {0};
    struct jinja_template *t = jinja_parse((const char *)data, n, &err);
    if (!t) {
        if (!err.text[0])
            abort();
        return 0;
    }
    struct jinja_vars *vars = jinja_vars_new(&err);
    set_variables(vars);
    bool ok = jinja_render(t, vars, &now, &out, &err);
    if (ok)
        check_runs(&out);
    else if (err.code == ERR_NONE)
        abort();
    jinja_text_fini(&out);
    jinja_vars_free(vars);
    jinja_free(t);
    return 0;
}

void fuzz_seed(int i, struct buf *out)
{
    static const char *const seeds[] = {
        "{%- for m in messages %}{{ '<|' ~ m.role ~ '|>' + m['content'] | trim }}\n{%- endfor -%}{% if t "
        "%}x{% endif %}",
        "{% macro f(a, b=1) %}{{ a }}{{ caller() }}{% endmacro %}{% call f(n, b=2) %}c{% endcall %}",
        "{% set ns = namespace(a=[]) %}{% for i in range(4) if i is odd %}{% set ns.a = ns.a + [i] %}{% else "
        "%}{% endfor "
        "%}{{ ns.a | tojson(indent=2) }}",
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') | upper "
        "}}",
        "{{ 'a,b'.split(',')[::-1] }}{{ '%5.2f|%s' | format(f, n) }}{{ '{:>5}'.format(n) }}{{ "
        "messages[0].content[1:-1] }}",
        "{% for x in [[1, [2]], 3] recursive %}{{ loop.index }}{{ loop(x) if x is iterable }}{% endfor %}",
        "{% filter replace('a', 'b') %}aa{% endfilter %}{% raw %}{{ }}{% endraw %}{# c #}{% with q = 1 %}{{ "
        "q }}{% "
        "endwith %}",
        "{{ messages | groupby('role') | list }}{{ {'a': 1} | dictsort }}{{ strftime_now('%d %B') }}{{ n ** "
        "2 // 3 % 2 }}",
        "{% set c = messages[0].content %}{{ c.strip('e<' ~ c) }}{{ c.rsplit('|x', 1) }}{{ c.rfind('|') }}{{ "
        "c.casefold() ~ c.swapcase() ~ c.title() }}{{ c | indent(2, true) }}{{ [c] }}{{ '%a' % c }}{{ "
        "c.expandtabs(3) }}{{ c.isidentifier() }}",
        "{{ none | selectattr('a') | list }}{{ messages.append(1) }}{{ messages[0].update is defined }}{{ "
        "range(9)[1:7:2] }}{{ {}.fromkeys('ab') | urlencode }}{{ 45 | round(-1) }}{{ 9999 | filesizeformat "
        "}}",
        "{% set c = messages[1].content %}{{ c.split('</think>')[-1].lstrip('\\n') }}{{ c is string and 'x' "
        "not in c }}",
    };
    if (i >= 0 && i < (int)(sizeof seeds / sizeof seeds[0]))
        buf_puts(out, seeds[i]);
}
