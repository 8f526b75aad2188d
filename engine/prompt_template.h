/* prompt_template.h: from messages to ids by the model's own template (tokenizer.chat_template).
 *
 * The prompt of a turn always spells what the template renders for the whole conversation. Stored ids are
 * used as far as they spell the beginning of that: then only the text behind them is tokenised (what closes
 * the last answer, the new message, what makes the assistant speak), and its ids belong to the last message.
 * Where they do not (a template that drops old reasoning or trims answers, an answer of another model, a date
 * that has changed), the rendering is tokenised for this turn from there on, and nothing of it is to be
 * stored. Text of messages is never parsed for special tokens.
 *
 * An answer's reasoning is given to the template in the form it takes: as a field of the message, or within
 * the content where it cuts it off itself; else it is left out. Which answers keep theirs is the template's
 * decision. A template that raises for a system message (Gemma 2) gets its text in front of the first
 * question, an empty line between. Such habits are found out by trying the template when it is loaded.
 * Immutable after chat_template_new: any thread. */
#ifndef FERRUM_PROMPT_TEMPLATE_H
#define FERRUM_PROMPT_TEMPLATE_H

#include "engine/gguf.h"
#include "engine/prompt.h"
#include "engine/reasoning.h"

struct chat_template;

/* Reasoning before the answer: as the template does when nothing is said, on, off. */
enum think_mode { THINK_AUTO, THINK_ON, THINK_OFF };

/* The template of the file, with the spellings of bos_token and eos_token; v must outlive it. NULL without an
 * error: the file has none. ERR_MEMORY, or ERR_RUNTIME with line and column where it cannot be parsed. */
struct chat_template *chat_template_new(const struct gguf *g, const struct vocab *v, struct err *err);
void chat_template_free(struct chat_template *t);

/* Whether THINK_ON and THINK_OFF make a difference. */
bool chat_template_can_switch(const struct chat_template *t);
/* Whether its model reasons before it answers: as switched, by itself, or because the prompt makes it. */
bool chat_template_reasons(const struct chat_template *t, enum think_mode think);
/* The markers of its model's reasoning, NULL if it knows none. */
const struct reasoning_pair *chat_template_pair(const struct chat_template *t);

struct template_result {
    /* All ids are counted to the last message though others have stored ids; they are for this turn alone. */
    bool is_rewritten;
    bool is_open; /* the prompt opens the reasoning, so the model's text begins inside */
};

/* As prompt_build, for PROMPT_TEMPLATE. Messages before the last get no ids but their stored ones.
 * Fails with ERR_MEMORY, or ERR_RUNTIME with the template's own words or line and column. */
bool chat_template_build(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                         enum think_mode think, struct token_list *out, size_t *starts,
                         struct template_result *result, struct err *err);

#endif
