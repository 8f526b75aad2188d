#include "engine/base/chat.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "engine/base/mem.h"

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Positive, ordered by time at millisecond grain, below 2^53 (JSON readers keep it exactly); 11 random bits
 * keep two processes apart. */
#define SALT 0x7FF

/* The id after `before`. Where the clock does not help (a burst, a clock that was set back) the step is
 * random: two programs that go on from the same message must not come to the same id. */
static int64_t new_id(int64_t before)
{
    uint16_t salt = 0;
    (void)!getrandom(&salt, sizeof salt, 0);
    int64_t id = (now_ns() / 1000000) << 11 | (salt & SALT);
    if (id > before)
        return id;
    /* No room above, in a file nobody of ours wrote: the store refuses the second of two, and all get new
     * ones (chat_renew). */
    return before > INT64_MAX - 1 - SALT ? before : before + 1 + (salt & SALT);
}

struct chat *chat_new(void)
{
    struct chat *chat = mem_need(sizeof *chat);
    (void)!getrandom(chat->uid, sizeof chat->uid, 0);
    chat->title = mem_strdup("");
    chat->head = -1;
    return chat;
}

void chat_renew(struct chat *chat)
{
    (void)!getrandom(chat->uid, sizeof chat->uid, 0);
    chat->id = 0;
    for (int i = 0; i < chat->n_msgs; i++) {
        struct chat_msg *msg = &chat->msgs[i];
        if (!msg->copied_from)
            msg->copied_from = msg->id;
        msg->id = new_id(i ? msg[-1].id : 0);
    }
}

static void msg_fini(struct chat_msg *msg)
{
    buf_fini(&msg->text);
    buf_fini(&msg->think);
    mem_free(msg->tokens);
    mem_free(msg->params);
    mem_free(msg->stats);
}

void chat_clear(struct chat *chat)
{
    for (int i = 0; i < chat->n_msgs; i++)
        msg_fini(&chat->msgs[i]);
    chat->n_msgs = 0;
    chat->head = -1;
    chat->title[0] = '\0';
    chat_renew(chat);
}

void chat_free(struct chat *chat)
{
    if (!chat)
        return;
    for (int i = 0; i < chat->n_msgs; i++)
        msg_fini(&chat->msgs[i]);
    mem_free(chat->msgs);
    mem_free(chat->name);
    mem_free(chat->title);
    mem_free(chat);
}

int chat_add(struct chat *chat, int parent, enum chat_role role, const char *text, size_t n_bytes)
{
    if (chat->n_msgs == chat->cap_msgs) {
        chat->cap_msgs = chat->cap_msgs ? chat->cap_msgs * 2 : 16;
        chat->msgs = mem_need_resize(chat->msgs, (size_t)chat->cap_msgs, sizeof *chat->msgs);
    }
    struct chat_msg *msg = &chat->msgs[chat->n_msgs];
    int64_t before = chat->n_msgs ? chat->msgs[chat->n_msgs - 1].id : 0;
    *msg = (struct chat_msg){
        .parent = parent, .role = role, .id = new_id(before), .created_ms = now_ns() / 1000000};
    if (text)
        buf_append(&msg->text, text, n_bytes);
    chat->head = chat->n_msgs++;
    return chat->head;
}

void chat_msg_add_tokens(struct chat_msg *msg, const int32_t *tokens, size_t n)
{
    if (msg->n_tokens + n > msg->cap_tokens) {
        size_t cap = msg->cap_tokens ? msg->cap_tokens : 64;
        while (cap < msg->n_tokens + n)
            cap *= 2;
        msg->tokens = mem_need_resize(msg->tokens, cap, sizeof *msg->tokens);
        msg->cap_tokens = cap;
    }
    if (n)
        memcpy(msg->tokens + msg->n_tokens, tokens, n * sizeof *tokens);
    msg->n_tokens += n;
}

int chat_path(const struct chat *chat, int head, int *out, int max)
{
    int length = 0;
    for (int i = head; i >= 0; i = chat->msgs[i].parent)
        length++;
    int at = length;
    for (int i = head; i >= 0; i = chat->msgs[i].parent)
        if (--at < max)
            out[at] = i;
    return length;
}

void chat_siblings(const struct chat *chat, int msg, int *position, int *count)
{
    *position = *count = 0;
    for (int i = 0; i < chat->n_msgs; i++) {
        if (chat->msgs[i].parent != chat->msgs[msg].parent || chat->msgs[i].role != chat->msgs[msg].role)
            continue;
        ++*count;
        if (i == msg)
            *position = *count;
    }
}

int chat_newest_leaf(const struct chat *chat, int msg)
{
    /* The newest descendant has no children: they would be newer. */
    for (int leaf = chat->n_msgs - 1; leaf > msg; leaf--) {
        int up = leaf;
        while (up > msg)
            up = chat->msgs[up].parent;
        if (up == msg)
            return leaf;
    }
    return msg;
}
