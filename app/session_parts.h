/* session_parts.h: what the files of a session share; private to session*.c. Main thread only. */
#ifndef FERRUM_SESSION_PARTS_H
#define FERRUM_SESSION_PARTS_H

#include "app/session.h"

/* ---- to chat.db (session_store.c); nothing happens under --private ---- */

void session_put_msg(struct session *s, int msg);
/* A turn begins: the chat is known to chat.db with this model, then messages [first, n_msgs) are stored (-1:
 * none). */
void session_store_asked(struct session *s, int first);
void session_store_head(struct session *s);
void session_store_title(struct session *s);
/* The first words of a text, cut between words where one ends early enough. mem_free. */
char *session_make_title(const char *text, size_t n);

/* Waits until the file is open / until chat_db_load is answered. */
bool session_wait_open(struct session *s, struct err *err);
bool session_wait_loaded(struct session *s, struct chat_db_event *event, struct err *err);
/* Waits until all is on disk, then ends the database. False: something is not on disk. */
bool session_save(struct session *s, struct err *err);

/* ---- the path (session_turn.c) ---- */

/* Sets ctx_used to the ids that the path of head holds. */
void session_count_ids(struct session *s);

#endif
