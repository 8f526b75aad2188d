/* chat_db.h: the chat-db thread: a store of its own, jobs in, results out. Callers never wait for SQLite.
 *
 * Invariants
 *  1. Jobs run in the order they were given, each in one transaction.
 *  2. A write that fails for a reason that may pass (locked, full, read-only, I/O error) is kept and tried
 * again (every second, and at each new job) while the text stays in memory; the first failure and the
 * recovery are each reported once. A write that can never succeed is reported (CHAT_DB_GONE, CHAT_DB_FAILED)
 * and let go, so that it does not stand in the way of others: whoever gave it has the text still, and must
 * not take it for stored.
 *  3. Successive updates of one streaming message that have not run yet are merged.
 *  4. A file that was deleted, moved away or replaced is noticed before the next job: the one of this name is
 * opened, or begun, and CHAT_DB_MOVED tells so. What it is to hold of before must be given again. While that
 * cannot be, writes wait as in 2 (file_is_gone).
 *  5. chat_db_close runs all that is waiting (up to its time limit) before it joins the thread.
 * Thread rule: all functions are for one thread (app's); events come through a descriptor. Arguments are
 * copied. */
#ifndef FERRUM_CHAT_DB_H
#define FERRUM_CHAT_DB_H

#include "store/store.h"

struct chat_db;

enum chat_db_event_type {
    CHAT_DB_CREATED, /* uid, id: the number people see; name_taken: another chat has the name, this one none
                      */
    CHAT_DB_LIST,    /* list: owned by the receiver */
    CHAT_DB_LOADED,  /* chat, info: owned by the receiver; chat NULL if there is none; draft */
    CHAT_DB_DELETED, /* id, found */
    CHAT_DB_PROF, /* id of the message; kept: owned by the receiver, NULL if none was kept, or if it cannot be
                     read (error) */
    CHAT_DB_TROUBLE, /* error: writing does not work for now; the text is kept in memory */
    CHAT_DB_RECOVERED,
    CHAT_DB_MOVED, /* error: the file was deleted, moved away or replaced; jobs go to the new one from here on
                    */
    CHAT_DB_GONE, /* uid: a write found the chat deleted by another program, or (id_taken) the id of a message
                     in use for another one; what it held is not stored, and must be under new ids */
    CHAT_DB_FAILED, /* error: a question, a delete, or a write that can never succeed (uid: of its chat) */
    CHAT_DB_FORGET, /* uid: of a chat deleted by an earlier program, whose blocks kv.db may still hold; comes
                       after opening, and at each start until chat_db_forgotten_done was called */
};

struct chat_db_event {
    enum chat_db_event_type type;
    unsigned char uid[CHAT_UID_BYTES];
    int64_t id;
    bool found;
    bool name_taken;
    bool id_taken;
    bool file_is_gone; /* CHAT_DB_TROUBLE: nothing is on disk, of what was stored before neither */
    struct chat_list list;
    struct chat *chat;
    struct chat_info info;
    struct kept_prof *kept;
    char *draft; /* or NULL; owned by the receiver */
    size_t draft_cursor;
    struct err error;
};
/* Frees what an event owns. */
void chat_db_event_fini(struct chat_db_event *event);

/* Starts the thread, which opens (or creates) the file and may have to wait for another program to let go of
 * it. */
struct chat_db *chat_db_open(const char *path, struct err *err);
/* Waits up to timeout_ms (-1: no limit) for the file to be open. CHAT_DB_BAD: it cannot be used (err); close
 * it. Jobs given before run as soon as it is open. */
enum chat_db_state { CHAT_DB_OPENING, CHAT_DB_OPEN, CHAT_DB_BAD };
enum chat_db_state chat_db_wait_open(struct chat_db *db, int timeout_ms, struct err *err);
/* Returns false if something was not stored when limit_ms had passed (-1: no limit; 0: does not wait for
 * locks that others hold), or was let go (CHAT_DB_GONE, CHAT_DB_FAILED) and nobody has taken that event; the
 * thread is joined. NULL is fine. */
bool chat_db_close(struct chat_db *db, int limit_ms, struct err *err);

int chat_db_event_fd(const struct chat_db *db);
bool chat_db_next_event(struct chat_db *db, struct chat_db_event *event);

/* Jobs. Each copies its arguments. */
/* A new chat, whole: with its messages and head. */
void chat_db_create(struct chat_db *db, const struct chat *chat, const struct store_model *model);
/* Stores messages [first, n_msgs) of the chat and its head; msgs already stored are updated. ids_of is the
 * fingerprint of the model that their ids are of (NULL: the chat's): where another program has taken the chat
 * to another model, the ids are left out. */
void chat_db_put(struct chat_db *db, const struct chat *chat, int first, const unsigned char *ids_of);
void chat_db_put_one(struct chat_db *db, const struct chat *chat, int msg, const unsigned char *ids_of);
/* The same for an answer that is done, with its profile, which is taken over (NULL: none). */
void chat_db_put_answer(struct chat_db *db, const struct chat *chat, int msg, const unsigned char *ids_of,
                        struct kept_prof *kept);
void chat_db_set_head(struct chat_db *db, const struct chat *chat);
void chat_db_set_model(struct chat_db *db, const struct chat *chat, const struct store_model *model);
void chat_db_rename(struct chat_db *db, int64_t id, const char *title);
void chat_db_delete(struct chat_db *db, int64_t id);
/* Deletes a chat of which nothing came, if it holds nothing but what its writer knows of; one that is not
 * there is fine. What is in it must be kept elsewhere before. No event. */
void chat_db_discard(struct chat_db *db, const struct chat *chat);
/* Looks whether the file is there still; CHAT_DB_MOVED comes if it is not. */
void chat_db_look(struct chat_db *db);
/* kv.db holds nothing of this deleted chat any more (kv_io_next_forgotten). */
void chat_db_forgotten_done(struct chat_db *db, const unsigned char uid[CHAT_UID_BYTES]);
void chat_db_put_draft(struct chat_db *db, const struct chat *chat, const char *text, size_t cursor);
void chat_db_list(struct chat_db *db);
/* Answers CHAT_DB_LOADED. key NULL: no chat, just the draft that belongs to none yet. */
void chat_db_load(struct chat_db *db, const struct chat_key *key);
/* Answers CHAT_DB_PROF with the profile of the message of this id, in every case. */
void chat_db_get_prof(struct chat_db *db, int64_t msg_id);
/* Blocks until all jobs given so far have run or limit_ms passed; true if they have. For one-turn runs and
 * signals. */
bool chat_db_flush(struct chat_db *db, int limit_ms, struct err *err);

#endif
