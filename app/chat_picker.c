/* chat_picker.c: another chat on the full screen: a new one, one from the list, a fork; and the list itself
 * (rules in chat_loop.c). */
#include <string.h>
#include <time.h>

#include "app/chat_loop_parts.h"
#include "app/chat_rows.h"
#include "engine/base/mem.h"

void chat_loop_show(struct chat_loop *c)
{
    struct session *s = &c->session;
    const char *draft = s->draft ? s->draft : "";
    ui_set_chat(c->ui, s->chat);
    ui_reset_editor(c->ui, draft, strlen(draft), *draft ? s->draft_cursor : 0);
    c->rate = (struct rate){0};
}

void chat_loop_store_draft(struct chat_loop *c)
{
    size_t cursor = 0;
    const char *text = ui_editor_text(c->ui, &cursor);
    session_put_draft(&c->session, text ? text : "", cursor);
}

bool chat_loop_may_leave(struct chat_loop *c)
{
    bool busy = session_is_busy(&c->session);
    if (busy)
        ui_notice(c->ui, true, "An answer is being written; stop it first (Esc).");
    else if (c->awaited)
        ui_notice(c->ui, true, "The database is being read; try again in a moment.");
    return !busy && !c->awaited;
}

/* The draft of no chat yet belongs to the new one. What is typed goes along if the old chat cannot keep it.
 */
void chat_loop_new(struct chat_loop *c, bool keep_typed)
{
    struct session *s = &c->session;
    bool was_stored = s->stored;
    keep_typed |= !was_stored;
    if (!keep_typed)
        chat_loop_store_draft(c);
    session_switch(s, NULL);
    ui_set_chat(c->ui, s->chat);
    c->rate = (struct rate){0};
    if (was_stored) {
        chat_db_load(s->db, NULL);
        c->awaited = AWAIT_DRAFT;
    }
    if (keep_typed)
        chat_loop_store_draft(c);
    else
        ui_reset_editor(c->ui, "", 0, 0);
}

void chat_loop_fork(struct chat_loop *c, int msg)
{
    struct err err = {0};
    if (!chat_loop_may_leave(c))
        return;
    chat_loop_store_draft(c);
    if (!session_fork(&c->session, msg, &err)) {
        ui_notice(c->ui, true, err.text);
        return;
    }
    chat_loop_show(c);
    ui_notice(c->ui, false, "This is a new chat that begins with the other one, which stays as it was.");
}

void chat_loop_forget_list(struct chat_loop *c)
{
    mem_free(c->list_for);
    c->list_for = NULL;
}

static void expect_list(struct chat_loop *c)
{
    size_t cursor;
    const char *text = ui_editor_text(c->ui, &cursor);
    chat_loop_forget_list(c);
    c->list_for = mem_strdup(text ? text : "");
}

void chat_loop_ask_list(struct chat_loop *c)
{
    if (!c->session.db) {
        ui_notice(c->ui, false, "This chat is private: there are no saved chats here.");
        return;
    }
    expect_list(c);
    chat_db_list(c->session.db);
}

void chat_loop_pick(struct chat_loop *c, int index)
{
    if (index < 0 || (size_t)index >= c->list.n || !chat_loop_may_leave(c))
        return;
    chat_loop_store_draft(c);
    c->awaited = AWAIT_CHAT;
    const struct chat_key key = {.kind = CHAT_BY_ID, .id = c->list.items[index].id};
    chat_db_load(c->session.db, &key);
}

void chat_loop_delete(struct chat_loop *c, int index)
{
    if (index < 0 || (size_t)index >= c->list.n)
        return;
    int64_t id = c->list.items[index].id;
    if (id == c->session.chat->id) {
        if (!chat_loop_may_leave(c))
            return;
        chat_loop_new(c, true);
    }
    expect_list(c);
    chat_db_delete(c->session.db, id);
}

/* Its KV blocks go too, and the list is shown anew. */
void chat_loop_on_deleted(struct chat_loop *c, int64_t id)
{
    for (size_t i = 0; i < c->list.n; i++)
        if (c->list.items[i].id == id)
            session_forget(&c->session, c->list.items[i].uid);
    chat_db_list(c->session.db);
}

/* Whether the user still looks for it: nothing was done and nothing typed since it was asked for. */
static bool list_is_expected(struct chat_loop *c)
{
    size_t cursor;
    const char *text = ui_editor_text(c->ui, &cursor);
    bool expected = c->list_for && !strcmp(c->list_for, text ? text : "");
    chat_loop_forget_list(c);
    return expected;
}

void chat_loop_on_list(struct chat_loop *c, struct chat_db_event *event)
{
    if (!list_is_expected(c))
        return;
    chat_list_fini(&c->list);
    c->list = event->list;
    event->list = (struct chat_list){0};
    if (!c->list.n) {
        ui_notice(c->ui, false, "There are no saved chats yet.");
        return;
    }
    struct ui_list_row *rows = mem_need(c->list.n * sizeof *rows);
    for (size_t i = 0; i < c->list.n; i++)
        rows[i] =
            (struct ui_list_row){.title = *c->list.items[i].title ? c->list.items[i].title : "(no title)",
                                 .detail = chat_row_detail(&c->list.items[i], (int64_t)time(NULL) * 1000)};
    ui_show_list(c->ui, "Chats", rows, (int)c->list.n);
    for (size_t i = 0; i < c->list.n; i++)
        mem_free((char *)rows[i].detail);
    mem_free(rows);
}

static void open_loaded(struct chat_loop *c, struct chat_db_event *event)
{
    if (!event->chat || session_is_busy(&c->session)) {
        ui_notice(c->ui, true,
                  event->chat ? "An answer is being written; stop it first (Esc)." : "This chat is gone.");
        return;
    }
    chat_loop_store_draft(c); /* typed since the chat was picked */
    session_switch(&c->session, event);
    chat_loop_show(c);
}

static void take_loose_draft(struct chat_loop *c, const char *draft)
{
    size_t cursor;
    const char *typed = ui_editor_text(c->ui, &cursor);
    if (!draft || !*draft)
        return;
    char *text = session_join(draft, typed ? typed : "");
    session_adopt_draft(&c->session, text, strlen(text));
    ui_reset_editor(c->ui, text, strlen(text), strlen(text));
    mem_free(text);
}

void chat_loop_on_loaded(struct chat_loop *c, struct chat_db_event *event)
{
    int awaited = c->awaited;
    c->awaited = AWAIT_NOTHING;
    if (awaited == AWAIT_CHAT)
        open_loaded(c, event);
    else if (awaited == AWAIT_DRAFT)
        take_loose_draft(c, event->draft);
    c->session.loose_known |= awaited == AWAIT_DRAFT;
}
