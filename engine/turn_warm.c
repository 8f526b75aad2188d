/* turn_warm.c owns what is computed ahead: the rows with which the next prompt of a chat will begin, so that
 * only the new message is left to compute. That is more than the rows of the last turn where a template
 * writes history in another form, as those do that drop old reasoning. */
#include "engine/base/mem.h"
#include "engine/turn.h"

static size_t n_same(const struct token_list *a, const struct token_list *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n])
        n++;
    return n;
}

/* Nobody knows the next message: what two prompts share whose messages have nothing in common does not depend
 * on it. */
static bool build_beginning(struct turn *t, struct err *err)
{
    static const struct prompt_msg one = {.role = CHAT_USER, .text = "x", .n_bytes = 1};
    static const struct prompt_msg other = {.role = CHAT_USER, .text = "0", .n_bytes = 1};
    struct token_list first = {0};
    bool ok = turn_build_prompt(t, &one, err);
    first = t->prompt;
    t->prompt = (struct token_list){0};
    ok = ok && turn_build_prompt(t, &other, err);
    if (ok)
        t->prompt.n = n_same(&first, &t->prompt);
    token_list_fini(&first);
    return ok;
}

static bool build(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    bool is_answered = r->n_msgs == 0 || r->msgs[r->n_msgs - 1].role != CHAT_USER;
    if (!(is_answered ? build_beginning(t, err) : turn_build_prompt(t, NULL, err)))
        return false;
    if (!t->template_error.code)
        return true;
    t->engine->template_failed = false; /* a turn will find out and say it */
    *err = t->template_error;
    return false;
}

enum finish_reason turn_warm(struct turn *t, struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    if (atomic_load(t->cancel))
        return FINISH_CANCELLED; /* while it waited */
    if (!build(t, err))
        return FINISH_ERROR;
    if (t->prompt.n >= timeline_n_ctx(timeline))
        return FINISH_CONTEXT;
    if (timeline_shared(timeline, t->prompt.ids, t->prompt.n) == t->prompt.n) {
        t->stats.prompt_tokens = t->stats.reused_tokens = t->stats.reused_memory = (uint32_t)t->prompt.n;
        return FINISH_STOP;
    }
    if (turn_prefill(t, err))
        return FINISH_STOP;
    return err->code == ERR_CANCELLED ? FINISH_CANCELLED : FINISH_ERROR;
}
