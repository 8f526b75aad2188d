/* vocab.c owns what others ask a vocabulary: its facts, and the way from text to ids. */
#include "engine/vocab.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja.h"
#include "engine/vocab_parts.h"

bool token_list_reserve(struct token_list *list, size_t n_more, struct err *err)
{
    size_t need;
    if (!mem_add(list->n, n_more, &need))
        return err_set(err, ERR_MEMORY, "out of memory: a list of more than %zu tokens was asked for",
                       list->n);
    if (need <= list->cap)
        return true;
    size_t cap = list->cap < 64 ? 64 : list->cap;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    int32_t *ids = mem_resize(list->ids, cap, sizeof *ids, err);
    if (!ids)
        return false;
    list->ids = ids;
    list->cap = cap;
    return true;
}

void token_list_add(struct token_list *list, int32_t id)
{
    if (list->n == list->cap) {
        size_t cap = list->cap < 64 ? 64 : list->cap * 2;
        list->ids = mem_need_resize(list->ids, cap, sizeof *list->ids);
        list->cap = cap;
    }
    list->ids[list->n++] = id;
}

void token_list_fini(struct token_list *list)
{
    mem_free(list->ids);
    memset(list, 0, sizeof *list);
}

int vocab_size(const struct vocab *v)
{
    return (int)v->n_tokens;
}

const char *vocab_model_name(const struct vocab *v)
{
    return v->model_name;
}

const char *vocab_warning(const struct vocab *v)
{
    return v->warning[0] ? v->warning : NULL;
}

int32_t vocab_bos(const struct vocab *v)
{
    return v->bos;
}

int32_t vocab_eos(const struct vocab *v)
{
    return v->eos;
}

bool vocab_add_bos(const struct vocab *v)
{
    return v->add_bos;
}

/* NULL for an id the vocabulary does not have: a model's output may be wider than its vocabulary. */
static const struct vocab_token *token_of(const struct vocab *v, int32_t id)
{
    return id >= 0 && (size_t)id < v->n_tokens ? &v->tokens[id] : NULL;
}

bool vocab_is_end(const struct vocab *v, int32_t id)
{
    const struct vocab_token *t = token_of(v, id);
    return t && t->flags & TOKEN_FLAG_END;
}

enum token_type vocab_token_type(const struct vocab *v, int32_t id)
{
    const struct vocab_token *t = token_of(v, id);
    return t ? (enum token_type)t->type : TOKEN_UNUSED;
}

struct gguf_string vocab_token_spelling(const struct vocab *v, int32_t id)
{
    const struct vocab_token *t = token_of(v, id);
    return t ? (struct gguf_string){v->arena + t->spelling, t->n_spelling} : (struct gguf_string){"", 0};
}

int32_t vocab_find(const struct vocab *v, const char *spelling, size_t n)
{
    return n ? vocab_table_find(v, spelling, n) : -1;
}

struct gguf_string vocab_token_bytes(const struct vocab *v, int32_t id, bool show_special)
{
    const struct vocab_token *t = token_of(v, id);
    if (!t)
        return (struct gguf_string){"", 0};
    if (t->type == TOKEN_CONTROL || t->type == TOKEN_UNUSED)
        return show_special ? vocab_token_spelling(v, id) : (struct gguf_string){"", 0};
    return (struct gguf_string){v->arena + t->text, t->n_text};
}

static bool encode_text(struct encoder *e, const char *text, size_t n, bool add_space, struct err *err)
{
    if (n == 0)
        return true;
    return e->v->family == FAMILY_SPM ? vocab_spm_encode(e, text, n, add_space, err)
                                      : vocab_bpe_encode(e, text, n, err);
}

static bool encode_id(struct encoder *e, int32_t id, struct err *err)
{
    if (!token_list_reserve(e->out, 1, err))
        return false;
    e->out->ids[e->out->n++] = id;
    return true;
}

/* SPM puts its space in front of the text and of whatever follows a token that was spelled out. */
static bool encode_stretches(struct encoder *e, struct mark_scan *scan, size_t from, unsigned flags,
                             struct err *err)
{
    const struct vocab *v = e->v;
    bool add_space = v->add_space_prefix && !(flags & VOCAB_CONTINUES);
    size_t done = from, at;
    int32_t id;
    while (vocab_marks_scan(scan, done, &at, &id)) {
        if (!encode_text(e, scan->text + done, at - done, add_space, err) || !encode_id(e, id, err))
            return false;
        done = at + v->tokens[id].n_spelling;
        add_space = v->add_space_prefix && v->tokens[id].flags & TOKEN_FLAG_SPECIAL;
    }
    return encode_text(e, scan->text + done, scan->n - done, add_space, err);
}

static bool encode(struct mark_scan *scan, size_t from, unsigned flags, struct token_list *out,
                   struct err *err)
{
    struct encoder e = {.v = scan->v, .out = out};
    size_t n_before = out->n;
    bool ok = true;
    if (flags & VOCAB_ADD_BOS && e.v->bos >= 0)
        ok = encode_id(&e, e.v->bos, err);
    ok = ok && encode_stretches(&e, scan, from, flags, err);
    if (!ok)
        out->n = n_before;
    mem_free(e.symbols);
    mem_free(e.heap);
    mem_free(e.scratch);
    pretok_run_fini(&e.pretok_run);
    return ok;
}

bool vocab_encode(const struct vocab *v, const char *text, size_t n, unsigned flags, struct token_list *out,
                  struct err *err)
{
    struct mark_scan scan = {.v = v, .text = text, .n = n};
    scan.marks = flags & VOCAB_PARSE_SPECIAL ? &v->marks_special : &v->marks_typed;
    return encode(&scan, 0, flags, out, err);
}

bool vocab_encode_marked(const struct vocab *v, const struct jinja_text *text, size_t from, unsigned flags,
                         struct token_list *out, struct err *err)
{
    static const struct jtext_run none;
    struct mark_scan scan = {.v = v, .text = text->bytes, .n = text->n, .n_runs = text->n_runs};
    scan.runs = text->n_runs ? text->runs : &none;
    return encode(&scan, from, flags, out, err);
}
