/* chat_db_job.h: one piece of work for the chat-db thread, with copies of all it needs, and the list of them.
 * Private to chat_db*.c. Jobs are made on the caller's thread and run on the chat-db thread. */
#ifndef FERRUM_CHAT_DB_JOB_H
#define FERRUM_CHAT_DB_JOB_H

#include "store/chat_db.h"

enum job_type {
    JOB_CREATE,
    JOB_PUT,
    JOB_SET_MODEL,
    JOB_RENAME,
    JOB_DELETE,
    JOB_DISCARD,
    JOB_LOOK,
    JOB_FORGOTTEN_DONE,
    JOB_PUT_DRAFT,
    JOB_LIST,
    JOB_LOAD,
    JOB_GET_PROF
};

struct job {
    struct job *next;
    enum job_type type;
    unsigned char uid[CHAT_UID_BYTES];
    bool has_uid;
    int64_t id;           /* conv, head or message id */
    struct chat *chat;    /* JOB_CREATE: uid, name and title; its messages are the rows */
    struct msg_row *rows; /* texts, ids and profiles inside are owned */
    size_t n_rows;
    bool has_model;
    struct store_model model; /* strings owned; JOB_PUT: the fingerprint alone, of the rows' ids */
    char *text;               /* title, draft or --session name, owned */
    size_t cursor;
    int n_known; /* JOB_DISCARD: messages of the chat that its writer knows of */
    bool has_key;
    struct chat_key key; /* name and uid point at text and uid above */
};

struct job *job_new(enum job_type type, const unsigned char *uid);
void job_free(struct job *job);
/* ids_of: see chat_db_put. */
void job_copy_msgs(struct job *job, const struct chat *chat, int first, int n, const unsigned char *ids_of);
void job_copy_model(struct job *job, const struct store_model *model);
void job_copy_key(struct job *job, const struct chat_key *key);

/* A write may be retried until it succeeds; a question is answered once. */
bool job_is_write(const struct job *job);
/* True when newer only says again, more fully, what older says: one row, same message, same chat. */
bool job_supersedes(const struct job *newer, const struct job *older);
/* What newer does not say and older did, which it supersedes: the profile of the message. */
void job_take_prof(struct job *newer, struct job *older);

/* Does the work. On success *event is what to tell (has_event), owned by the caller. */
bool job_run(struct job *job, struct store *s, struct chat_db_event *event, bool *has_event, struct err *err);

#endif
