/* prompt_template.c owns the rendering of a conversation with the model's template, and how much of it the
 * stored ids spell already. */
#include "engine/prompt_template.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja.h"

struct chat_template {
    struct jinja_template *jinja;
    const struct vocab *vocab;
    bool is_spm; /* a space may stand in front of what follows a special token */
};

struct chat_template *chat_template_new(const struct gguf *g, const struct vocab *v, struct err *err)
{
    struct gguf_string text;
    if (!gguf_find(g, "tokenizer.chat_template") ||
        !gguf_get_string(g, "tokenizer.chat_template", &text, err))
        return NULL;
    struct chat_template *t = mem_alloc(sizeof *t, err);
    if (!t)
        return NULL;
    t->vocab = v;
    t->is_spm = strcmp(vocab_model_name(v), "llama") == 0;
    t->jinja = jinja_parse(text.data, text.n, err);
    if (t->jinja)
        return t;
    mem_free(t);
    return NULL;
}

void chat_template_free(struct chat_template *t)
{
    if (!t)
        return;
    jinja_free(t->jinja);
    mem_free(t);
}

/* --- rendering --- */

static void set_token(struct jinja_vars *vars, const char *name, const struct vocab *v, int32_t id)
{
    struct gguf_string s = vocab_token_spelling(v, id);
    if (id >= 0)
        jinja_vars_set(vars, name, jinja_string_trusted(vars, s.data, s.n));
}

static void set_messages(struct jinja_vars *vars, const struct prompt_msg *msgs, size_t n)
{
    struct jinja_value list = jinja_list(vars);
    for (size_t i = 0; i < n; i++) {
        static const char *const roles[] = {"system", "user", "assistant"};
        const char *role = roles[msgs[i].role];
        struct jinja_value msg = jinja_dict(vars);
        jinja_dict_add(vars, msg, "role", 4, jinja_string_trusted(vars, role, strlen(role)));
        jinja_dict_add(vars, msg, "content", 7, jinja_string_input(vars, msgs[i].text, msgs[i].n_bytes));
        jinja_list_add(vars, list, msg);
    }
    jinja_vars_set(vars, "messages", list);
}

static bool render(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                   struct jinja_text *out, struct err *err)
{
    struct jinja_vars *vars = jinja_vars_new(err);
    if (!vars)
        return false;
    set_messages(vars, msgs, n);
    set_token(vars, "bos_token", t->vocab, vocab_bos(t->vocab));
    set_token(vars, "eos_token", t->vocab, vocab_eos(t->vocab));
    jinja_vars_set(vars, "add_generation_prompt", jinja_bool(true));
    bool ok = jinja_render(t->jinja, vars, NULL, out, err);
    jinja_vars_free(vars);
    return ok;
}

/* --- what stored ids spell --- */

/* A place in the rendering, up to which the stored ids spell it. */
struct reader {
    const struct chat_template *t;
    const char *text;
    size_t n, at;
    bool opens; /* the next id begins a stretch of text: SPM's own space may stand in front of it */
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
        r->opens = is_special(v, ids[end - 1]);
    }
    return true;
}

/* An answer was sampled, its text made from the ids: perhaps without tokens that show nothing, or with U+FFFD
 * for ill-formed bytes. So the text is what the template was given. */
static bool read_answer(struct reader *r, const struct prompt_msg *msg)
{
    const struct vocab *v = r->t->vocab;
    int32_t last = msg->tokens[msg->n_tokens - 1];
    if (!reads(r, &r->at, msg->text, msg->n_bytes))
        return false;
    r->opens = false;
    return !vocab_is_end(v, last) || read_ids(r, &last, 1);
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
        if (msg->role == CHAT_ASSISTANT ? !read_answer(r, msg)
                                        : !read_ids(r, msg->tokens + skip, msg->n_tokens - skip))
            return false;
    }
    return true;
}

/* --- the prompt --- */

static bool add_stored(const struct prompt_msg *msgs, size_t n, struct token_list *out, size_t *starts,
                       struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        starts[i] = out->n;
        size_t n_ids = msgs[i].tokens ? msgs[i].n_tokens : 0;
        if (!n_ids)
            continue;
        if (!token_list_reserve(out, n_ids, err))
            return false;
        memcpy(out->ids + out->n, msgs[i].tokens, n_ids * sizeof *out->ids);
        out->n += n_ids;
    }
    return true;
}

static bool starts_with_bos(const struct vocab *v, const struct jinja_text *text)
{
    struct gguf_string s = vocab_token_spelling(v, vocab_bos(v));
    return vocab_bos(v) >= 0 && text->n >= s.n && memcmp(text->bytes, s.data, s.n) == 0 &&
           !text->runs[0].is_input;
}

static bool add_text(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                     const struct jinja_text *text, struct token_list *out, size_t *starts, bool *rewritten,
                     struct err *err)
{
    const struct vocab *v = t->vocab;
    struct reader r = {.t = t, .text = text->bytes, .n = text->n, .opens = true};
    bool has_stored = false;
    for (size_t i = 0; i < n; i++) {
        has_stored = has_stored || (msgs[i].tokens && msgs[i].n_tokens);
        starts[i] = out->n;
    }
    *rewritten = has_stored && !read_stored(&r, msgs, n);
    if (has_stored && !*rewritten)
        return add_stored(msgs, n, out, starts, err) &&
               vocab_encode_marked(v, text, r.at, r.opens ? VOCAB_PLAIN : VOCAB_CONTINUES, out, err);
    bool wants_bos = vocab_add_bos(v) && text->n && !starts_with_bos(v, text);
    return vocab_encode_marked(v, text, 0, wants_bos ? VOCAB_ADD_BOS : VOCAB_PLAIN, out, err);
}

bool chat_template_build(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                         struct token_list *out, size_t *starts, bool *rewritten, struct err *err)
{
    struct jinja_text text = {0};
    size_t n_before = out->n;
    *rewritten = false;
    bool ok = render(t, msgs, n, &text, err) && add_text(t, msgs, n, &text, out, starts, rewritten, err);
    if (!ok)
        out->n = n_before;
    jinja_text_fini(&text);
    return ok;
}
