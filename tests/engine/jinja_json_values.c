#include "tests/engine/jinja_json_values.h"

#include <string.h>

struct jinja_value jinja_json_value(struct jinja_vars *vars, const json_t *json)
{
    const char *key;
    json_t *item;
    struct jinja_value v = jinja_null();
    if (json_is_object(json)) {
        v = jinja_dict(vars);
        json_object_foreach((json_t *)(uintptr_t)json, key, item)
            jinja_dict_add(vars, v, key, strlen(key), jinja_json_value(vars, item));
    } else if (json_is_array(json)) {
        v = jinja_list(vars);
        for (size_t i = 0; i < json_array_size(json); i++)
            jinja_list_add(vars, v, jinja_json_value(vars, json_array_get(json, i)));
    } else if (json_is_string(json)) {
        v = jinja_string_input(vars, json_string_value(json), json_string_length(json));
    } else if (json_is_integer(json)) {
        v = jinja_int(json_integer_value(json));
    } else if (json_is_real(json)) {
        v = jinja_float(json_real_value(json));
    } else if (json_is_boolean(json)) {
        v = jinja_bool(json_is_true(json));
    }
    return v;
}
