/* template_render.h: a conversation as the model's template renders it, and the template's habits, which are
 * found out by trying it: what switches its reasoning, in which form it takes the reasoning of old answers,
 * and whether it takes a system message. For prompt_template.c. After template_learn immutable: any thread.
 * Errors: ERR_MEMORY, or ERR_RUNTIME with the template's words. */
#ifndef FERRUM_TEMPLATE_RENDER_H
#define FERRUM_TEMPLATE_RENDER_H

#include "engine/jinja.h"
#include "engine/prompt_template.h"

struct think_switch;

struct template_habits {
    const struct reasoning_pair *pair;       /* NULL: it knows no markers of reasoning */
    const struct think_switch *think_switch; /* NULL: nothing that it knows changes what it renders */
    const char *reasoning_field;             /* of a message, that it shows at times; or NULL */
    bool reasoning_in_content;               /* it cuts reasoning off from content, between the markers */
    bool moves_system; /* it raises for a system message: that goes in front of the first question */
    bool reasons[3];   /* by enum think_mode */
};

struct template_renderer {
    struct jinja_template *jinja; /* the caller's */
    struct gguf_string bos, eos;  /* NULL: there is none; the vocabulary's */
    struct template_habits habits;
};

/* Fills in the habits. Fails only for want of memory. */
bool template_learn(struct template_renderer *r, struct err *err);

/* Renders, with what makes the assistant speak. *out is to be given to jinja_text_fini in any case. */
bool template_render(const struct template_renderer *r, const struct prompt_msg *msgs, size_t n,
                     enum think_mode think, struct jinja_text *out, struct err *err);

#endif
