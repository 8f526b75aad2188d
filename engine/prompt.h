/* prompt.h: from messages to the exact token ids the model is given.
 *
 * The styles for a model without a usable template of its own (prompt_template.h): ChatML when the vocabulary
 * has <|im_start|> and <|im_end|>, else plain text (messages one after the other, a newline between them).
 * PROMPT_TEMPLATE is built by chat_template_build, not here. Text of messages is never parsed for
 * special tokens. History keeps its stored ids: only messages without ids are rendered (chat.h, invariant 4).
 * Pure functions, any thread. */
#ifndef FERRUM_PROMPT_H
#define FERRUM_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/chat.h"
#include "engine/vocab.h"

struct prompt_msg {
    enum chat_role role;
    const char *text;
    size_t n_bytes;
    const int32_t *tokens; /* stored ids, or NULL: to be rendered */
    size_t n_tokens;
    const char *think; /* an answer's reasoning, or NULL; only templates make use of it */
    size_t n_think;
};

enum prompt_style { PROMPT_RAW, PROMPT_CHATML, PROMPT_PLAIN, PROMPT_TEMPLATE };
/* What to use without a template: PROMPT_CHATML or PROMPT_PLAIN. */
enum prompt_style prompt_style_of(const struct vocab *v);
const char *prompt_style_name(enum prompt_style style); /* for a sentence: "ChatML", "plain text" */

/* Appends to out the ids of all messages of a path, in order, then what makes the assistant speak. starts[i]
 * (n entries) gets the index in out where message i's ids begin: the ids of message i are out[starts[i] ..
 * starts[i+1] or end). A message with stored ids is copied. PROMPT_RAW: BOS if the vocabulary says so, before
 * the very first text only; the text and nothing else. */
bool prompt_build(const struct vocab *v, enum prompt_style style, const struct prompt_msg *msgs, size_t n,
                  struct token_list *out, size_t *starts, struct err *err);

#endif
