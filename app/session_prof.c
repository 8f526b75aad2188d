/* session_prof.c: the profile of a turn: what is kept of it with the answer, and asking for it again. */
#include <stdio.h>
#include <string.h>

#include "app/session_parts.h"
#include "app/version.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

/* "Qwen3 8B Q4_K_M", as the status line has it. */
static char *model_words(const struct session *s)
{
    struct buf words = {0};
    buf_printf(&words, "%.60s %s", s->model_name, s->config.quant);
    return buf_take(&words);
}

struct kept_prof *session_turn_prof(const struct session *s)
{
    struct prof *prof = NULL;
    struct err why = {0};
    if (!engine_turn_prof(s->engine, &prof, &why)) {
        log_line("the profile of a turn is not kept: %s", why.text);
        return NULL;
    }
    if (!prof->n_tokens[PROF_PREFILL] && !prof->n_tokens[PROF_DECODE]) {
        prof_free(prof);
        return NULL;
    }
    const struct backend *backend = session_backend(s);
    struct kept_prof *kept = mem_need(sizeof *kept);
    *kept = (struct kept_prof){
        .build = mem_strdup(version_build()),
        .model = model_words(s),
        .backend = mem_strdup(s->kernels),
        .kv_type = mem_strdup(dtype_info(s->kv_type)->name),
        .n_threads = (uint32_t)backend->ops->n_threads(backend->ctx),
        .pos = s->stats.prompt_tokens,
        .tokens_per_s = turn_tokens_per_s(&s->stats),
        .prof = prof,
    };
    memcpy(kept->fingerprint, s->fingerprint, sizeof kept->fingerprint);
    return kept;
}

bool session_ask_profile(struct session *s, int msg, struct err *err)
{
    if (!s->db)
        return err_set(err, ERR_RUNTIME, "This chat is private: no profile is kept with its answers.");
    if (msg < 0 || msg >= s->chat->n_msgs || s->chat->msgs[msg].role != CHAT_ASSISTANT)
        return err_set(err, ERR_RUNTIME, "Only an answer has a profile.");
    chat_db_get_prof(s->db, s->chat->msgs[msg].id);
    return true;
}
