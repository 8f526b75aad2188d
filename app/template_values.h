/* template_values.h: JSON to the values of a chat template, and what a model file says about its template.
 *
 * Strings of the JSON are input: they never become special tokens. Role words (the value of "role", if made
 * of lower-case letters, digits, '_' and '-') are the program's: templates build tokens like <|user|> from
 * them. Ownership: values live in the struct jinja_vars. Single thread. */
#ifndef FERRUM_TEMPLATE_VALUES_H
#define FERRUM_TEMPLATE_VALUES_H

#include <jansson.h>

#include "engine/gguf.h"
#include "engine/jinja.h"

struct jinja_value template_value(struct jinja_vars *vars, const json_t *json);

/* bos_token and eos_token from the file's vocabulary; left undefined where the file names none. */
void template_set_file_tokens(struct jinja_vars *vars, const struct gguf *g);
/* Parses tokenizer.chat_template. */
struct jinja_template *template_of_file(const struct gguf *g, struct err *err);

#endif
