/* prompt.c owns how a conversation is laid out for the model: ChatML, plain text, or the text and nothing
 * else.
 *
 * What stands between two messages belongs to the later one, what makes the assistant speak to the message
 * before its answer. Stored ids are never touched, so the glue in front of a message looks at the ids before
 * it. */
#include "engine/prompt.h"

#include <string.h>

#include "engine/base/mem.h"

#define IM_START "<|im_start|>"
#define IM_END "<|im_end|>"

struct builder {
    const struct vocab *v;
    struct token_list *out;
    size_t base; /* length of out before this prompt */
    int32_t im_start, im_end;
};

enum prompt_style prompt_style_of(const struct vocab *v)
{
    bool chatml =
        vocab_find(v, IM_START, strlen(IM_START)) >= 0 && vocab_find(v, IM_END, strlen(IM_END)) >= 0;
    return chatml ? PROMPT_CHATML : PROMPT_PLAIN;
}

const char *prompt_style_name(enum prompt_style style)
{
    static const char *const names[] = {"raw text", "ChatML", "plain text", "the model's template"};
    return names[style];
}

static const char *role_name(enum chat_role role)
{
    static const char *const names[] = {"system", "user", "assistant"};
    return names[role];
}

static bool add_id(struct builder *b, int32_t id, struct err *err)
{
    if (!token_list_reserve(b->out, 1, err))
        return false;
    b->out->ids[b->out->n++] = id;
    return true;
}

/* before + text + after, tokenised in one go as a template's output would be. */
static bool add_text(struct builder *b, const char *before, const struct prompt_msg *msg, const char *after,
                     unsigned flags, struct err *err)
{
    size_t n_before = strlen(before), n_text = msg ? msg->n_bytes : 0, n_after = strlen(after), n;
    if (!mem_add(n_text, n_before + n_after, &n))
        return err_set(err, ERR_MEMORY, "out of memory: a message of %zu bytes", n_text);
    char *text = mem_alloc(n, err);
    if (!text)
        return false;
    memcpy(text, before, n_before);
    if (n_text)
        memcpy(text + n_before, msg->text, n_text);
    memcpy(text + n_before + n_text, after, n_after);
    bool ok = vocab_encode(b->v, text, n, flags, b->out, err);
    mem_free(text);
    return ok;
}

static bool is_empty(const struct builder *b)
{
    return b->out->n == b->base;
}

static int32_t last_id(const struct builder *b)
{
    return is_empty(b) ? -1 : b->out->ids[b->out->n - 1];
}

static bool add_bos(struct builder *b, struct err *err)
{
    return !is_empty(b) || !vocab_add_bos(b->v) || add_id(b, vocab_bos(b->v), err);
}

static bool add_stored(struct builder *b, const struct prompt_msg *msg, struct err *err)
{
    if (msg->n_tokens == 0)
        return true;
    if (!token_list_reserve(b->out, msg->n_tokens, err))
        return false;
    memcpy(b->out->ids + b->out->n, msg->tokens, msg->n_tokens * sizeof *msg->tokens);
    b->out->n += msg->n_tokens;
    return true;
}

/* --- ChatML --- */

static bool add_opening(struct builder *b, struct err *err)
{
    return add_id(b, b->im_start, err) && add_text(b, "assistant\n", NULL, "", VOCAB_PLAIN, err);
}

/* Whether the ids end with what makes the assistant speak; *opens is that. */
static bool is_open(struct builder *b, bool *opens, struct err *err)
{
    struct token_list opening = {0};
    struct builder aside = {b->v, &opening, 0, b->im_start, b->im_end};
    bool ok = add_opening(&aside, err);
    size_t n = b->out->n - b->base;
    *opens = ok && n >= opening.n &&
             memcmp(b->out->ids + b->out->n - opening.n, opening.ids, opening.n * sizeof *opening.ids) == 0;
    token_list_fini(&opening);
    return ok;
}

/* Ends the turn before this message: an answer that was interrupted lacks its end token, all lack the
 * newline. */
static bool close_turn(struct builder *b, struct err *err)
{
    int32_t last = last_id(b);
    if (last < 0 || (b->out->n == b->base + 1 && last == vocab_bos(b->v)))
        return true;
    if (!vocab_is_end(b->v, last) && !add_id(b, b->im_end, err))
        return false;
    return add_text(b, "\n", NULL, "", VOCAB_PLAIN, err);
}

static bool render_chatml(struct builder *b, const struct prompt_msg *msg, struct err *err)
{
    bool open = false;
    if (msg->role == CHAT_ASSISTANT) {
        if (!is_open(b, &open, err))
            return false;
        if (open)
            return add_text(b, "", msg, "", VOCAB_CONTINUES, err) && add_id(b, b->im_end, err);
    }
    char header[16];
    size_t n = strlen(role_name(msg->role));
    memcpy(header, role_name(msg->role), n);
    memcpy(header + n, "\n", 2);
    return add_bos(b, err) && close_turn(b, err) && add_id(b, b->im_start, err) &&
           add_text(b, header, msg, "", VOCAB_PLAIN, err) && add_id(b, b->im_end, err);
}

/* The assistant is to speak behind msg: its own answer follows, or nothing. */
static bool open_chatml(struct builder *b, struct err *err)
{
    bool open;
    if (!is_open(b, &open, err))
        return false;
    return open || (close_turn(b, err) && add_opening(b, err));
}

/* --- plain text --- */

static bool ends_line(const struct builder *b)
{
    struct gguf_string s = vocab_token_bytes(b->v, last_id(b), false);
    return s.n > 0 && s.data[s.n - 1] == '\n';
}

static bool render_plain(struct builder *b, const struct prompt_msg *msg, bool opens, struct err *err)
{
    bool first = is_empty(b);
    const char *before = first || ends_line(b) ? "" : "\n";
    return add_bos(b, err) &&
           add_text(b, before, msg, opens ? "\n" : "", first ? VOCAB_PLAIN : VOCAB_CONTINUES, err);
}

static bool render(struct builder *b, enum prompt_style style, const struct prompt_msg *msg, bool opens,
                   struct err *err)
{
    if (style == PROMPT_CHATML)
        return render_chatml(b, msg, err) && (!opens || open_chatml(b, err));
    if (style == PROMPT_PLAIN)
        return render_plain(b, msg, opens, err);
    bool first = is_empty(b);
    return add_bos(b, err) && add_text(b, "", msg, "", first ? VOCAB_PLAIN : VOCAB_CONTINUES, err);
}

static bool add_all(struct builder *b, enum prompt_style style, const struct prompt_msg *msgs, size_t n,
                    size_t *starts, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        bool is_last = i + 1 == n;
        bool opens = is_last || (msgs[i].role != CHAT_ASSISTANT && msgs[i + 1].role == CHAT_ASSISTANT);
        starts[i] = b->out->n;
        if (!(msgs[i].tokens ? add_stored(b, &msgs[i], err) : render(b, style, &msgs[i], opens, err)))
            return false;
        /* Stored ids of a last message end this way already, unless it was stored before another one. */
        if (style == PROMPT_CHATML && is_last && !open_chatml(b, err))
            return false;
    }
    return true;
}

bool prompt_build(const struct vocab *v, enum prompt_style style, const struct prompt_msg *msgs, size_t n,
                  struct token_list *out, size_t *starts, struct err *err)
{
    struct builder b = {v, out, out->n, vocab_find(v, IM_START, strlen(IM_START)),
                        vocab_find(v, IM_END, strlen(IM_END))};
    if (style == PROMPT_CHATML && (b.im_start < 0 || b.im_end < 0))
        return err_set(err, ERR_RUNTIME,
                       "the vocabulary has no " IM_START " and " IM_END ", which ChatML needs; use --raw");
    if (!add_all(&b, style, msgs, n, starts, err)) {
        out->n = b.base;
        return false;
    }
    return true;
}
