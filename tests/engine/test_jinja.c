/* test_jinja.c: where bytes come from, the limits, and failing allocations of the template interpreter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/jinja.h"

/* Renders with x = "<in>" as input, t = "<tr>" as trusted text, and l = [x, t]. */
static bool render(const char *source, struct jinja_text *out, struct err *err)
{
    *out = (struct jinja_text){0};
    struct jinja_template *t = jinja_parse(source, strlen(source), err);
    struct jinja_vars *vars = t ? jinja_vars_new(err) : NULL;
    bool ok = false;
    if (vars) {
        struct jinja_value list = jinja_list(vars), x = jinja_string_input(vars, "<in>", 4);
        jinja_list_add(vars, list, x);
        jinja_list_add(vars, list, jinja_string_trusted(vars, "<tr>", 4));
        jinja_vars_set(vars, "x", x);
        jinja_vars_set(vars, "t", jinja_string_trusted(vars, "<tr>", 4));
        jinja_vars_set(vars, "l", list);
        ok = jinja_render(t, vars, NULL, out, err);
    }
    jinja_vars_free(vars);
    jinja_free(t);
    return ok;
}

/* The result with its input runs in brackets; the runs must cover it without gaps. */
static void assert_marks(const char *source, const char *expected)
{
    struct err err = {0};
    struct jinja_text out;
    struct buf marked = {0};
    size_t at = 0;
    if (!render(source, &out, &err))
        fail_msg("%s: %s", source, err.text);
    for (size_t i = 0; i < out.n_runs; i++) {
        assert_int_equal(out.runs[i].start, at);
        assert_true(out.runs[i].n > 0);
        buf_puts(&marked, out.runs[i].is_input ? "[" : "");
        buf_append(&marked, out.bytes + at, out.runs[i].n);
        buf_puts(&marked, out.runs[i].is_input ? "]" : "");
        at += out.runs[i].n;
    }
    assert_int_equal(at, out.n);
    assert_string_equal(buf_text(&marked), expected);
    buf_fini(&marked);
    jinja_text_fini(&out);
}

static void assert_error(const char *source, const char *part)
{
    struct err err = {0};
    struct jinja_text out;
    bool ok = render(source, &out, &err);
    jinja_text_fini(&out);
    assert_false(ok);
    assert_int_equal(err.code, ERR_RUNTIME); /* its limits too: only a lack of memory is ERR_MEMORY */
    if (!strstr(err.text, part))
        fail_msg("%s: found \"%s\", expected \"%s\"", source, err.text, part);
}

static void jinja__render__marks_what_came_from_input(void **state)
{
    (void)state;
    assert_marks("a{{ x }}b{{ t }}", "a[<in>]b<tr>");
    assert_marks("{{ 'a' + x ~ 'b' ~ t }}", "a[<in>]b<tr>");
    assert_marks("{{ ('a' ~ x ~ 'b')[2:6] }}", "[in>]b");
    assert_marks("{{ (x ~ 'b')[::-1] }}", "b[>ni<]");
    assert_marks("{{ ('  ' ~ x ~ '  ') | trim }}", "[<in>]");
    assert_marks("{{ ('a' ~ x).upper() }}", "A[<IN>]");
    assert_marks("{{ 'a-b'.replace('-', x) }}", "a[<in>]b");
    assert_marks("{{ ('a,' ~ x).split(',') | join(';') }}", "a;[<in>]");
    assert_marks("{{ l | join('-') }}", "[<in>]-<tr>");
    assert_marks("{{ '%s|%s' | format(x, t) }}", "[<in>]|<tr>");
    assert_marks("{{ '{}|{}'.format(x, t) }}", "[<in>]|<tr>");
    assert_marks("{% set y %}({{ x }}){% endset %}{{ y }}", "([<in>])");
    assert_marks("{% macro f(a) %}<{{ a }}>{% endmacro %}{{ f(x) }}", "<[<in>]>");
    assert_marks("{% filter upper %}a{{ x }}{% endfilter %}", "A[<IN>]");
    assert_marks("{{ x | e }}", "[&lt;in&gt;]");
    assert_marks("{{ x * 2 }}", "[<in><in>]");
    assert_marks("{{ ['a', x] }}", "[[']a[', '<in>']]");
}

static void jinja__render__marks_json_by_its_strings(void **state)
{
    (void)state;
    assert_marks("{{ x | tojson }}", "[\"<in>\"]");
    assert_marks("{{ [t, x] | tojson }}", "[[\"]<tr>[\", \"<in>\"]]");
}

static void jinja__parse__names_line_and_column(void **state)
{
    (void)state;
    assert_error("a\n  {{ 1 + }}", "line 2, column 10");
    assert_error("\n{% if x %}", "line 2, column 11: unexpected end of template");
    assert_error("{{ [1] + 'a' }}", "can only concatenate list (not \"str\") to list");
    assert_error("{{ nope.x }}", "'nope' is undefined");
    assert_error("{% include 'a' %}", "include");
    assert_error("{% autoescape true %}{% endautoescape %}", "column 15: autoescape can only be false");
    assert_error("{{ '\\N{BULLET}' }}", "cannot be named");
    assert_error("a\n{{ 2**63 }}", "line 2, column 5: an integer does not fit 64 bits");
    assert_error("a\n{{ '%d' % 1e300 }}", "does not fit an integer of 64 bits");
    assert_error("{{ (-8)**(1/3) }}", "complex");
    assert_error("{{ raise_exception('exactly') }}", "exactly");
}

static void jinja__render__stays_within_its_limits(void **state)
{
    (void)state;
    assert_error("{% set r = range(9999) %}{% for a in r %}{{ -1 in r }}{% endfor %}", "steps");
    assert_error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion");
    assert_error("{{ range(100001) }}", "Range too big");
    assert_error("{% set s = 'aaaaaaaaaaaaaaaa' * 99999 %}{% for i in range(99) %}{{ s }}{% endfor %}",
                 "64 MiB");
    assert_error("{% set n = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(99) %}{% set n.s = n.s ~ "
                 "n.s %}{% endfor %}",
                 "more");
    assert_error("{% set n = namespace() %}{% set n.n = n %}{{ n }}", "recursion");
    assert_error("{% set n = namespace(s=[0] * 99999) %}{% for i in range(999) %}{% set n.s = n.s + [0] %}"
                 "{% endfor %}",
                 "line 1, column 81: the template needs more memory than 512 MiB");
    assert_error("{{ 9223372036854775807 + 1 }}", "64 bits");
    assert_error("{{ 99999999999999999999 }}", "64 bits");
    assert_error("{{ 'a'.center(999999999999) }}", "steps");
    assert_error("{{ 'x' * 9999999999 }}", "more");
}

static const struct work {
    const char *source; /* N: 16 Ki, or twice that */
    long n_least;       /* steps that N = 16 Ki must cost at least */
} works[] = {
    {"{{ ('a' * N).strip('b' * N ~ 'a') | length }}", 4096},
    {"{{ ('\u00e4' * 99).strip('b' * N ~ '\u00e4') | length }}", 99 * 2048},
    {"{{ ('a' * N).lstrip('b' * N ~ 'a') | length }}", 4096},
    {"{{ ('a' * N).rstrip('b' * N ~ 'a') | length }}", 4096},
    {"{{ ('a' * N) | trim('b' * N ~ 'a') | length }}", 4096},
    {"{{ ('a' * N).rsplit('a' * (N // 2) ~ 'b') | length }}", 2048},
    {"{{ ('a' * N).rsplit('b' ~ 'a' * (N // 2)) | length }}", 2048},
    {"{{ ('a' * N).rsplit('a') | length }}", 4096},
    {"{{ ('a' * N).rfind('a' * (N // 2)) }}", 1024},
    {"{{ ('a' * N).rfind('b' ~ 'a' * (N // 2)) }}", 2048},
    {"{{ ('a' * N).rpartition('b' ~ 'a' * (N // 2)) | length }}", 2048},
    {"{{ ('a' * N).find('a' * (N // 2) ~ 'b') }}", 2048},
    {"{{ ('a' * N).count('a' * 99 ~ 'b') }}", 2048},
    {"{{ ('a' * N).replace('a' * 200 ~ 'b', '') | length }}", 2048},
    {"{{ ('a' * N).split('a') | length }}", 4096},
    {"{{ ('\u00e4' * N).splitlines() | length }}", 2048},
    {"{{ ('a ' * N).split() | length }}", 4096},
    {"{{ ('a' * N).startswith('a' * N) }}", 512},
    {"{{ ('a' * N) | upper | length }}", 2048},
    {"{{ ('a-' * N) | title | length }}", 4096},
    {"{{ ('a' * N).isalpha() }}", 2048},
    {"{{ ('<' * N) | e | length }}", 2048},
    {"{{ ('\"' * N) | tojson | length }}", 2048},
    {"{{ [('\"' * N)] | string | length }}", 2048},
    {"{{ ('\u00fc/' * N) | urlencode | length }}", 4096},
    {"{{ 'a' * N == 'a' * N }}", 512},
    {"{{ 'a' * N < 'a' * N }}", 256},
    {"{{ [0] * N == [0] * N }}", 3 * 16384},
    {"{{ [0] * N < [0] * N }}", 3 * 16384},
    {"{{ 1 in [0] * N }}", 2 * 16384},
    {"{{ ([[[0]]] * N) | map(attribute='0.0') | list | length }}", 16384},
    {"{{ ([0] * N + [1] * N)[::-1] | length }}", 16384},
    {"{{ ([0, 1] * N) | sort(reverse=true) | length }}", 16384},
    {"{{ ([[1]] * N) | groupby(0) | length }}", 16384},
    {"{{ ([0] * N) | batch(3) | list | length + ([0] * N) | slice(5) | list | length }}", 32768},
    {"{{ (['a'] * N) | join(', ') | length }}", 16384},
    {"{{ 'x'.center(N) | length + 'x'.zfill(N) | length }}", 16384},
    {"{{ [[[[1]]]] | tojson(indent=256) | length }}", 100},
    {"{{ ('%9999d' % 1) | length + '{:>9999}'.format(1) | length }}", 1000},
    {"{{ ('a\\n' * N) | indent(3) | length }}", 16384},
};

static long steps_of(const char *source, int n)
{
    struct buf text = {0};
    struct err err = {0};
    struct jinja_text out;
    char number[32];
    snprintf(number, sizeof number, "%d", n);
    for (const char *s = source; *s; s++)
        if (*s == 'N')
            buf_puts(&text, number);
        else
            buf_putc(&text, *s);
    bool ok = render(buf_text(&text), &out, &err);
    long steps = out.n_steps;
    if (!ok && !strstr(err.text, "steps") && !strstr(err.text, "MiB"))
        fail_msg("%s: %s", buf_text(&text), err.text);
    jinja_text_fini(&out);
    buf_fini(&text);
    return ok ? steps : -1;
}

/* That the calls end at all with the larger sizes is the other half of this test: work that is neither linear
 * nor charged would take hours. */
static void jinja__render__charges_work_in_proportion(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        long one = steps_of(works[i].source, 16384), two = steps_of(works[i].source, 32768);
        if (one >= 0 && (one < works[i].n_least || (two >= 0 && two > one * 5 / 2 + 64)))
            fail_msg("%s: %ld steps, of twice the size %ld", works[i].source, one, two);
        assert_true(one >= 0 || works[i].n_least == 0);
        steps_of(works[i].source, 600000);
    }
}

static void jinja__parse__refuses_deep_nesting(void **state)
{
    (void)state;
    struct buf source = {0};
    struct err err = {0};
    buf_puts(&source, "{{ ");
    for (int i = 0; i < 100000; i++)
        buf_puts(&source, "not ");
    buf_puts(&source, "x }}");
    assert_null(jinja_parse(buf_text(&source), source.len, &err));
    assert_non_null(strstr(err.text, "nested"));
    buf_fini(&source);
}

static void jinja__render__survives_every_failing_allocation(void **state)
{
    (void)state;
    const char *source = "{% macro f(a) %}{{ a }}{% endmacro %}{% for i in range(50) %}{{ f(x) | upper }}{{ "
                         "l | tojson }}{% endfor %}";
    for (long n = 0;; n++) {
        struct err err = {0};
        struct jinja_text out;
        mem_fail_after(n);
        bool ok = render(source, &out, &err), happened = mem_fail_happened();
        mem_fail_after(-1);
        jinja_text_fini(&out);
        assert_true(ok || err.code == ERR_MEMORY);
        if (!happened) {
            assert_true(ok && n > 5);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jinja__render__marks_what_came_from_input),
        cmocka_unit_test(jinja__render__marks_json_by_its_strings),
        cmocka_unit_test(jinja__parse__names_line_and_column),
        cmocka_unit_test(jinja__render__stays_within_its_limits),
        cmocka_unit_test(jinja__render__charges_work_in_proportion),
        cmocka_unit_test(jinja__parse__refuses_deep_nesting),
        cmocka_unit_test(jinja__render__survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
