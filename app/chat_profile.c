/* chat_profile.c: what the profiler panel of the full screen is given: the turn that runs or ran last (rules
 * in chat_loop.c). While the panel is closed, or nothing runs, nothing is copied but twice a turn. */
#include "app/chat_loop_parts.h"
#include "engine/base/clock.h"

#define COPY_NS UINT64_C(250000000)

static void give(struct chat_loop *c, const struct prof *prof, const char *title)
{
    const struct ui_profile profile = {.prof = prof, .title = title};
    ui_set_profile(c->ui, &profile);
    c->live.copied_ns = clock_now_ns();
}

static void give_live(struct chat_loop *c)
{
    const struct live_profile *l = &c->live;
    give(c, l->turn, !l->turn ? "" : l->is_final ? "the last answer" : "this answer");
}

/* Without memory the panel keeps what it has. */
static bool copy_turn(struct chat_loop *c)
{
    struct live_profile *l = &c->live;
    if (!l->before || !engine_prof(c->session.engine, &l->turn, NULL))
        return false;
    prof_subtract(l->turn, l->before);
    return true;
}

static bool turn_runs(const struct session *s)
{
    return session_is_busy(s) && s->submitted;
}

void chat_loop_profile_of(struct chat_loop *c, int msg)
{
    const struct chat *chat = c->session.chat;
    if (msg < 0 || msg == c->session.answer) {
        if (turn_runs(&c->session))
            copy_turn(c);
        give_live(c);
    } else if (chat->msgs[msg].role != CHAT_ASSISTANT) {
        give(c, NULL, "a question has no profile");
    } else {
        give(c, NULL, "no profile was kept with this answer");
    }
}

void chat_loop_profile_turn(struct chat_loop *c)
{
    struct live_profile *l = &c->live;
    bool runs = turn_runs(&c->session), shows = ui_shows_live_profile(c->ui);
    if (runs && c->session.request != l->request) {
        l->request = c->session.request;
        l->is_final = !engine_prof(c->session.engine, &l->before, NULL);
    } else if (l->request && !l->is_final && (!runs || (shows && clock_now_ns() - l->copied_ns >= COPY_NS))) {
        if (copy_turn(c)) {
            l->is_final = !runs;
            if (shows)
                give_live(c);
        }
    }
}

void chat_loop_profile_fini(struct chat_loop *c)
{
    prof_free(c->live.before);
    prof_free(c->live.turn);
}
