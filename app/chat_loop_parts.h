/* chat_loop_parts.h: what the files of the full-screen chat share; private to chat_loop.c, chat_picker.c
 * and chat_profile.c.
 * Main thread only. */
#ifndef FERRUM_CHAT_LOOP_PARTS_H
#define FERRUM_CHAT_LOOP_PARTS_H

#include "app/session.h"
#include "ui/ui.h"

/* Tokens per second over the last second. */
struct rate {
    uint64_t since_ns;
    uint32_t n;
    double shown;
};

/* What the profiler panel shows of the newest turn. */
struct live_profile {
    struct prof *before; /* the timers when the turn began; NULL: there was none yet */
    struct prof *turn;   /* since then; the panel borrows it */
    uint64_t request;    /* of the engine, 0: none */
    bool is_final;       /* turn holds all of it */
    uint64_t copied_ns;
};

struct chat_loop {
    struct session session;
    struct ui *ui;
    int signal_fd;
    struct chat_list list; /* rows of the overlay */
    char *list_for;        /* what the editor held when the list was asked for; NULL: nobody waits for it */
    enum { AWAIT_NOTHING, AWAIT_CHAT, AWAIT_DRAFT } awaited; /* the answer of chat_db_load */
    int edited; /* the message that the one sent last is another form of, -1 */
    struct ui_status status;
    struct rate rate;
    struct live_profile live;
    bool quit;
    int code;
};

/* ---- another chat on screen (chat_picker.c) ---- */

/* The chat may be left: nothing is answered, and no other one is on its way. Else people read why not. */
bool chat_loop_may_leave(struct chat_loop *c);
/* The whole chat is another one: chat, draft and status. */
void chat_loop_show(struct chat_loop *c);
void chat_loop_store_draft(struct chat_loop *c);
/* What is typed goes along if asked, or if the old chat cannot keep it. */
void chat_loop_new(struct chat_loop *c, bool keep_typed);
void chat_loop_fork(struct chat_loop *c, int msg);
/* The list overlay: asked for, not wanted any more, a row picked or to be deleted. */
void chat_loop_ask_list(struct chat_loop *c);
void chat_loop_forget_list(struct chat_loop *c);
void chat_loop_pick(struct chat_loop *c, int index);
void chat_loop_delete(struct chat_loop *c, int index);
/* What the database answers. */
void chat_loop_on_list(struct chat_loop *c, struct chat_db_event *event);
void chat_loop_on_loaded(struct chat_loop *c, struct chat_db_event *event);
void chat_loop_on_deleted(struct chat_loop *c, int64_t id);

/* The panel looks at message msg, or (-1) at the newest turn. */
void chat_loop_profile_of(struct chat_loop *c, int msg);
/* Once a round: copies the timers while somebody looks at them, at most four times a second. */
void chat_loop_profile_turn(struct chat_loop *c);
void chat_loop_profile_fini(struct chat_loop *c);

#endif
