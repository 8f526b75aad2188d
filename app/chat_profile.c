/* chat_profile.c: what the profiler panel of the full screen is given: the turn that runs, the one that ran
 * last, or the profile that chat.db keeps with an older answer (rules in chat_loop.c). While the panel is
 * closed nothing is copied for it, and while nothing runs nothing is done. */
#include <stdio.h>
#include <string.h>

#include "app/chat_loop_parts.h"
#include "app/version.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

#define COPY_NS UINT64_C(250000000)

/* title: also the sentence that is shown instead of no profile. */
static void give(struct chat_loop *c, const struct prof *prof, const char *title)
{
    struct shown_profile *p = &c->profile;
    if (title != p->title)
        snprintf(p->title, sizeof p->title, "%s", title);
    p->now = (struct ui_profile){.prof = prof, .title = p->title};
    p->now.read_gb_s = engine_model(c->session.engine) ? engine_read_gb_s(c->session.engine) : 0;
    ui_set_profile(c->ui, &p->now);
}

static bool turn_runs(const struct session *s)
{
    return session_is_busy(s) && s->submitted;
}

/* Without memory the panel keeps what it has. */
static void give_running(struct chat_loop *c)
{
    struct shown_profile *p = &c->profile;
    p->copied_ns = clock_now_ns();
    if (!engine_turn_prof(c->session.engine, &p->running, NULL))
        return;
    bool has_begun = p->running->n_tokens[PROF_PREFILL] || p->running->n_tokens[PROF_DECODE];
    give(c, has_begun ? p->running : NULL, has_begun ? "this answer" : "the first token is still to come");
}

/* The newest answer on the path that is shown; -1: none. */
static int newest_answer(const struct session *s)
{
    int i = s->chat->head;
    while (i >= 0 && s->chat->msgs[i].role != CHAT_ASSISTANT)
        i = s->chat->msgs[i].parent;
    return i;
}

/* Once is enough, unless the weights were on the disk still. */
static void measure(struct chat_loop *c)
{
    struct engine *e = c->session.engine;
    if (engine_model(e) && engine_read_gb_s(e) <= 0)
        engine_measure_read(e);
}

static void forget_kept(struct chat_loop *c)
{
    kept_prof_free(c->profile.kept);
    c->profile.kept = NULL;
    c->profile.awaited = 0;
}

/* Its place on the path that is shown, as the hairline has it: "message 2 of 6". */
static void put_place(const struct chat *chat, int64_t id, struct buf *out)
{
    int n = chat_path(chat, chat->head, NULL, 0), place = n;
    for (int i = chat->head; i >= 0 && chat->msgs[i].id != id; i = chat->msgs[i].parent)
        place--;
    buf_printf(out, "message %d of %d", place, n);
}

/* Of the turn that this process has seen last: chat.db need not be asked. */
static void give_last_turn(struct chat_loop *c)
{
    give(c, c->session.prof, c->session.prof_of == c->profile.newest ? "the last answer" : "this answer");
}

static void ask_kept(struct chat_loop *c, int msg)
{
    struct session *s = &c->session;
    struct err err = {0};
    if (s->chat->msgs[msg].role != CHAT_ASSISTANT)
        give(c, NULL, "a message of yours has no profile: select an answer");
    else if (session_ask_profile(s, msg, &err))
        c->profile.awaited = s->chat->msgs[msg].id;
    else
        give(c, NULL, err.text);
}

void chat_loop_profile_of(struct chat_loop *c, int msg)
{
    const struct session *s = &c->session;
    bool is_newest = msg < 0 || msg >= s->chat->n_msgs;
    measure(c);
    give(c, NULL, "reading the profile of this answer");
    forget_kept(c); /* the screen has let go of it */
    c->profile.newest = newest_answer(s);
    if (is_newest)
        msg = c->profile.newest;
    if (turn_runs(s) && (is_newest || msg == s->answer))
        give_running(c);
    else if (msg < 0)
        give(c, NULL, "no profile yet: it comes with the next answer");
    else if (msg == s->prof_of)
        give_last_turn(c);
    else
        ask_kept(c, msg);
}

/* What makes it hard to compare with the answers of now. */
static const char *what_differs(const struct chat_loop *c, const struct kept_prof *kept)
{
    const struct session *s = &c->session;
    if (memcmp(kept->fingerprint, s->fingerprint, sizeof kept->fingerprint) != 0)
        return " · another model";
    if (strcmp(kept->backend, s->kernels) != 0)
        return " · another backend";
    return strcmp(kept->build, version_build()) != 0 ? " · another build" : "";
}

void chat_loop_on_profile(struct chat_loop *c, struct chat_db_event *event)
{
    struct buf title = {0};
    if (!c->profile.awaited || event->id != c->profile.awaited)
        return;
    forget_kept(c);
    if (!event->kept) {
        give(c, NULL, event->error.code ? event->error.text : "no profile was kept with this answer");
        return;
    }
    put_place(c->session.chat, event->id, &title);
    buf_puts(&title, what_differs(c, event->kept));
    give(c, event->kept->prof, buf_text(&title));
    c->profile.kept = event->kept;
    event->kept = NULL;
    buf_fini(&title);
}

void chat_loop_on_measured(struct chat_loop *c)
{
    if (c->profile.now.title)
        give(c, c->profile.now.prof, c->profile.title);
}

void chat_loop_profile_turn(struct chat_loop *c)
{
    struct shown_profile *p = &c->profile;
    bool runs = turn_runs(&c->session), ended = p->was_running && !runs;
    p->was_running = runs;
    if (!ui_shows_profile_of(c->ui, c->session.answer))
        return;
    if (ended || (!runs && newest_answer(&c->session) != p->newest)) /* a turn, or another branch */
        chat_loop_profile_of(c, c->session.answer);
    else if (runs && clock_now_ns() - p->copied_ns >= COPY_NS)
        give_running(c);
}

void chat_loop_profile_fini(struct chat_loop *c)
{
    forget_kept(c);
    prof_free(c->profile.running);
}
