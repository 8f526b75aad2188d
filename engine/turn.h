/* turn.h: one request in work, in steps: its prompt (turn_prompt.c), the KV rows of that (turn_prefill.c),
 * what is done ahead of the next one (turn_warm.c), and when a device fails (turn_rescue.c). The answer is
 * engine_thread.c's, which runs them. Belongs to the engine's thread. */
#ifndef FERRUM_TURN_H
#define FERRUM_TURN_H

#include "engine/answer.h"
#include "engine/engine_internal.h"

struct turn {
    struct engine *engine;
    struct engine_job *job;
    const atomic_bool *cancel;
    struct token_list prompt; /* every token before the answer */
    size_t *starts;           /* [n_msgs] of prompt_build */
    enum prompt_style style;
    struct template_result layout;
    struct err template_error; /* the template failed in this turn */
    struct sampler *sampler;
    struct answer answer;
    struct turn_stats stats;
    size_t n_missing; /* tokens of the prompt that memory did not have */
    size_t n_done;    /* of them, as people were told; never less than before */
    size_t max_new;   /* tokens the answer may have */
    uint64_t prefilled_ns;
    uint64_t round_ns; /* when the last forward pass of the answer was done */
};

static inline const struct model *turn_model(const struct turn *t)
{
    return atomic_load(&t->engine->model);
}

/* For events that must not be lost. The reader may be slow, but only closing makes it vanish: false then. */
bool engine_send_surely(struct engine *e, const struct engine_event *event);
/* A reader in the way costs this snapshot, never the token: the next one brings the same numbers and more. */
void engine_copy_prof(struct engine *e);

double turn_ms_since(uint64_t start_ns);

/* The ids of the request's messages and of one more behind them (NULL: none), and of what makes the assistant
 * speak. */
bool turn_build_prompt(struct turn *t, const struct prompt_msg *more, struct err *err);
/* Invariant 5 of engine.h: refuses before anything is changed. An answer needs a place for one token. */
bool turn_check_fit(struct turn *t, struct err *err);
/* Tells the app which ids the messages without any have got. */
bool turn_send_prompt(struct turn *t, struct err *err);

/* timeline_eval; when the device is lost, the CPU takes its place, which ENGINE_MOVED tells, and computes
 * what was there before and these tokens (turn_rescue.c). */
bool turn_eval(struct turn *t, const int32_t *ids, size_t n, const struct eval_control *control,
               struct err *err);
/* The same of timeline_try. */
bool turn_try(struct turn *t, const int32_t *ids, size_t n, const struct eval_control *control,
              struct err *err);
/* The same of timeline_accept; id: the guess that it appends. */
bool turn_accept(struct turn *t, int32_t id, struct err *err);

/* Brings the rows of the prompt into the KV cache: those in memory, then those on the shelf, the others
 * computed. Logits follow, but for a warm request. The statistics say what came from where, also when it
 * fails or is cancelled. */
bool turn_prefill(struct turn *t, struct err *err);

/* A request that wants no answer (engine_request.warm). */
enum finish_reason turn_warm(struct turn *t, struct err *err);

#endif
