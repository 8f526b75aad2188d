/* session_parts.h: what the files of a session share; private to session*.c. Main thread only. */
#ifndef FERRUM_SESSION_PARTS_H
#define FERRUM_SESSION_PARTS_H

#include "app/session.h"

/* ---- to chat.db (session_store.c); nothing happens under --private ---- */

void session_put_msg(struct session *s, int msg);
/* The same for the answer of the turn that has just ended, with its profile. */
void session_put_answer(struct session *s);
/* A turn begins: the chat is known to chat.db with this model, then messages [first, n_msgs) are stored (-1:
 * none); a new chat, and one of which something was let go, whole. */
void session_store_asked(struct session *s, int first);
/* The whole chat again, where chat.db let something of it go. */
void session_store_unkept(struct session *s);
void session_store_head(struct session *s);
void session_store_title(struct session *s);
/* Nobody took the refused message back: its writer has it elsewhere (a command line). */
void session_drop_refused(struct session *s);
/* The first words of a text, cut between words where one ends early enough. mem_free. */
char *session_make_title(const char *text, size_t n);

/* Waits until the file is open / until chat_db_load is answered. */
bool session_wait_open(struct session *s, struct err *err);
bool session_wait_loaded(struct session *s, struct chat_db_event *event, struct err *err);
/* Waits until all is on disk, then ends the database. False: something is not on disk. */
bool session_save(struct session *s, struct err *err);

/* ---- the profile (session_prof.c) ---- */

/* Of the turn whose ENGINE_DONE was the event before, with s->stats: for kept_prof_free. NULL: it did no
 * work. */
struct kept_prof *session_turn_prof(const struct session *s);

/* ---- asking (session_turn.c) ---- */

/* The messages of the path to msg, and how their prompt is made. */
void session_request_from_path(const struct session *s, int msg, struct engine_request *request);
/* session_say with a parent. */
bool session_say_under(struct session *s, int parent, const char *text, size_t n, struct err *err);

/* ---- the KV cache (session_kv.c) ---- */

/* The path on screen is warmed as soon as the engine is free; is_told: with a receipt. */
void session_warm(struct session *s, bool is_told);
void session_stop_warming(struct session *s);
/* True: the event was of warming. */
bool session_take_warm_event(struct session *s, struct engine_event *event);
/* After ENGINE_DONE of a turn is taken in. */
void session_turn_ended(struct session *s);
/* The chat has a new uid. is_gone: blocks of the old one are forgotten, after all that the engine offers
 * under it. */
void session_renewed(struct session *s, const unsigned char old_uid[CHAT_UID_BYTES], bool is_gone);
/* A chat that an earlier program deleted and whose blocks are perhaps kept still. */
void session_forget_later(struct session *s, const unsigned char uid[CHAT_UID_BYTES]);
/* Tells the KV cache about those, once it is open, and chat.db which ones are done. */
void session_settle_forgotten(struct session *s);
/* ms until session_next_receipt is to be called again, -1: never. */
int session_receipt_tick(const struct session *s);

/* Leaves the current chat for a fork of it (session.c). */
void session_take_fork(struct session *s, struct chat *fork);

/* ---- the path (session_turn.c) ---- */

/* Sets ctx_used to the ids that the path of head holds. */
void session_count_ids(struct session *s);

#endif
