/* prompt_template.h: from messages to ids by the model's own template (tokenizer.chat_template).
 *
 * The prompt of a turn always spells what the template renders for the whole conversation. Stored ids are
 * used as far as they spell the beginning of that: then only the text behind them is tokenised (what closes
 * the last answer, the new message, what makes the assistant speak), and its ids belong to the last message.
 * Where they do not (a template that drops old reasoning or trims answers, an answer of another model, a date
 * that has changed), the whole rendering is tokenised for this turn, and nothing of it is to be stored.
 * Text of messages is never parsed for special tokens. Immutable after chat_template_new: any thread. */
#ifndef FERRUM_PROMPT_TEMPLATE_H
#define FERRUM_PROMPT_TEMPLATE_H

#include "engine/gguf.h"
#include "engine/prompt.h"

struct chat_template;

/* Reasoning before the answer: as the template does when nothing is said, on, off. */
enum think_mode { THINK_AUTO, THINK_ON, THINK_OFF };

/* The template of the file, with the spellings of bos_token and eos_token; v must outlive it. NULL without an
 * error: the file has none. ERR_MEMORY, or ERR_RUNTIME with line and column where it cannot be parsed. */
struct chat_template *chat_template_new(const struct gguf *g, const struct vocab *v, struct err *err);
void chat_template_free(struct chat_template *t);

/* As prompt_build, for PROMPT_TEMPLATE. Messages before the last get no ids but their stored ones.
 * *rewritten: all ids are counted to the last message though others have stored ids; they are for this turn
 * alone. Fails with ERR_MEMORY, or ERR_RUNTIME with the template's own words or line and column. */
bool chat_template_build(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                         struct token_list *out, size_t *starts, bool *rewritten, struct err *err);

#endif
