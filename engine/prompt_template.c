/* prompt_template.c owns the rendering of a conversation with the model's template, and how much of it the
 * stored ids spell already. */
#include "engine/prompt_template.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja.h"
#include "engine/template_render.h"

struct chat_template {
    struct template_renderer renderer;
    const struct vocab *vocab;
    bool is_spm; /* a space may stand in front of what follows a special token */
};

static struct gguf_string spelling_of(const struct vocab *v, int32_t id)
{
    return id >= 0 ? vocab_token_spelling(v, id) : (struct gguf_string){NULL, 0};
}

struct chat_template *chat_template_new(const struct gguf *g, const struct vocab *v, struct err *err)
{
    struct gguf_string text;
    if (!gguf_find(g, "tokenizer.chat_template") ||
        !gguf_get_string(g, "tokenizer.chat_template", &text, err))
        return NULL;
    struct chat_template *t = mem_alloc(sizeof *t, err);
    if (!t)
        return NULL;
    *t = (struct chat_template){.vocab = v, .is_spm = strcmp(vocab_model_name(v), "llama") == 0};
    t->renderer = (struct template_renderer){.jinja = jinja_parse(text.data, text.n, err),
                                             .bos = spelling_of(v, vocab_bos(v)),
                                             .eos = spelling_of(v, vocab_eos(v))};
    if (t->renderer.jinja && template_learn(&t->renderer, err))
        return t;
    chat_template_free(t);
    return NULL;
}

void chat_template_free(struct chat_template *t)
{
    if (!t)
        return;
    jinja_free(t->renderer.jinja);
    mem_free(t);
}

bool chat_template_can_switch(const struct chat_template *t)
{
    return t->renderer.habits.think_switch != NULL;
}

bool chat_template_reasons(const struct chat_template *t, enum think_mode think)
{
    return t->renderer.habits.reasons[think];
}

const struct reasoning_pair *chat_template_pair(const struct chat_template *t)
{
    return t->renderer.habits.pair;
}

/* --- what stored ids spell --- */

/* A place in the rendering, up to which the stored ids spell it. */
struct reader {
    const struct chat_template *t;
    const char *text;
    size_t n, at;
    size_t n_ids; /* of all messages, that spell it up to there */
    bool opens;   /* the next id begins a stretch of text: SPM's own space may stand in front of it */
    /* The last place behind a special token: what follows is tokenised without regard to what stands before.
     */
    size_t border, n_border_ids;
};

static bool is_special(const struct vocab *v, int32_t id)
{
    return vocab_token_type(v, id) == TOKEN_CONTROL || vocab_token_type(v, id) == TOKEN_USER_DEFINED;
}

static bool reads(const struct reader *r, size_t *at, const char *bytes, size_t n)
{
    if (n > r->n - *at || (n && memcmp(r->text + *at, bytes, n) != 0))
        return false;
    *at += n;
    return true;
}

/* The ids up to and with the first special one; without_space: less the space that SPM put in front. */
static bool read_stretch(const struct reader *r, const int32_t *ids, size_t n, bool without_space, size_t *at)
{
    *at = r->at;
    for (size_t i = 0; i < n; i++) {
        struct gguf_string s = vocab_token_bytes(r->t->vocab, ids[i], true);
        size_t skip = i == 0 && without_space;
        if (skip && (s.n == 0 || s.data[0] != ' '))
            return false;
        if (!reads(r, at, s.data + skip, s.n - skip))
            return false;
    }
    return true;
}

static bool read_ids(struct reader *r, const int32_t *ids, size_t n)
{
    const struct vocab *v = r->t->vocab;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && !is_special(v, ids[end - 1]);)
            end++;
        size_t at;
        if (!read_stretch(r, ids + i, end - i, false, &at) &&
            !(r->t->is_spm && r->opens && read_stretch(r, ids + i, end - i, true, &at)))
            return false;
        r->at = at;
        r->n_ids += end - i;
        r->opens = is_special(v, ids[end - 1]);
        if (r->opens) {
            r->border = r->at;
            r->n_border_ids = r->n_ids;
        }
    }
    return true;
}

/* Whether the ids show the message's text and nothing else, as they do not where there is reasoning, or a
 * marker of it. */
static bool ids_show_text(const struct vocab *v, const struct prompt_msg *msg)
{
    char piece[64];
    size_t at = 0;
    struct detok d;
    detok_init(&d, v, false);
    for (size_t i = 0; i < msg->n_tokens; i++)
        for (size_t n = detok_push(&d, msg->tokens[i], piece, sizeof piece); n;
             n = detok_more(&d, piece, sizeof piece)) {
            if (n > msg->n_bytes - at || memcmp(msg->text + at, piece, n) != 0)
                return false;
            at += n;
        }
    size_t n = detok_flush(&d, piece);
    return n == msg->n_bytes - at && (n == 0 || memcmp(msg->text + at, piece, n) == 0);
}

/* An answer was sampled, its text made from the ids: perhaps without tokens that show nothing, or with U+FFFD
 * for ill-formed bytes. So the text is what the template was given. Reasoning is what the ids say. */
static bool read_answer(struct reader *r, const struct prompt_msg *msg)
{
    const struct vocab *v = r->t->vocab;
    int32_t last = msg->tokens[msg->n_tokens - 1];
    bool ends = vocab_is_end(v, last);
    if (chat_template_pair(r->t) && !ids_show_text(v, msg))
        return read_ids(r, msg->tokens, msg->n_tokens);
    if (!reads(r, &r->at, msg->text, msg->n_bytes))
        return false;
    r->n_ids += msg->n_tokens - ends;
    r->opens = false;
    return !ends || read_ids(r, &last, 1);
}

/* A BOS that the vocabulary, not the template, has put first. */
static bool read_bos(const struct reader *r, int32_t first)
{
    struct gguf_string s = vocab_token_spelling(r->t->vocab, first);
    size_t at = r->at;
    return r->at == 0 && first == vocab_bos(r->t->vocab) && !reads(r, &at, s.data, s.n);
}

static bool read_stored(struct reader *r, const struct prompt_msg *msgs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct prompt_msg *msg = &msgs[i];
        if (!msg->tokens || !msg->n_tokens)
            continue;
        size_t skip = read_bos(r, msg->tokens[0]);
        r->n_ids += skip;
        if (msg->role == CHAT_ASSISTANT ? !read_answer(r, msg)
                                        : !read_ids(r, msg->tokens + skip, msg->n_tokens - skip))
            return false;
    }
    return true;
}

/* --- the prompt --- */

/* The first n_ids of the stored ids. */
static bool add_stored(const struct prompt_msg *msgs, size_t n, size_t n_ids, struct token_list *out,
                       size_t *starts, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t n_here = msgs[i].tokens ? msgs[i].n_tokens : 0;
        n_here = n_here < n_ids ? n_here : n_ids;
        starts[i] = out->n;
        if (!n_here)
            continue;
        if (!token_list_reserve(out, n_here, err))
            return false;
        memcpy(out->ids + out->n, msgs[i].tokens, n_here * sizeof *out->ids);
        out->n += n_here;
        n_ids -= n_here;
    }
    return true;
}

static bool starts_with_bos(const struct vocab *v, const struct jinja_text *text)
{
    struct gguf_string s = spelling_of(v, vocab_bos(v));
    return vocab_bos(v) >= 0 && text->n >= s.n && memcmp(text->bytes, s.data, s.n) == 0 &&
           !text->runs[0].is_input;
}

/* What the stored ids do not spell; *n_ids of them do. */
static bool add_rest(const struct chat_template *t, const struct jinja_text *text, size_t from,
                     bool continues, size_t n_ids, struct token_list *out, struct err *err)
{
    bool wants_bos = n_ids == 0 && vocab_add_bos(t->vocab) && text->n && !starts_with_bos(t->vocab, text);
    unsigned flags = continues ? VOCAB_CONTINUES : wants_bos ? VOCAB_ADD_BOS : VOCAB_PLAIN;
    return vocab_encode_marked(t->vocab, text, from, flags, out, err);
}

static bool add_text(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                     const struct jinja_text *text, struct token_list *out, size_t *starts,
                     struct template_result *result, struct err *err)
{
    struct reader r = {.t = t, .text = text->bytes, .n = text->n, .opens = true};
    size_t n_before = out->n;
    result->is_rewritten = !read_stored(&r, msgs, n);
    if (!result->is_rewritten)
        return add_stored(msgs, n, r.n_ids, out, starts, err) &&
               add_rest(t, text, r.at, !r.opens, r.n_ids, out, err);
    if (!add_stored(msgs, n, r.n_border_ids, out, starts, err))
        return false;
    for (size_t i = 0; i < n; i++)
        starts[i] = n_before;
    return add_rest(t, text, r.border, false, r.n_border_ids, out, err);
}

bool chat_template_build(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                         enum think_mode think, struct token_list *out, size_t *starts,
                         struct template_result *result, struct err *err)
{
    struct jinja_text text = {0};
    size_t n_before = out->n;
    *result = (struct template_result){0};
    bool ok = template_render(&t->renderer, msgs, n, think, &text, err) &&
              add_text(t, msgs, n, &text, out, starts, result, err);
    if (ok)
        result->is_open = reasoning_is_open(chat_template_pair(t), &text);
    else
        out->n = n_before;
    jinja_text_fini(&text);
    return ok;
}
