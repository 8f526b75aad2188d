/* store.h: chat.db, the precious file: conversations, the message tree, exact token ids, drafts.
 *
 * One struct store is one SQLite connection and belongs to the thread that opened it (asserted). Blocking
 * calls: the program's screen uses chat_db.h, which runs a store on a thread of its own; subcommands use this
 * directly. Schema: see store/schema.c. Journal TRUNCATE, synchronous FULL: a committed turn survives kill -9
 * and power loss; no WAL on this SQLite (its reset bug, see ARCHITECTURE.md). Errors are ERR_DATABASE: file,
 * what was tried, SQLite's words, what to do. A damaged, locked, foreign, newer or read-only file is an error
 * (newer and read-only: opened read-only where the caller allows), never repaired silently and never
 * overwritten; one of an older schema is brought up to date, after a copy (PATH.old) was made. Everything
 * read is bounded and checked: UTF-8, roles, parents inside the chat, no cycles. */
#ifndef FERRUM_STORE_H
#define FERRUM_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/chat.h"
#include "engine/base/err.h"
#include "store/kept_prof.h"

struct store;

enum store_mode { STORE_READ_WRITE, STORE_READ_ONLY };

/* Creates file (0600) and directory (0700) when absent and writing; refuses files that are not ours. */
struct store *store_open(const char *path, enum store_mode mode, struct err *err);
/* The same; while *stop (borrowed, may be NULL) is true nothing, opening included, waits for a lock that
 * another program holds (else up to 5 s). */
struct store *store_open_until(const char *path, enum store_mode mode, const atomic_bool *stop,
                               struct err *err);
void store_close(struct store *s);

/* The file was deleted, moved away or replaced while it was open: nothing that is written here arrives
 * anywhere. Open it anew. */
bool store_has_moved(const struct store *s);

/* Why the last failing call of this store failed: whether trying the same again may succeed (locked, full,
 * read-only, I/O), whether the chat it named is not there (any more), and whether the id of a message of it
 * is that of another one (or of the same one, further on). */
bool store_may_retry(const struct store *s);
bool store_chat_is_gone(const struct store *s);
bool store_id_is_taken(const struct store *s);

/* The model a chat was last used with. */
struct store_model {
    unsigned char fingerprint[32];
    const char *name; /* for people */
    const char *path; /* a hint */
};

struct chat_info {
    int64_t id;
    unsigned char uid[CHAT_UID_BYTES];
    char *name;                          /* or NULL */
    char *title;                         /* never NULL; first words of the first message until renamed */
    char *model_name, *model_path;       /* or NULL */
    unsigned char model_fingerprint[32]; /* zeros if unknown */
    int64_t created_ms, updated_ms;
    int32_t n_msgs;
};
struct chat_list {
    struct chat_info *items;
    size_t n;
};
void chat_list_fini(struct chat_list *list);
/* A deep copy / the end of one info. */
void chat_info_fini(struct chat_info *info);

/* Most recently used first. */
bool store_list(struct store *s, struct chat_list *out, struct err *err);

/* Messages in which all words occur (the last one may be the beginning of a word), best first. The index is
 * that of SQLite's FTS5: case and accents do not count. */
struct chat_hit {
    int64_t chat_id, msg_id;
    char *title;   /* of the chat */
    char *snippet; /* some words around the place */
    enum chat_role role;
    int64_t created_ms;
};
struct chat_hits {
    struct chat_hit *items;
    size_t n;
};
void chat_hits_fini(struct chat_hits *hits);
bool store_search(struct store *s, const char *words, int limit, struct chat_hits *out, struct err *err);

/* Which chat: by id, by --session name, by uid, or the most recent. */
enum chat_key_kind { CHAT_BY_ID, CHAT_BY_NAME, CHAT_BY_UID, CHAT_LATEST };
struct chat_key {
    enum chat_key_kind kind;
    int64_t id;
    const char *name;
    const unsigned char *uid;
};
/* *found false: no such chat (not an error). info (may be NULL) is filled for chat_info_fini. */
struct chat *store_load(struct store *s, const struct chat_key *key, struct chat_info *info, bool *found,
                        struct err *err);

/* Writes; each is one transaction. */

/* head_id: which message is the chat's head. */
#define STORE_HEAD_NONE (-1)
struct msg_row {
    int64_t id, parent_id;
    enum chat_role role;
    enum chat_status status;
    const char *text, *think; /* think may be NULL */
    size_t n_text, n_think;
    const int32_t *tokens;
    size_t n_tokens;
    const unsigned char *tokens_of; /* fingerprint of the model that the ids are of; NULL: the chat's */
    int64_t created_ms;
    const char *params, *stats;   /* JSON or NULL */
    int64_t prof_of;              /* another message, whose profile it gets a copy of, or 0 */
    const struct kept_prof *prof; /* of a finished answer, or NULL: the one that is stored stays */
};
/* A new chat: its uid, name and title are those of chat, its messages the rows (none: an empty chat); all of
 * it is there afterwards, or nothing. A name that another chat has already is not taken: the chat is stored
 * without (*name_taken). */
bool store_create(struct store *s, const struct chat *chat, const struct store_model *model,
                  const struct msg_row *rows, size_t n_rows, int64_t head_id, int64_t *id, bool *name_taken,
                  struct err *err);
/* Inserts or updates messages of the chat. parent_id 0: a root; else it is stored, or among the rows before.
 * No rows: the head alone. A row whose id
 * another message has, of any chat, is refused, all rows with it (store_id_is_taken), and so is one whose
 * texts do not begin with what is stored of them: a message only grows. Ids of a model that the chat is not
 * used with any more (store_set_model, by another program) are left out. Here as in store_create
 * a profile that cannot be stored is left out (and logged): it never keeps a text from being saved. */
bool store_put_msgs(struct store *s, const unsigned char uid[CHAT_UID_BYTES], const struct msg_row *rows,
                    size_t n_rows, int64_t head_id, struct err *err);
bool store_rename(struct store *s, int64_t id, const char *title, struct err *err);
/* Another model reads the chat from now on: the ids the old one knew are forgotten in the same transaction.
 */
bool store_set_model(struct store *s, const unsigned char uid[CHAT_UID_BYTES],
                     const struct store_model *model, struct err *err);
/* Gone for good: rows zeroed (secure_delete), pages given back to the system (by a later deletion, where
 * another program holds the file just then). What it left elsewhere (blocks in kv.db) is to be forgotten too:
 * its uid stays listed here until somebody says that this is done. */
bool store_delete(struct store *s, int64_t id, bool *found, struct err *err);
/* Up to max uids of deleted chats whose blocks may still be there, the longest waiting first. */
bool store_forgotten(struct store *s, unsigned char (*uids)[CHAT_UID_BYTES], size_t max, size_t *n,
                     struct err *err);
bool store_forgotten_done(struct store *s, const unsigned char uid[CHAT_UID_BYTES], struct err *err);

/* The profile of a message, for kept_prof_free; NULL: none was kept. False: it is damaged, or cannot be read;
 * the message can. */
bool store_get_prof(struct store *s, int64_t msg, struct kept_prof **out, struct err *err);

/* The unsent text of a chat's editor; "" removes it. NULL uid: the draft of no chat yet. */
bool store_put_draft(struct store *s, const unsigned char uid[CHAT_UID_BYTES], const char *text,
                     size_t cursor, struct err *err);
bool store_get_draft(struct store *s, const unsigned char uid[CHAT_UID_BYTES], struct buf *text,
                     size_t *cursor, struct err *err);

#endif
