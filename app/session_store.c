/* session_store.c: what of a session goes to chat.db and in which order, what chat.db says back, and waiting
 * for it at the start and the end (invariants in session.h). */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "app/output.h"
#include "app/session_parts.h"
#include "app/signals.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define SLICE_MS 50      /* how late a signal is seen while waiting */
#define SAY_AFTER_MS 500 /* waiting shorter than this is not worth a line */
#define SAVE_LIMIT_MS 6000
#define TITLE_BYTES 60

/* ---- messages ---- */

static void note_saved(struct session *s, int msg)
{
    s->saved_ns = clock_now_ns();
    s->saved_tokens = s->chat->msgs[msg].n_tokens;
    s->unsaved = false;
    s->turn_unsaved = true;
}

void session_put_msg(struct session *s, int msg)
{
    if (s->db && s->stored)
        chat_db_put_one(s->db, s->chat, msg, s->fingerprint);
    note_saved(s, msg);
}

void session_put_answer(struct session *s)
{
    session_store_unkept(s);
    if (s->db && s->stored)
        chat_db_put_answer(s->db, s->chat, s->answer, s->fingerprint, session_turn_prof(s));
    note_saved(s, s->answer);
}

static struct store_model model_of(const struct session *s)
{
    struct store_model model = {.name = s->model_name, .path = s->model_path};
    memcpy(model.fingerprint, s->fingerprint, sizeof s->fingerprint);
    return model;
}

void session_store_asked(struct session *s, int first)
{
    if (!s->db)
        return;
    struct store_model model = model_of(s);
    if (s->stored && !s->unkept && first >= 0 && chat_db_flush(s->db, 0, NULL))
        s->n_saved = first;
    s->file_is_new = false;
    if (!s->stored) {
        chat_db_create(s->db, s->chat, &model);
    } else {
        if (s->other_model || s->unkept)
            chat_db_set_model(s->db, s->chat, &model);
        if (first >= 0 || s->unkept)
            chat_db_put(s->db, s->chat, s->unkept ? 0 : first, s->fingerprint);
    }
    s->stored = true;
    s->other_model = s->unkept = false;
    s->turn_unsaved = true;
}

void session_store_unkept(struct session *s)
{
    if (s->unkept)
        session_store_asked(s, 0);
}

void session_store_head(struct session *s)
{
    if (s->db && s->stored)
        chat_db_set_head(s->db, s->chat);
}

void session_store_title(struct session *s)
{
    s->title_due = s->db && s->stored && !s->chat->id;
    if (s->db && s->stored && s->chat->id)
        chat_db_rename(s->db, s->chat->id, s->chat->title);
}

char *session_make_title(const char *text, size_t n)
{
    struct buf title = {0};
    size_t i = 0;
    while (i < n && title.len < TITLE_BYTES) {
        uint32_t c;
        size_t used = utf8_decode(text + i, n - i, &c, NULL);
        if (c <= ' ' || c == 0x7F) {
            if (title.len && title.data[title.len - 1] != ' ')
                buf_putc(&title, ' ');
        } else {
            buf_append(&title, text + i, used);
        }
        i += used;
    }
    const char *space = i < n && title.len ? strrchr(title.data, ' ') : NULL;
    if (space && space > title.data + TITLE_BYTES / 2)
        buf_truncate(&title, (size_t)(space - title.data));
    while (title.len && title.data[title.len - 1] == ' ')
        buf_truncate(&title, title.len - 1);
    return buf_take(&title);
}

/* ---- drafts ---- */

void session_put_draft(struct session *s, const char *text, size_t cursor)
{
    if (!s->db)
        return;
    if (!s->stored && !*text && !s->draft_loose)
        return; /* the draft of no chat is another one, which has not been looked at */
    if (chat_db_flush(s->db, 0, NULL))
        s->turn_unsaved = false;
    chat_db_put_draft(s->db, s->stored ? s->chat : NULL, text, cursor);
    if (!s->stored)
        s->draft_loose = *text != '\0';
    char *copy = mem_strdup(text);
    mem_free(s->draft);
    s->draft = copy;
    s->draft_cursor = cursor;
}

void session_adopt_draft(struct session *s, const char *text, size_t cursor)
{
    session_put_draft(s, text, cursor);
    if (!s->stored)
        return;
    chat_db_put_draft(s->db, NULL, "", 0);
    s->draft_loose = false;
}

void session_clear_draft(struct session *s)
{
    mem_free(s->draft);
    s->draft = NULL;
    if (!s->db)
        return;
    if (s->draft_loose)
        chat_db_put_draft(s->db, NULL, "", 0);
    s->draft_loose = false;
    if (s->stored)
        chat_db_put_draft(s->db, s->chat, "", 0);
}

char *session_join(const char *first, const char *second)
{
    if (!*first || !*second)
        return mem_strdup(*first ? first : second);
    struct buf text = {0};
    buf_printf(&text, "%s\n%s", first, second);
    return buf_take(&text);
}

void session_let_go_refused(struct session *s)
{
    s->refused = -1;
    session_store_head(s);
}

/* The chat came to be with the refused message, and nothing was said in it. */
static bool is_stillborn(const struct session *s)
{
    for (int i = 0; i < s->chat->n_msgs; i++)
        if (s->chat->msgs[i].role == CHAT_ASSISTANT)
            return false;
    return s->refused >= 0 && s->newborn;
}

/* It ends: what comes next begins a new one. */
static void end_stillborn(struct session *s)
{
    if (s->db)
        chat_db_discard(s->db, s->chat);
    memcpy(s->renewed_uid, s->chat->uid, sizeof s->renewed_uid);
    chat_clear(s->chat);
    s->stored = s->newborn = s->title_due = s->unkept = s->other_model = false;
    s->answer = s->refused = s->prof_of = -1;
    session_count_ids(s);
}

void session_drop_refused(struct session *s)
{
    if (s->refused < 0)
        return;
    if (is_stillborn(s))
        end_stillborn(s);
    else
        session_store_head(s);
}

/* A stillborn chat has no place for the text. The draft of no chat has one, unless another text may be there
 * that nobody here has looked at. */
char *session_take_back(struct session *s, const char *said, const char *typed)
{
    const struct buf *refused = s->refused >= 0 ? &s->chat->msgs[s->refused].text : NULL;
    char *text = session_join(said ? said : refused ? buf_text(refused) : "", typed ? typed : "");
    bool ends = is_stillborn(s) && !s->chat->name && (!s->db || s->loose_known);
    s->stored = s->stored && !ends;
    session_put_draft(s, text, strlen(text));
    if (ends)
        end_stillborn(s);
    else
        session_let_go_refused(s);
    return text;
}

/* ---- what chat.db says ---- */

/* Another program deleted the chat that is open here, or stored another message under the id of one here. */
static void store_again(struct session *s, struct chat_db_event *event)
{
    unsigned char old_uid[CHAT_UID_BYTES];
    memcpy(old_uid, s->chat->uid, sizeof old_uid);
    memcpy(s->renewed_uid, old_uid, sizeof old_uid);
    chat_renew(s->chat);
    session_renewed(s, old_uid, !event->id_taken);
    s->stored = s->title_due = false;
    s->n_saved = 0;
    bool is_known = s->file_is_new;
    session_store_asked(s, 0);
    if (s->draft && *s->draft)
        chat_db_put_draft(s->db, s->chat, s->draft, s->draft_cursor);
    event->error = (struct err){0};
    if (is_known)
        return;
    err_set(&event->error, ERR_DATABASE,
            event->id_taken ? "What is new here cannot be stored beside what another program wrote into this "
                              "chat; it is kept, whole, as a new chat."
                            : "This chat was deleted by another program; it is kept as a new chat.");
}

/* A write for the chat that is open here was let go. Without a number the chat itself is not there yet.
 * False: people know already. */
static bool note_unkept(struct session *s, struct chat_db_event *event)
{
    struct err why = event->error;
    bool is_news = !s->unkept;
    s->unkept = true;
    s->n_saved = 0;
    if (!s->chat->id)
        s->stored = false;
    err_set(&event->error, ERR_DATABASE, "%.380s; this chat is not all saved%s", why.text,
            s->saving ? "" : " (the next turn tries again)");
    return is_news;
}

static void all_is_unsaved(struct session *s)
{
    s->n_saved = 0;
    s->turn_unsaved |= s->stored;
}

/* Another file has the name of chat.db: it gets what the old one had of this chat, which is told to be gone
 * there (CHAT_DB_GONE) unless it is a copy of the old one. */
static void store_in_new_file(struct session *s, struct err *told)
{
    struct err what = *told;
    all_is_unsaved(s);
    if (s->stored) {
        chat_db_put(s->db, s->chat, 0, s->fingerprint);
        s->file_is_new = true;
        err_set(told, ERR_DATABASE, "%.400s, with the whole of this chat", what.text);
    } else if (s->draft_loose && s->draft) {
        chat_db_put_draft(s->db, NULL, s->draft, s->draft_cursor);
    }
}

static void on_created(struct session *s, struct chat_db_event *event)
{
    s->chat->id = event->id;
    if (s->title_due)
        session_store_title(s);
    if (!event->name_taken)
        return;
    err_set(&event->error, ERR_DATABASE,
            "The name \"%.80s\" was taken by another chat; this one is stored without a name, `ferrum-chat "
            "sessions "
            "list` shows it as %" PRId64 ".",
            s->chat->name ? s->chat->name : "", event->id);
    mem_free(s->chat->name);
    s->chat->name = NULL;
}

/* A write for the chat that is open here, or for one that was, found it gone. False: there is nothing to say.
 */
static bool on_gone(struct session *s, struct chat_db_event *event, bool is_ours)
{
    if (is_ours && s->stored) {
        store_again(s, event);
        return true;
    }
    if (is_ours || !memcmp(event->uid, s->renewed_uid, sizeof event->uid))
        return false; /* of a job given before: the whole chat was, or will be, stored after it */
    err_set(
        &event->error, ERR_DATABASE,
        "The chat that was left was deleted by another program; what was written there last is not saved.");
    return true;
}

bool session_next_db_event(struct session *s, struct chat_db_event *event)
{
    for (;;) {
        session_settle_forgotten(s);
        if (!s->db || !chat_db_next_event(s->db, event))
            return false;
        if (event->type == CHAT_DB_FORGET) {
            session_forget_later(s, event->uid);
            continue;
        }
        bool is_ours = s->chat && !memcmp(event->uid, s->chat->uid, sizeof event->uid);
        if (event->error.code)
            log_line("database: %s", event->error.text);
        if (event->type == CHAT_DB_MOVED)
            store_in_new_file(s, &event->error);
        if (event->type == CHAT_DB_TROUBLE && event->file_is_gone)
            all_is_unsaved(s);
        if (event->type == CHAT_DB_CREATED && is_ours)
            on_created(s, event);
        bool is_told = true;
        if (event->type == CHAT_DB_GONE)
            is_told = on_gone(s, event, is_ours);
        else if (event->type == CHAT_DB_FAILED && is_ours)
            is_told = note_unkept(s, event);
        else if (event->type ==
                 CHAT_DB_FAILED) /* else of a job given before the chat was stored anew, whole */
            is_told = memcmp(event->uid, s->renewed_uid, sizeof event->uid) != 0;
        if (is_told)
            return true;
        chat_db_event_fini(event);
    }
}

/* ---- waiting ---- */

struct waiting {
    uint64_t since_ns;
    bool said;
};

/* After each slice. False: a signal came. */
static bool go_on_waiting(struct session *s, struct waiting *w, const char *what)
{
    int number = signals_next(s->signal_fd);
    if (number) {
        s->signal = number;
        return false;
    }
    if (!w->said && clock_now_ns() - w->since_ns >= SAY_AFTER_MS * UINT64_C(1000000)) {
        report_line("waiting for %s%s; Ctrl-C gives up", s->paths->chat_db, what);
        w->said = true;
    }
    return true;
}

static bool gave_up(const struct session *s, struct err *err)
{
    return err_set(err, ERR_CANCELLED, "%s: stopped while waiting for the database", s->paths->chat_db);
}

bool session_wait_open(struct session *s, struct err *err)
{
    struct waiting w = {.since_ns = clock_now_ns()};
    enum chat_db_state state;
    while ((state = chat_db_wait_open(s->db, SLICE_MS, err)) == CHAT_DB_OPENING)
        if (!go_on_waiting(s, &w, ", which another program holds"))
            return gave_up(s, err);
    s->db_open = state == CHAT_DB_OPEN;
    return s->db_open;
}

bool session_wait_loaded(struct session *s, struct chat_db_event *event, struct err *err)
{
    struct waiting w = {.since_ns = clock_now_ns()};
    for (;;) {
        struct pollfd fds[] = {{.fd = chat_db_event_fd(s->db), .events = POLLIN},
                               {.fd = s->signal_fd, .events = POLLIN}};
        poll(fds, 2, SLICE_MS);
        while (chat_db_next_event(s->db, event)) {
            if (event->type == CHAT_DB_LOADED)
                return true;
            if (event->type == CHAT_DB_FORGET)
                session_forget_later(s, event->uid);
            bool failed = event->type == CHAT_DB_FAILED;
            if (failed)
                *err = event->error;
            chat_db_event_fini(event);
            if (failed)
                return false;
        }
        if (!go_on_waiting(s, &w, ", which another program holds"))
            return gave_up(s, err);
    }
}

/* Events nobody has looked at. True: they gave new work. *unkept: why the chat that is open is not all saved,
 * where s->unkept says so. */
static bool drain(struct session *s, struct err *failed, struct err *unkept)
{
    struct chat_db_event event;
    bool more = false;
    while (session_next_db_event(s, &event)) {
        more |= event.type == CHAT_DB_GONE || event.type == CHAT_DB_CREATED || event.type == CHAT_DB_MOVED;
        if ((event.type == CHAT_DB_GONE || event.type == CHAT_DB_MOVED) && event.error.code)
            report_line("%s", event.error.text);
        bool is_ours = !memcmp(event.uid, s->chat->uid, sizeof event.uid);
        if (event.type == CHAT_DB_FAILED && is_ours)
            *unkept = event.error;
        else if (event.type == CHAT_DB_FAILED && !failed->code)
            *failed = event.error;
        if (event.type == CHAT_DB_CREATED && event.name_taken)
            report_line("%s", event.error.text);
        chat_db_event_fini(&event);
    }
    return more;
}

/* What people would look for in vain. */
static void name_what_is_lost(const struct session *s, const struct err *why, struct err *err)
{
    int n = 0;
    struct buf names = {0};
    for (int i = s->n_saved; i < s->chat->n_msgs && s->turn_unsaved; i++) {
        const struct buf *text = &s->chat->msgs[i].text;
        if (s->chat->msgs[i].role != CHAT_USER)
            continue;
        char *words = session_make_title(buf_text(text), text->len);
        buf_printf(&names, "%s\"%s\"", n++ ? ", " : "", words);
        mem_free(words);
    }
    /* One line each: an error has no room for them. */
    if (n > 1)
        report_line("not saved: %s", buf_text(&names));
    if (n > 1)
        err_set(err, ERR_DATABASE, "%.300s; the last %d turns are not saved", why->text, n);
    else if (n)
        err_set(err, ERR_DATABASE, "%.300s; the last turn (%.150s) is not saved", why->text,
                buf_text(&names));
    else
        err_set(err, ERR_DATABASE, "%.300s; what was typed last is not saved", why->text);
    buf_fini(&names);
}

bool session_save(struct session *s, struct err *err)
{
    struct waiting w = {.since_ns = clock_now_ns()};
    struct err why = {0}, failed = {0}, unkept = {0};
    bool saved = false, more = false, made_up_for = false;
    if (!s->db || !s->db_open) { /* nothing was written: what cannot be opened is said already */
        chat_db_close(s->db, 0, NULL);
        s->db = NULL;
        return true;
    }
    s->saving = true;
    chat_db_look(s->db);
    do {
        saved = chat_db_flush(s->db, SLICE_MS, &why);
        more = drain(s, &failed, &unkept);
        if (saved && s->unkept && !made_up_for) { /* once all has failed that was given before */
            session_store_unkept(s);
            more = made_up_for = true;
        }
        if (saved && !more)
            break;
    } while (go_on_waiting(s, &w, " to take what is not saved yet") &&
             clock_now_ns() - w.since_ns < SAVE_LIMIT_MS * UINT64_C(1000000));
    bool closed = chat_db_close(s->db, 0, &why); /* what runs now may fail too */
    s->db = NULL;
    if (s->unkept && !failed.code)
        failed = unkept;
    if (s->unkept && !failed.code)
        err_set(&failed, ERR_DATABASE, "%s: the chat is not all saved", s->paths->chat_db);
    if (failed.code && err)
        *err = failed;
    else if (!closed && err)
        name_what_is_lost(s, &why, err);
    return closed && !failed.code;
}
