/* chat.h: a conversation as plain data: a tree of messages and the path that is on screen.
 *
 * Purpose: the one type that ui (draws it), store (keeps it) and app (owns it) share.
 * Ownership: app owns the struct chat; messages and their buffers belong to the chat. Not thread-safe: other
 * threads get copies.
 *
 * Invariants
 *  1. A message's parent has a smaller index than the message; roots have parent -1.
 *  2. head is -1 (empty) or the index of the last message of the path that is shown.
 *  3. Messages are never removed or reordered in memory; regenerating and editing add siblings.
 *  4. tokens of a message are the exact ids it added to the model's input, template glue included: the
 *     concatenation over the path is what the model saw. History is not tokenised again, but where the
 *     model's template writes it anew: that prompt's ids are not kept. */
#ifndef FERRUM_CHAT_H
#define FERRUM_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define CHAT_UID_BYTES 16

/* The numbers are stored in chat.db: append only. */
enum chat_role { CHAT_SYSTEM = 0, CHAT_USER = 1, CHAT_ASSISTANT = 2 };
enum chat_status { CHAT_DONE = 0, CHAT_STREAMING = 1, CHAT_INTERRUPTED = 2, CHAT_ERROR = 3 };

struct chat_msg {
    int64_t id; /* unique in the database, made by chat_add: time-ordered, positive */
    int parent; /* index, -1 for a root */
    enum chat_role role;
    enum chat_status status;
    struct buf text;  /* original bytes, valid UTF-8 */
    struct buf think; /* reasoning, empty for most */
    int32_t *tokens;  /* see invariant 4 */
    size_t n_tokens;
    size_t cap_tokens;
    int64_t created_ms;  /* Unix time */
    char *params;        /* JSON of the sampling settings, or NULL */
    char *stats;         /* JSON of the turn's numbers, or NULL */
    int64_t copied_from; /* id of the message of another chat it is a copy of, or 0; not stored */
};

struct chat {
    unsigned char uid[CHAT_UID_BYTES]; /* random; names the chat between app and store */
    int64_t id;                        /* what `sessions list` shows; 0 until the store has said */
    char *name;                        /* of --session, or NULL */
    char *title;                       /* never NULL */
    struct chat_msg *msgs;
    int n_msgs;
    int cap_msgs;
    int head;
};

struct chat *chat_new(void); /* fresh uid, empty title, head -1 */
void chat_free(struct chat *chat);
/* The chat cannot be stored as what it was (it was deleted, perhaps by somebody whose other program stored it
 * again meanwhile): a fresh uid, no number, and a fresh id for each message, so that it is a new one. */
void chat_renew(struct chat *chat);

/* Nothing of it is left but its name: a fresh uid, no number, no title, no messages. */
void chat_clear(struct chat *chat);

/* Appends a message under parent (-1: a root), makes it the head, returns its index. text may be NULL. */
int chat_add(struct chat *chat, int parent, enum chat_role role, const char *text, size_t n_bytes);
void chat_msg_add_tokens(struct chat_msg *msg, const int32_t *tokens, size_t n);

/* The path root..head: writes up to max indices, returns its length (may be larger than max). */
int chat_path(const struct chat *chat, int head, int *out, int max);

/* Siblings (same parent, same role class) for "2/3": position of msg (1-based) and count. */
void chat_siblings(const struct chat *chat, int msg, int *position, int *count);

/* The newest descendant of msg, msg itself when it has none: where a branch switch lands. */
int chat_newest_leaf(const struct chat *chat, int msg);

#endif
