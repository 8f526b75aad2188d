/* jinja_json_values.h: JSON to values of a template, all strings as input. For the tests. */
#ifndef FERRUM_JINJA_JSON_VALUES_H
#define FERRUM_JINJA_JSON_VALUES_H

#include <jansson.h>

#include "engine/jinja.h"

struct jinja_value jinja_json_value(struct jinja_vars *vars, const json_t *json);

#endif
