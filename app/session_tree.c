/* session_tree.c: the tree of messages in use: other forms of a message, other branches, forks (invariants in
 * session.h). */
#include <stdio.h>
#include <string.h>

#include "app/session_parts.h"
#include "engine/base/mem.h"

bool session_edit(struct session *s, int msg, const char *text, size_t n, struct err *err)
{
    if (msg < 0 || msg >= s->chat->n_msgs || s->chat->msgs[msg].role != CHAT_USER)
        return err_set(err, ERR_RUNTIME, "Only a message of your own can be changed.");
    return session_say_under(s, s->chat->msgs[msg].parent, text, n, err);
}

static bool must_be_idle(const struct session *s, struct err *err)
{
    if (session_is_busy(s))
        return err_set(err, ERR_RUNTIME, "An answer is being written; stop it first (Esc).");
    return true;
}

bool session_show_branch(struct session *s, int msg, struct err *err)
{
    if (!must_be_idle(s, err))
        return false;
    if (msg < 0 || msg >= s->chat->n_msgs)
        return err_set(err, ERR_RUNTIME, "There is no such message.");
    s->chat->head = chat_newest_leaf(s->chat, msg);
    s->answer = s->refused = -1;
    session_store_head(s);
    session_count_ids(s);
    session_warm(s, true);
    return true;
}

int session_other_branch(const struct session *s, int step)
{
    const struct chat *chat = s->chat;
    for (int at = chat->head; at >= 0; at = chat->msgs[at].parent) {
        int position, count, wanted, k = 0;
        chat_siblings(chat, at, &position, &count);
        wanted = (position - 1 + step + count) % count;
        for (int i = 0; count > 1 && i < chat->n_msgs; i++)
            if (chat->msgs[i].parent == chat->msgs[at].parent && chat->msgs[i].role == chat->msgs[at].role &&
                k++ == wanted)
                return i;
    }
    return -1;
}

/* ---- forks ---- */

static char *copy_or_null(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void copy_msg(struct chat *to, const struct chat_msg *from)
{
    int i = chat_add(to, to->head, from->role, buf_text(&from->text), from->text.len);
    struct chat_msg *msg = &to->msgs[i];
    msg->status = from->status;
    msg->created_ms = from->created_ms;
    msg->copied_from = from->id;
    buf_append(&msg->think, buf_text(&from->think), from->think.len);
    chat_msg_add_tokens(msg, from->tokens, from->n_tokens);
    msg->params = copy_or_null(from->params);
    msg->stats = copy_or_null(from->stats);
}

/* The path to msg as a chat of its own. */
static struct chat *copy_path(const struct chat *chat, int msg)
{
    int n = chat_path(chat, msg, NULL, 0);
    int *path = mem_need((size_t)n * sizeof *path);
    chat_path(chat, msg, path, n);
    struct chat *copy = chat_new();
    for (int i = 0; i < n; i++)
        copy_msg(copy, &chat->msgs[path[i]]);
    mem_free(path);
    struct buf title = {0};
    buf_printf(&title, "%s (fork)", chat->title);
    mem_free(copy->title);
    copy->title = buf_take(&title);
    return copy;
}

bool session_fork(struct session *s, int msg, struct err *err)
{
    int last = msg >= 0 ? msg : s->chat->head;
    if (!must_be_idle(s, err))
        return false;
    if (!s->db)
        return err_set(err, ERR_RUNTIME,
                       "This chat is private: a fork would be the end of it. Edit a message instead.");
    if (last < 0 || last >= s->chat->n_msgs)
        return err_set(err, ERR_RUNTIME, "There is nothing to fork yet.");
    session_take_fork(s, copy_path(s->chat, last));
    return true;
}
