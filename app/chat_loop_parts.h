/* chat_loop_parts.h: what the files of the full-screen chat share; private to chat_loop.c, chat_picker.c
 * and chat_profile.c.
 * Main thread only. */
#ifndef FERRUM_CHAT_LOOP_PARTS_H
#define FERRUM_CHAT_LOOP_PARTS_H

#include "app/session.h"
#include "store/kept_prof.h"
#include "ui/ui.h"

/* Tokens per second over the last second. */
struct rate {
    uint64_t since_ns;
    uint32_t n;
    double shown;
};

/* What the profiler panel shows; it borrows one of the profiles, or the session's. */
struct shown_profile {
    struct ui_profile now; /* as given last */
    char title[512];       /* may be a whole error */
    struct prof *running;  /* of the turn in work, as it was at copied_ns */
    uint64_t copied_ns;
    bool was_running;
    struct kept_prof *kept; /* of the message looked at */
    int newest;             /* answer of the path when it was given, -1 */
    int64_t awaited;        /* id of the message whose profile chat.db is asked for, 0: none */
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
    struct shown_profile profile;
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
void chat_loop_on_profile(struct chat_loop *c, struct chat_db_event *event);
/* The speed of reading memory is known. */
void chat_loop_on_measured(struct chat_loop *c);
/* Once a round: copies the timers while somebody looks at them, at most four times a second. */
void chat_loop_profile_turn(struct chat_loop *c);
void chat_loop_profile_fini(struct chat_loop *c);

#endif
