/* test_jinja_cases.c: templates with the result, or that there must be an error, of the reference
 * implementation (Jinja 3.1 as transformers sets it up). usage: test_jinja_cases jinja_cases.json */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "engine/jinja.h"
#include "tests/engine/jinja_json_values.h"

static const char *file;

static bool render(const char *source, size_t n, const json_t *context, struct jinja_text *out,
                   struct err *err)
{
    const struct tm now = {.tm_year = 126, .tm_mon = 10, .tm_mday = 21, .tm_wday = 6, .tm_yday = 324};
    const char *key;
    json_t *item;
    struct jinja_template *t = jinja_parse(source, n, err);
    struct jinja_vars *vars = jinja_vars_new(err);
    json_object_foreach((json_t *)(uintptr_t)context, key, item)
        jinja_vars_set(vars, key, jinja_json_value(vars, item));
    bool ok = t && jinja_render(t, vars, &now, out, err);
    jinja_free(t);
    jinja_vars_free(vars);
    return ok;
}

/* Texts of what is undefined or refused, and of raise_exception, are the reference's; others are ours. */
static bool same_error(const char *reference, const char *text)
{
    static const char *const kinds[] = {"UndefinedError: ", "TemplateError: ", "SecurityError: "};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strncmp(reference, kinds[i], strlen(kinds[i])))
            return strstr(text, reference + strlen(kinds[i])) != NULL;
    return text[0] != 0;
}

/* True when as expected. */
static bool check_case(const json_t *one, const json_t *context)
{
    const json_t *source = json_object_get(one, "template"), *expected = json_object_get(one, "expected");
    struct err err = {0};
    struct jinja_text out = {0};
    bool ok = render(json_string_value(source), json_string_length(source), context, &out, &err);
    bool good = expected ? ok && out.n == json_string_length(expected) &&
                               !memcmp(out.bytes, json_string_value(expected), out.n)
                         : !ok && same_error(json_string_value(json_object_get(one, "error")), err.text);
    if (!good)
        printf("%s\n  expected %s\n  found    %s\n", json_string_value(source),
               expected ? json_string_value(expected) : json_string_value(json_object_get(one, "error")),
               ok ? out.bytes : err.text);
    jinja_text_fini(&out);
    return good;
}

static void jinja__render__as_the_reference(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root = json_load_file(file, 0, &error);
    assert_non_null(root);
    const json_t *cases = json_object_get(root, "cases"), *context = json_object_get(root, "context");
    size_t n_bad = 0;
    assert_true(json_array_size(cases) > 300);
    for (size_t i = 0; i < json_array_size(cases); i++)
        n_bad += !check_case(json_array_get(cases, i), context);
    json_decref(root);
    assert_int_equal(n_bad, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(jinja__render__as_the_reference)};
    if (argc != 2)
        return 2;
    file = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
