#include "app/template_values.h"

#include <string.h>

static bool is_role_word(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '_' || s[i] == '-'))
            return false;
    return n > 0;
}

static struct jinja_value object_value(struct jinja_vars *vars, const json_t *json)
{
    struct jinja_value dict = jinja_dict(vars);
    const char *key;
    size_t n_key;
    json_t *item;
    json_object_keylen_foreach((json_t *)(uintptr_t)json, key, n_key, item)
    {
        struct jinja_value value;
        if (json_is_string(item) && !strcmp(key, "role") &&
            is_role_word(json_string_value(item), json_string_length(item)))
            value = jinja_string_trusted(vars, json_string_value(item), json_string_length(item));
        else
            value = template_value(vars, item);
        jinja_dict_add(vars, dict, key, n_key, value);
    }
    return dict;
}

static struct jinja_value array_value(struct jinja_vars *vars, const json_t *json)
{
    struct jinja_value list = jinja_list(vars);
    for (size_t i = 0; i < json_array_size(json); i++)
        jinja_list_add(vars, list, template_value(vars, json_array_get(json, i)));
    return list;
}

struct jinja_value template_value(struct jinja_vars *vars, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return object_value(vars, json);
    case JSON_ARRAY:
        return array_value(vars, json);
    case JSON_STRING:
        return jinja_string_input(vars, json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
        return jinja_int(json_integer_value(json));
    case JSON_REAL:
        return jinja_float(json_real_value(json));
    case JSON_TRUE:
    case JSON_FALSE:
        return jinja_bool(json_is_true(json));
    case JSON_NULL:
        break;
    }
    return jinja_null();
}

static void set_token(struct jinja_vars *vars, const struct gguf *g, const char *key, const char *name)
{
    struct gguf_string text;
    uint32_t id;
    const struct gguf_kv *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (tokens && gguf_find(g, key) && gguf_get_u32(g, key, &id, NULL) &&
        gguf_array_string(tokens, id, &text))
        jinja_vars_set(vars, name, jinja_string_trusted(vars, text.data, text.n));
}

void template_set_file_tokens(struct jinja_vars *vars, const struct gguf *g)
{
    set_token(vars, g, "tokenizer.ggml.bos_token_id", "bos_token");
    set_token(vars, g, "tokenizer.ggml.eos_token_id", "eos_token");
}

struct jinja_template *template_of_file(const struct gguf *g, struct err *err)
{
    struct gguf_string text;
    if (!gguf_find(g, "tokenizer.chat_template")) {
        err_set(err, ERR_RUNTIME, "%s has no chat template (tokenizer.chat_template)", gguf_path(g));
        return NULL;
    }
    return gguf_get_string(g, "tokenizer.chat_template", &text, err) ? jinja_parse(text.data, text.n, err)
                                                                     : NULL;
}
