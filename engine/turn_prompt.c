/* turn_prompt.c owns the way from a request's messages to the ids of its prompt. */
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/turn.h"

/* Stored ids may come from another model or a damaged database: the message is written anew then. */
static void drop_foreign_ids(struct engine_request *r, int32_t n_vocab)
{
    for (size_t i = 0; i < r->n_msgs; i++) {
        struct engine_msg *msg = &r->msgs[i];
        size_t n = 0;
        while (n < msg->n_tokens && msg->tokens[n] >= 0 && msg->tokens[n] < n_vocab)
            n++;
        if (n == msg->n_tokens)
            continue;
        log_line("message %zu of %zu: stored token %zu has the id %d, but the model has %d: its text is "
                 "tokenised again",
                 i + 1, r->n_msgs, n, msg->tokens[n], n_vocab);
        mem_free(msg->tokens);
        msg->tokens = NULL;
        msg->n_tokens = 0;
    }
}

/* A template that fails once is not asked again: a chat keeps to one layout. */
static bool lay_out(struct turn *t, const struct prompt_msg *msgs, size_t n, struct err *err)
{
    struct engine *e = t->engine;
    const struct model *m = turn_model(t);
    const struct vocab *vocab = model_vocab(m);
    struct err why = {0};
    t->style = t->job->request.raw ? PROMPT_RAW : prompt_style_of(vocab);
    if (t->style != PROMPT_RAW && model_template(m) && !e->template_failed) {
        if (chat_template_build(model_template(m), msgs, n, t->job->request.think, &t->prompt, t->starts,
                                &t->layout, &why)) {
            t->style = PROMPT_TEMPLATE;
            return true;
        }
        if (why.code == ERR_MEMORY) {
            *err = why;
            return false;
        }
        e->template_failed = true;
        err_set(&t->template_error, ERR_RUNTIME,
                "the model's chat template failed (%s); %s is used from now on", why.text,
                prompt_style_name(t->style));
        log_line("%s", t->template_error.text);
    }
    return prompt_build(vocab, t->style, msgs, n, &t->prompt, t->starts, err);
}

static struct prompt_msg as_prompt_msg(const struct engine_msg *m)
{
    return (struct prompt_msg){.role = m->role,
                               .text = m->text,
                               .n_bytes = m->n_bytes,
                               .think = m->think,
                               .n_think = m->n_think,
                               .tokens = m->tokens,
                               .n_tokens = m->n_tokens};
}

bool turn_build_prompt(struct turn *t, const struct prompt_msg *more, struct err *err)
{
    struct engine_request *r = &t->job->request;
    size_t n = r->n_msgs + (more != NULL);
    drop_foreign_ids(r, vocab_size(model_vocab(turn_model(t))));
    mem_free(t->starts);
    t->starts = mem_array(n, sizeof *t->starts, err);
    struct prompt_msg *msgs = t->starts ? mem_array(n, sizeof *msgs, err) : NULL;
    if (!msgs)
        return false;
    for (size_t i = 0; i < r->n_msgs; i++)
        msgs[i] = as_prompt_msg(&r->msgs[i]);
    if (more)
        msgs[r->n_msgs] = *more;
    bool ok = lay_out(t, msgs, n, err);
    mem_free(msgs);
    return ok;
}

bool turn_check_fit(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    size_t n = t->prompt.n, n_ctx = timeline_n_ctx(t->engine->timeline);
    if (n == 0)
        return err_set(err, ERR_USAGE, "the prompt is empty; write something");
    if (n + (r->n_predict != 0) > n_ctx)
        return err_set(
            err, ERR_PROMPT,
            "the prompt of %zu tokens does not fit: the context has %zu, and the answer needs one; shorten "
            "it, start a new chat (/new) or use a larger --ctx",
            n, n_ctx);
    t->max_new = n_ctx - n;
    if (r->n_predict >= 0 && (size_t)r->n_predict < t->max_new)
        t->max_new = (size_t)r->n_predict;
    return true;
}

bool turn_send_prompt(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    struct engine_event event = {.type = ENGINE_PROMPT,
                                 .request = t->job->number,
                                 .total = t->prompt.n,
                                 .n_msgs = r->n_msgs,
                                 .error = t->template_error};
    event.ids = mem_array(t->prompt.n, sizeof *event.ids, err);
    event.n_ids_of = event.ids ? mem_array(r->n_msgs, sizeof *event.n_ids_of, err) : NULL;
    if (!event.n_ids_of) {
        mem_free(event.ids);
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < r->n_msgs; i++) {
        size_t end = i + 1 < r->n_msgs ? t->starts[i + 1] : t->prompt.n;
        if (r->msgs[i].tokens || t->layout.is_rewritten)
            continue;
        event.n_ids_of[i] = end - t->starts[i];
        memcpy(event.ids + n, t->prompt.ids + t->starts[i], event.n_ids_of[i] * sizeof *event.ids);
        n += event.n_ids_of[i];
    }
    if (engine_send_surely(t->engine, &event))
        return true;
    mem_free(event.ids);
    mem_free(event.n_ids_of);
    return err_set(err, ERR_CANCELLED, "closing");
}
