/* test_templates.c: published templates, byte for byte, or the same error. Needs the shared reference data.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "engine/base/buf.h"
#include "engine/jinja.h"
#include "tests/engine/jinja_json_values.h"

static struct jinja_template *parse_file(const char *folder, const char *name, struct err *err)
{
    char path[4096], block[4096];
    struct buf text = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_append(&text, block, n);
    fclose(f);
    struct jinja_template *t = jinja_parse(buf_text(&text), text.len, err);
    buf_fini(&text);
    return t;
}

static void set_text(struct jinja_vars *vars, const char *name, const json_t *text)
{
    jinja_vars_set(vars, name, jinja_string_trusted(vars, json_string_value(text), json_string_length(text)));
}

static bool check_case(const struct jinja_template *t, const json_t *root, const json_t *one)
{
    const struct tm now = {.tm_year = 126, .tm_mon = 10, .tm_mday = 21, .tm_wday = 6, .tm_yday = 324};
    const char *conversation = json_string_value(json_object_get(one, "conversation"));
    const json_t *thinking = json_object_get(one, "enable_thinking");
    const json_t *expected = json_object_get(one, "expected");
    struct err err = {0};
    struct jinja_text out;
    struct jinja_vars *vars = jinja_vars_new(&err);
    jinja_vars_set(
        vars, "messages",
        jinja_json_value(vars, json_object_get(json_object_get(root, "conversations"), conversation)));
    set_text(vars, "bos_token", json_object_get(root, "bos_token"));
    set_text(vars, "eos_token", json_object_get(root, "eos_token"));
    jinja_vars_set(vars, "add_generation_prompt",
                   jinja_bool(json_is_true(json_object_get(one, "add_generation_prompt"))));
    if (!json_is_null(thinking))
        jinja_vars_set(vars, "enable_thinking", jinja_bool(json_is_true(thinking)));
    bool ok = jinja_render(t, vars, &now, &out, &err);
    bool good = expected ? ok && !strcmp(out.bytes, json_string_value(expected))
                         : !ok && !strcmp(err.text, json_string_value(json_object_get(one, "error")));
    if (!good)
        printf("%s: %s\n", conversation, ok ? out.bytes : err.text);
    jinja_text_fini(&out);
    jinja_vars_free(vars);
    return good;
}

static void jinja__render__published_templates(void **state)
{
    (void)state;
    const char *shared = getenv("FERRUM_SHARED"), *name;
    char folder[3000], path[4000];
    json_t *list, *one;
    size_t i, n_cases = 0, n_bad = 0;
    snprintf(folder, sizeof folder, "%s/templates", shared ? shared : ".");
    snprintf(path, sizeof path, "%s/expected.json", folder);
    json_t *root = shared ? json_load_file(path, 0, NULL) : NULL;
    if (!root) {
        printf("skipped: no shared templates\n");
        skip();
    }
    json_object_foreach(json_object_get(root, "templates"), name, list)
    {
        struct err err = {0};
        struct jinja_template *t = parse_file(folder, name, &err);
        if (!t)
            fail_msg("%s: %s", name, err.text);
        json_array_foreach(list, i, one)
        {
            bool good = check_case(t, root, one);
            n_cases++;
            n_bad += !good;
            if (!good)
                printf("%s, case %zu\n", name, i);
        }
        jinja_free(t);
    }
    json_decref(root);
    assert_true(n_cases >= 364);
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(jinja__render__published_templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
