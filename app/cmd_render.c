/* cmd_render.c: `render --template FILE | MODEL --messages FILE.json`: the exact prompt of a chat template.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/loader.h"
#include "app/template_values.h"
#include "engine/base/buf.h"

#define MAX_FILE_BYTES ((size_t)256 << 20)

static bool read_file(const char *path, struct buf *out, struct err *err)
{
    char block[65536];
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(err, ERR_RUNTIME, "%s cannot be read: %s", path, strerror(errno));
    for (size_t n; out->len <= MAX_FILE_BYTES && (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_append(out, block, n);
    bool failed = ferror(f);
    int error = errno;
    fclose(f);
    if (failed)
        return err_set(err, ERR_RUNTIME, "%s cannot be read: %s", path, strerror(error));
    if (out->len > MAX_FILE_BYTES)
        return err_set(err, ERR_RUNTIME, "%s has more than %zu MiB", path, MAX_FILE_BYTES >> 20);
    return true;
}

static struct jinja_template *parse_file(const char *path, struct err *err)
{
    struct buf text = {0};
    struct jinja_template *t =
        read_file(path, &text, err) ? jinja_parse(buf_text(&text), text.len, err) : NULL;
    buf_fini(&text);
    return t;
}

static struct jinja_template *open_template(const struct options *o, struct jinja_vars *vars, struct err *err)
{
    const char *path;
    if (opt_given(o, OPT_TEMPLATE)) {
        if (!o->n_words)
            return parse_file(opt_text(o, OPT_TEMPLATE), err);
        err_set(err, ERR_USAGE, "render takes a model or --template FILE, not both");
        return NULL;
    }
    struct gguf *g = loader_model_word(o, &path, err) ? gguf_open(path, false, err) : NULL;
    struct jinja_template *t = g ? template_of_file(g, err) : NULL;
    if (t)
        template_set_file_tokens(vars, g);
    gguf_close(g);
    return t;
}

static bool fail_json(const char *path, const json_error_t *error, struct err *err)
{
    if (json_error_code(error) == json_error_numeric_overflow)
        return err_set(
            err, ERR_RUNTIME,
            "%s, line %d, column %d: a number is too large: whole numbers have 64 bits, others the "
            "range of a double",
            path, error->line, error->column);
    return err_set(err, ERR_RUNTIME, "%s is not JSON: line %d, column %d: %s", path, error->line,
                   error->column, error->text);
}

/* A list is the messages; the keys of an object become variables. */
static bool set_messages(const struct options *o, struct jinja_vars *vars, struct err *err)
{
    const char *path = opt_text(o, OPT_MESSAGES), *key;
    json_error_t error;
    json_t *item;
    struct buf text = {0};
    if (!path)
        return err_set(err, ERR_USAGE, "render needs --messages FILE.json");
    bool ok = read_file(path, &text, err);
    json_t *root = ok ? json_loadb(buf_text(&text), text.len, JSON_ALLOW_NUL, &error) : NULL;
    if (ok && !root)
        fail_json(path, &error, err);
    if (root && !json_is_array(root) && !json_is_array(json_object_get(root, "messages"))) {
        err_set(err, ERR_RUNTIME, "%s must be a list of messages, or an object with a list `messages`", path);
        json_decref(root);
        root = NULL;
    }
    if (json_is_array(root))
        jinja_vars_set(vars, "messages", template_value(vars, root));
    json_object_foreach(root, key, item) jinja_vars_set(vars, key, template_value(vars, item));
    ok = root != NULL;
    json_decref(root);
    buf_fini(&text);
    return ok;
}

/* --set K=V: V is JSON, else text. */
static bool set_variables(const struct options *o, struct jinja_vars *vars, struct err *err)
{
    const struct opt_value *v = &o->value[OPT_SET];
    for (int i = 0; i < v->n_texts; i++) {
        const char *equals = strchr(v->texts[i], '=');
        char name[256];
        if (!equals || equals == v->texts[i] || (size_t)(equals - v->texts[i]) >= sizeof name)
            return err_set(err, ERR_USAGE, "--set takes NAME=VALUE, found \"%s\"", v->texts[i]);
        snprintf(name, sizeof name, "%.*s", (int)(equals - v->texts[i]), v->texts[i]);
        json_t *json = json_loads(equals + 1, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        jinja_vars_set(vars, name,
                       json ? template_value(vars, json)
                            : jinja_string_input(vars, equals + 1, strlen(equals + 1)));
        json_decref(json);
    }
    return true;
}

static void set_text(const struct options *o, enum opt_id id, struct jinja_vars *vars, const char *name)
{
    if (opt_given(o, id))
        jinja_vars_set(vars, name, jinja_string_trusted(vars, opt_text(o, id), strlen(opt_text(o, id))));
}

static bool read_now(const char *text, struct tm *now, struct err *err)
{
    const char *end = strptime(text, "%Y-%m-%d %H:%M:%S", now);
    if (!end || *end)
        return err_set(err, ERR_USAGE, "--now takes \"YYYY-MM-DD HH:MM:SS\", found \"%s\"", text);
    return true;
}

bool cmd_render(const struct options *o, struct err *err)
{
    struct tm now = {.tm_isdst = -1};
    struct jinja_text text = {0};
    struct jinja_template *t = NULL;
    struct jinja_vars *vars = jinja_vars_new(err);
    bool ok = vars && (!opt_given(o, OPT_NOW) || read_now(opt_text(o, OPT_NOW), &now, err)) &&
              (t = open_template(o, vars, err));
    if (ok) {
        jinja_vars_set(vars, "add_generation_prompt", jinja_bool(!opt_flag(o, OPT_NO_GENERATION_PROMPT)));
        set_text(o, OPT_BOS_TEXT, vars, "bos_token");
        set_text(o, OPT_EOS_TEXT, vars, "eos_token");
    }
    ok = ok && set_messages(o, vars, err) && set_variables(o, vars, err) &&
         jinja_render(t, vars, opt_given(o, OPT_NOW) ? &now : NULL, &text, err);
    if (ok)
        fwrite(text.bytes, 1, text.n, stdout);
    jinja_text_fini(&text);
    jinja_free(t);
    jinja_vars_free(vars);
    return ok;
}
