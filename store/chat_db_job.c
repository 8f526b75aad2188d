/* chat_db_job.c: makes, runs and frees the jobs of the chat-db thread. */
#include "store/chat_db_job.h"

#include <string.h>

#include "engine/base/mem.h"

struct job *job_new(enum job_type type, const unsigned char *uid)
{
    struct job *job = mem_need(sizeof *job);
    job->type = type;
    job->has_uid = uid != NULL;
    if (uid)
        memcpy(job->uid, uid, sizeof job->uid);
    return job;
}

static void row_free(struct msg_row *row)
{
    mem_free((char *)row->text);
    mem_free((char *)row->think);
    mem_free((int32_t *)row->tokens);
    mem_free((char *)row->params);
    mem_free((char *)row->stats);
    kept_prof_free((struct kept_prof *)row->prof);
}

void job_free(struct job *job)
{
    if (!job)
        return;
    for (size_t i = 0; i < job->n_rows; i++)
        row_free(&job->rows[i]);
    mem_free(job->rows);
    chat_free(job->chat);
    mem_free((char *)job->model.name);
    mem_free((char *)job->model.path);
    mem_free(job->text);
    mem_free(job);
}

static char *copy_or_null(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static struct msg_row copy_row(const struct chat *chat, const struct chat_msg *msg)
{
    struct msg_row row = {
        .id = msg->id,
        .parent_id = msg->parent >= 0 ? chat->msgs[msg->parent].id : 0,
        .role = msg->role,
        .status = msg->status,
        .text = mem_strndup(buf_text(&msg->text), msg->text.len),
        .think = mem_strndup(buf_text(&msg->think), msg->think.len),
        .n_text = msg->text.len,
        .n_think = msg->think.len,
        .n_tokens = msg->n_tokens,
        .created_ms = msg->created_ms,
        .prof_of = msg->copied_from,
        .params = copy_or_null(msg->params),
        .stats = copy_or_null(msg->stats),
    };
    int32_t *tokens = mem_need(msg->n_tokens * sizeof *tokens);
    if (msg->n_tokens)
        memcpy(tokens, msg->tokens, msg->n_tokens * sizeof *tokens);
    row.tokens = tokens;
    return row;
}

void job_copy_msgs(struct job *job, const struct chat *chat, int first, int n, const unsigned char *ids_of)
{
    if (ids_of)
        memcpy(job->model.fingerprint, ids_of, sizeof job->model.fingerprint);
    job->rows = mem_need((size_t)n * sizeof *job->rows);
    for (int i = 0; i < n; i++) {
        job->rows[i] = copy_row(chat, &chat->msgs[first + i]);
        job->rows[i].tokens_of = ids_of ? job->model.fingerprint : NULL;
    }
    job->n_rows = (size_t)n;
    job->id = chat->head >= 0 ? chat->msgs[chat->head].id : STORE_HEAD_NONE;
}

void job_copy_model(struct job *job, const struct store_model *model)
{
    if (!model)
        return;
    job->has_model = true;
    job->model = *model;
    job->model.name = copy_or_null(model->name);
    job->model.path = copy_or_null(model->path);
}

void job_copy_key(struct job *job, const struct chat_key *key)
{
    if (!key)
        return;
    job->has_key = true;
    job->key = *key;
    if (key->name)
        job->key.name = job->text = mem_strdup(key->name);
    if (key->uid) {
        memcpy(job->uid, key->uid, sizeof job->uid);
        job->key.uid = job->uid;
    }
}

bool job_is_write(const struct job *job)
{
    return job->type == JOB_CREATE || job->type == JOB_PUT || job->type == JOB_SET_MODEL ||
           job->type == JOB_RENAME || job->type == JOB_PUT_DRAFT || job->type == JOB_FORGOTTEN_DONE ||
           job->type == JOB_DISCARD;
}

bool job_supersedes(const struct job *newer, const struct job *older)
{
    if (newer->type != older->type || newer->has_uid != older->has_uid ||
        memcmp(newer->uid, older->uid, sizeof newer->uid) != 0)
        return false;
    if (newer->type == JOB_PUT_DRAFT)
        return true;
    return newer->type == JOB_PUT && newer->n_rows == 1 && older->n_rows == 1 &&
           newer->rows[0].id == older->rows[0].id && newer->id == older->id;
}

void job_take_prof(struct job *newer, struct job *older)
{
    if (!newer->n_rows || !older->n_rows || newer->rows[0].prof)
        return;
    newer->rows[0].prof = older->rows[0].prof;
    older->rows[0].prof = NULL;
}

static bool run_load(struct job *job, struct store *s, struct chat_db_event *event, struct err *err)
{
    event->type = CHAT_DB_LOADED;
    struct buf draft = {0};
    const unsigned char *uid = NULL;
    if (job->has_key) {
        event->chat = store_load(s, &job->key, &event->info, &event->found, err);
        if (!event->chat)
            return !event->found && err->code == ERR_NONE;
        uid = event->chat->uid;
        memcpy(event->uid, uid, sizeof event->uid);
    }
    if (!store_get_draft(s, uid, &draft, &event->draft_cursor, err)) {
        buf_fini(&draft);
        return false;
    }
    event->draft = draft.len ? buf_take(&draft) : NULL;
    buf_fini(&draft);
    return true;
}

/* What another program added to the chat in the meantime stays. No block of it can be in kv.db: nothing was
 * computed. */
static bool run_discard(const struct job *job, struct store *s, struct err *err)
{
    struct chat_info info = {0};
    bool found = false;
    const struct chat_key key = {.kind = CHAT_BY_UID, .uid = job->uid};
    struct chat *chat = store_load(s, &key, &info, &found, err);
    bool ok = chat || (!found && err->code == ERR_NONE);
    if (chat && chat->n_msgs <= job->n_known)
        ok = store_delete(s, info.id, &found, err) && store_forgotten_done(s, job->uid, err);
    chat_info_fini(&info);
    chat_free(chat);
    return ok;
}

bool job_run(struct job *job, struct store *s, struct chat_db_event *event, bool *has_event, struct err *err)
{
    *event = (struct chat_db_event){.id = job->id};
    memcpy(event->uid, job->uid, sizeof event->uid);
    *has_event = job->type == JOB_CREATE || (!job_is_write(job) && job->type != JOB_LOOK);
    const unsigned char *uid = job->has_uid ? job->uid : NULL;
    switch (job->type) {
    case JOB_CREATE:
        event->type = CHAT_DB_CREATED;
        return store_create(s, job->chat, job->has_model ? &job->model : NULL, job->rows, job->n_rows,
                            job->id, &event->id, &event->name_taken, err);
    case JOB_PUT:
        return store_put_msgs(s, uid, job->rows, job->n_rows, job->id, err);
    case JOB_SET_MODEL:
        return store_set_model(s, uid, &job->model, err);
    case JOB_PUT_DRAFT:
        return store_put_draft(s, uid, job->text, job->cursor, err);
    case JOB_FORGOTTEN_DONE:
        return store_forgotten_done(s, uid, err);
    case JOB_RENAME:
        return store_rename(s, job->id, job->text, err);
    case JOB_DELETE:
        event->type = CHAT_DB_DELETED;
        return store_delete(s, job->id, &event->found, err);
    case JOB_DISCARD:
        return run_discard(job, s, err);
    case JOB_LOOK: /* the thread has */
        return true;
    case JOB_LIST:
        event->type = CHAT_DB_LIST;
        return store_list(s, &event->list, err);
    case JOB_GET_PROF:
        event->type = CHAT_DB_PROF;
        store_get_prof(s, job->id, &event->kept, &event->error);
        return true;
    case JOB_LOAD:
        return run_load(job, s, event, err);
    }
    return true;
}
