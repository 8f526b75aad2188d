/* vocab_load.c owns the way from a file's metadata to a vocabulary. Nothing in the file is believed: counts,
 * types and ids are checked, what is merely odd is tolerated for the reason given where it happens. */
#include "engine/vocab_parts.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define MAX_TOKENS ((uint64_t)1 << 24) /* the largest published vocabulary has 2^18 */

struct loader {
    struct vocab *v;
    const struct gguf *g;
};

static void copy_name(char *out, size_t max, struct gguf_string s)
{
    size_t n = s.n < max - 1 ? s.n : max - 1;
    memcpy(out, s.data, n);
    out[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < 0x20 || (unsigned char)out[i] >= 0x7F)
            out[i] = '?';
}

/* --- names: the family and the pre-tokenizer --- */

static bool load_pretok(struct loader *l, struct err *err)
{
    struct vocab *v = l->v;
    struct gguf_string pre = {"", 0};
    if (gguf_find(l->g, "tokenizer.ggml.pre") && !gguf_get_string(l->g, "tokenizer.ggml.pre", &pre, err))
        return false;
    if (strcmp(v->model_name, "gemma4") == 0)
        pre = (struct gguf_string){"gemma4", 6}; /* this kind of vocabulary names nothing else */
    copy_name(v->pre_name, sizeof v->pre_name, pre);
    if (v->family == FAMILY_SPM)
        return true;
    if (pre.n == 0)
        snprintf(v->warning, sizeof v->warning,
                 "the file names no pre-tokenizer (tokenizer.ggml.pre); \"%s\" is used, answers may be worse",
                 PRETOK_FALLBACK);
    else if (!pretok_is_known(pre.data, pre.n))
        snprintf(v->warning, sizeof v->warning,
                 "the pre-tokenizer \"%s\" (tokenizer.ggml.pre) is not known; \"%s\" is used instead, "
                 "answers may be "
                 "worse",
                 v->pre_name, PRETOK_FALLBACK);
    v->pretok = pretok_new(pre.data, pre.n, err);
    v->spells_characters = v->pretok && pretok_spells_characters(v->pretok);
    return v->pretok != NULL;
}

static bool load_family(struct loader *l, struct err *err)
{
    struct vocab *v = l->v;
    struct gguf_string model;
    if (!gguf_get_string(l->g, "tokenizer.ggml.model", &model, err))
        return false;
    copy_name(v->model_name, sizeof v->model_name, model);
    if (model.n == 5 && memcmp(model.data, "llama", 5) == 0)
        v->family = FAMILY_SPM;
    else if ((model.n == 4 && memcmp(model.data, "gpt2", 4) == 0) ||
             (model.n == 6 && memcmp(model.data, "gemma4", 6) == 0))
        v->family = FAMILY_BPE;
    else
        return err_set(
            err, ERR_MODEL,
            "%s: tokenizer.ggml.model is \"%s\"; known are \"llama\" (SPM), \"gpt2\" (byte-level BPE) and "
            "\"gemma4\": use a model with one of these",
            gguf_label(l->g), v->model_name);
    return load_pretok(l, err);
}

/* --- tokens --- */

/* The array of a key with one item for each token; *out NULL if it is absent. */
static bool find_array(struct loader *l, const char *key, uint64_t n_items, const struct gguf_kv **out,
                       struct err *err)
{
    const struct gguf_kv *kv = gguf_find(l->g, key);
    *out = kv;
    if (!kv)
        return true;
    if (kv->type != GGUF_ARRAY)
        return err_set(err, ERR_MODEL, "%s: %s is no array; the file is damaged, fetch it again",
                       gguf_label(l->g), key);
    if (kv->n_items != n_items)
        return err_set(
            err, ERR_MODEL,
            "%s: %s has %llu items, one for each of the %llu tokens was expected; the file is damaged, "
            "fetch it again",
            gguf_label(l->g), key, (unsigned long long)kv->n_items, (unsigned long long)n_items);
    return true;
}

static bool bad_item(struct loader *l, const char *key, size_t i, const char *expected, struct err *err)
{
    return err_set(err, ERR_MODEL, "%s: item %zu of %s is not %s; the file is damaged, fetch it again",
                   gguf_label(l->g), i, key, expected);
}

static bool copy_spellings(struct loader *l, const struct gguf_kv *kv, struct err *err)
{
    struct vocab *v = l->v;
    struct gguf_string s;
    size_t n_bytes = 0;
    for (size_t i = 0; i < v->n_tokens; i++)
        if (!gguf_array_string(kv, i, &s) || !mem_add(n_bytes, s.n, &n_bytes) ||
            !mem_add(n_bytes, s.n + 3, &n_bytes))
            return bad_item(l, "tokenizer.ggml.tokens", i, "a string", err);
    if (n_bytes > INT32_MAX)
        return err_set(
            err, ERR_MODEL,
            "%s: the spellings in tokenizer.ggml.tokens make more than 1 GiB; the file is damaged, fetch "
            "it again",
            gguf_label(l->g));
    /* Each spelling, and behind it its text, which is never longer (or 3 bytes, for the unknown token). */
    v->arena = mem_alloc(n_bytes, err);
    if (!v->arena)
        return false;
    uint32_t at = 0;
    for (size_t i = 0; i < v->n_tokens; i++) {
        gguf_array_string(kv, i, &s);
        memcpy(v->arena + at, s.data, s.n);
        v->tokens[i].spelling = at;
        v->tokens[i].n_spelling = (uint32_t)s.n;
        v->tokens[i].text = at + (uint32_t)s.n;
        at += (uint32_t)(2 * s.n + 3);
    }
    return true;
}

static bool load_tokens(struct loader *l, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(l->g, "tokenizer.ggml.tokens");
    if (!kv || kv->type != GGUF_ARRAY || kv->item_type != GGUF_STRING)
        return err_set(err, ERR_MODEL,
                       "%s: tokenizer.ggml.tokens is %s; an array of strings was expected: this file has no "
                       "vocabulary, use one that does",
                       gguf_label(l->g), kv ? "something else" : "missing");
    if (kv->n_items == 0 || kv->n_items > MAX_TOKENS)
        return err_set(
            err, ERR_MODEL,
            "%s: tokenizer.ggml.tokens has %llu tokens, 1 to %llu were expected; the file is damaged, "
            "fetch it again",
            gguf_label(l->g), (unsigned long long)kv->n_items, (unsigned long long)MAX_TOKENS);
    l->v->n_tokens = (size_t)kv->n_items;
    l->v->tokens = mem_array(l->v->n_tokens, sizeof *l->v->tokens, err);
    return l->v->tokens && copy_spellings(l, kv, err);
}

/* The byte of "<0xNN>", -1 for other spellings. */
static int spelled_byte(const char *s, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || !s[3] || !s[4])
        return -1;
    const char *high = strchr(digits, s[3]), *low = strchr(digits, s[4]);
    return high && low ? (int)((high - digits) * 16 + (low - digits)) : -1;
}

/* Files without types exist: what matters most is then told by the spelling. */
static enum token_type type_by_spelling(const struct vocab *v, const struct vocab_token *t)
{
    bool has_bytes = v->family == FAMILY_SPM || v->spells_characters;
    bool is_byte = has_bytes && spelled_byte(v->arena + t->spelling, t->n_spelling) >= 0;
    return is_byte ? TOKEN_BYTE : TOKEN_NORMAL;
}

static bool load_types(struct loader *l, struct err *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    struct vocab *v = l->v;
    const struct gguf_kv *kv;
    if (!find_array(l, key, v->n_tokens, &kv, err))
        return false;
    for (size_t i = 0; i < v->n_tokens; i++) {
        struct vocab_token *t = &v->tokens[i];
        int32_t type = type_by_spelling(v, t);
        if (kv && (!gguf_array_i32(kv, i, &type) || type < 0 || type > TOKEN_BYTE))
            return bad_item(l, key, i, "a token type from 1 to 6", err);
        /* 0 is written by some for "not said". */
        t->type = (uint8_t)(type ? type : (int32_t)TOKEN_NORMAL);
    }
    return true;
}

/* Higher scores merge earlier: turned into a number that sorts the other way round. NaN sorts somewhere. */
static uint32_t order_of_score(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 and 0 are the same score */
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

static bool load_scores(struct loader *l, struct err *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    struct vocab *v = l->v;
    const struct gguf_kv *kv;
    if (v->family != FAMILY_SPM)
        return true;
    if (!find_array(l, key, v->n_tokens, &kv, err))
        return false;
    if (!kv)
        return err_set(
            err, ERR_MODEL,
            "%s: %s is missing; an SPM vocabulary (tokenizer.ggml.model \"llama\") cannot merge without "
            "it: use a complete file",
            gguf_label(l->g), key);
    for (size_t i = 0; i < v->n_tokens; i++) {
        float score;
        if (!gguf_array_f32(kv, i, &score))
            return bad_item(l, key, i, "a number", err);
        v->tokens[i].order = order_of_score(score);
    }
    return true;
}

/* --- special ids --- */

/* Absent, or 4294967295 as some converters write for "none": the fallback. */
static bool read_id(struct loader *l, const char *key, int32_t fallback, int32_t *out, struct err *err)
{
    uint32_t id;
    *out = fallback;
    if (!gguf_u32_or(l->g, key, UINT32_MAX, &id, err))
        return false;
    if (id == UINT32_MAX)
        return true;
    if (id >= l->v->n_tokens)
        return err_set(err, ERR_MODEL,
                       "%s: %s is %u, but the vocabulary has %zu tokens; the file is damaged, fetch it again",
                       gguf_label(l->g), key, id, l->v->n_tokens);
    *out = (int32_t)id;
    return true;
}

static void mark_control(struct vocab *v, int32_t id, unsigned flags)
{
    if (id < 0)
        return;
    struct vocab_token *t = &v->tokens[id];
    /* A file that calls its own end token ordinary text would let typed text end a turn. */
    if (t->type == TOKEN_NORMAL || t->type == TOKEN_USER_DEFINED)
        t->type = TOKEN_CONTROL;
    t->flags |= (uint8_t)flags;
}

/* The token of that spelling if its type is `type`, else -1: what an SPM file that names no id means. */
static int32_t by_name(const struct vocab *v, const char *name, enum token_type type)
{
    for (size_t i = 0; i < v->n_tokens && i < 16; i++) {
        const struct vocab_token *t = &v->tokens[i];
        if (t->type == type && t->n_spelling == strlen(name) &&
            vocab_starts_with(v->arena + t->spelling, t->n_spelling, name))
            return (int32_t)i;
    }
    return -1;
}

static bool load_ids(struct loader *l, struct err *err)
{
    struct vocab *v = l->v;
    bool spm = v->family == FAMILY_SPM;
    int32_t bos = spm ? by_name(v, "<s>", TOKEN_CONTROL) : -1;
    int32_t eos = spm ? by_name(v, "</s>", TOKEN_CONTROL) : -1;
    int32_t unknown = spm ? by_name(v, "<unk>", TOKEN_UNKNOWN) : -1;
    int32_t eot, eom;
    if (!read_id(l, "tokenizer.ggml.bos_token_id", bos, &v->bos, err) ||
        !read_id(l, "tokenizer.ggml.eos_token_id", eos, &v->eos, err) ||
        !read_id(l, "tokenizer.ggml.eot_token_id", -1, &eot, err) ||
        !read_id(l, "tokenizer.ggml.eom_token_id", -1, &eom, err) ||
        !read_id(l, "tokenizer.ggml.unknown_token_id", unknown, &v->unknown, err))
        return false;
    bool adds_bos = spm || pretok_adds_bos(v->pretok);
    if (!gguf_bool_or(l->g, "tokenizer.ggml.add_bos_token", adds_bos, &v->add_bos, err) ||
        !gguf_bool_or(l->g, "tokenizer.ggml.add_space_prefix", spm, &v->add_space_prefix, err))
        return false;
    /* Early files of Gemma 4 say "no BOS", and the model talks nonsense without. */
    v->add_bos = v->add_bos || (v->spells_characters && adds_bos);
    v->add_bos = v->add_bos && v->bos >= 0;
    v->add_space_prefix = v->add_space_prefix && spm;
    mark_control(v, v->bos, 0);
    mark_control(v, v->eos, TOKEN_FLAG_END);
    mark_control(v, eot, TOKEN_FLAG_END);
    mark_control(v, eom, TOKEN_FLAG_END);
    return true;
}

/* --- the text of each token --- */

/* Spaces for their marks; returns the bytes written, at most n. */
static size_t spm_text(const char *s, size_t n, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        bool mark = n - i >= SPM_SPACE_BYTES && memcmp(s + i, SPM_SPACE, SPM_SPACE_BYTES) == 0;
        out[used++] = mark ? ' ' : s[i];
        i += mark ? SPM_SPACE_BYTES : 1;
    }
    return used;
}

/* Bytes for the characters that stand for them; others stay. */
static size_t bpe_text(const char *s, size_t n, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        bool valid;
        if (s[i] > ' ' && s[i] <= '~') { /* most of them, and each stands for itself */
            out[used++] = s[i++];
            continue;
        }
        size_t k = utf8_decode(s + i, n - i, &c, &valid);
        int byte = valid ? vocab_bpe_byte_of_char(c) : -1;
        if (byte >= 0)
            out[used++] = (char)byte;
        else
            memcpy(out + used, s + i, k), used += k;
        i += k;
    }
    return used;
}

static void write_text(struct vocab *v, struct vocab_token *t)
{
    const char *s = v->arena + t->spelling;
    char *out = v->arena + t->text;
    int byte = spelled_byte(s, t->n_spelling);
    if (t->type == TOKEN_BYTE && byte >= 0) {
        out[0] = (char)byte;
        t->n_text = 1;
    } else if (t->type == TOKEN_UNKNOWN) {
        t->n_text = (uint32_t)utf8_encode(UTF8_REPLACEMENT, out);
    } else if (v->spells_characters && (t->type == TOKEN_NORMAL || t->type == TOKEN_USER_DEFINED)) {
        t->n_text = (uint32_t)spm_text(s, t->n_spelling, out);
    } else if (t->type == TOKEN_NORMAL) {
        t->n_text = (uint32_t)(v->family == FAMILY_SPM ? spm_text(s, t->n_spelling, out)
                                                       : bpe_text(s, t->n_spelling, out));
    } else {
        memcpy(out, s, t->n_spelling);
        t->n_text = t->n_spelling;
    }
}

static void write_texts(struct vocab *v)
{
    for (size_t i = 0; i < v->n_tokens; i++)
        write_text(v, &v->tokens[i]);
}

/* --- what each family needs besides --- */

static void find_byte_tokens(struct vocab *v)
{
    for (size_t i = v->n_tokens; i-- > 0;) {
        const struct vocab_token *t = &v->tokens[i];
        int byte = t->type == TOKEN_BYTE ? spelled_byte(v->arena + t->spelling, t->n_spelling) : -1;
        if (byte >= 0)
            v->byte_ids[byte] = (int32_t)i;
    }
}

/* Whether no token that text can become has a space mark behind another character. */
static bool words_are_apart(const struct vocab *v)
{
    for (size_t id = 0; id < v->n_tokens; id++) {
        const struct vocab_token *t = &v->tokens[id];
        const char *s = v->arena + t->spelling;
        size_t n = t->n_spelling, i = 0;
        while (vocab_starts_with(s + i, n - i, SPM_SPACE))
            i += SPM_SPACE_BYTES;
        if (t->flags & TOKEN_FLAG_TEXT && memmem(s + i, n - i, SPM_SPACE, SPM_SPACE_BYTES))
            return false;
    }
    return true;
}

static void find_bpe_bytes(struct vocab *v)
{
    for (int b = 0; b < 256; b++) {
        char c[UTF8_MAX_BYTES];
        v->byte_chars[b] = (uint16_t)vocab_bpe_char_of_byte((unsigned char)b);
        v->byte_ids[b] = vocab_table_find_text(v, c, utf8_encode(v->byte_chars[b], c));
    }
}

/* Merges on their way into the table, some at a time: three spellings each, left, right and both joined. */
#define MERGES_AT_ONCE (VOCAB_FIND_MANY / 3)

struct merge_batch {
    char *joined; /* [MERGES_AT_ONCE][max_spelling] */
    struct gguf_string spellings[VOCAB_FIND_MANY];
    int32_t ids[VOCAB_FIND_MANY];
    uint32_t ranks[MERGES_AT_ONCE];
    size_t n;
};

/* "left right"; one that is longer than any token can be is passed over. */
static void take_merge(const struct vocab *v, struct merge_batch *b, struct gguf_string s, uint32_t rank)
{
    const char *gap = s.n > 1 ? memchr(s.data + 1, ' ', s.n - 1) : NULL;
    if (!gap || s.n - 1 > v->max_spelling)
        return;
    size_t n_left = (size_t)(gap - s.data), n_right = s.n - 1 - n_left;
    char *joined = b->joined + b->n * v->max_spelling;
    struct gguf_string *spellings = b->spellings + 3 * b->n;
    memcpy(joined, s.data, n_left);
    memcpy(joined + n_left, gap + 1, n_right);
    spellings[0] = (struct gguf_string){joined, n_left};
    spellings[1] = (struct gguf_string){joined + n_left, n_right};
    spellings[2] = (struct gguf_string){joined, n_left + n_right};
    b->ranks[b->n++] = rank;
}

/* Merges whose parts or result are no tokens of text are passed over: pruned vocabularies keep such lines,
 * and nothing could come of them. */
static void add_merges(struct vocab *v, struct merge_batch *b)
{
    vocab_table_find_texts(v, b->spellings, 3 * b->n, b->ids);
    for (size_t i = 0; i < b->n; i++)
        vocab_table_await_merge(v, b->ids[3 * i], b->ids[3 * i + 1]);
    for (size_t i = 0; i < b->n; i++) {
        const int32_t *id = b->ids + 3 * i;
        if (id[0] >= 0 && id[1] >= 0 && id[2] >= 0)
            vocab_table_add_merge(v, id[0], id[1], b->ranks[i], id[2]);
    }
    b->n = 0;
}

static bool load_merges(struct loader *l, struct err *err)
{
    static const char key[] = "tokenizer.ggml.merges";
    struct vocab *v = l->v;
    const struct gguf_kv *kv = gguf_find(l->g, key);
    if (!kv || kv->type != GGUF_ARRAY || kv->item_type != GGUF_STRING || kv->n_items > UINT32_MAX)
        return err_set(
            err, ERR_MODEL,
            "%s: %s is %s; an array of strings was expected for a byte-level BPE vocabulary: use a complete "
            "file",
            gguf_label(l->g), key, kv ? "something else" : "missing");
    struct merge_batch batch = {.joined = mem_array(MERGES_AT_ONCE, v->max_spelling, err)};
    bool ok = batch.joined && vocab_table_reserve_merges(v, (size_t)kv->n_items, err);
    for (uint64_t i = 0; ok && i < kv->n_items; i++) {
        struct gguf_string s;
        ok = gguf_array_string(kv, i, &s) || bad_item(l, key, (size_t)i, "a string", err);
        if (ok)
            take_merge(v, &batch, s, (uint32_t)i);
        if (batch.n == MERGES_AT_ONCE)
            add_merges(v, &batch);
    }
    if (ok)
        add_merges(v, &batch);
    mem_free(batch.joined);
    return ok;
}

static bool load_family_parts(struct loader *l, struct err *err)
{
    struct vocab *v = l->v;
    if (v->family == FAMILY_BPE) {
        if (v->spells_characters)
            find_byte_tokens(v);
        else
            find_bpe_bytes(v);
        return load_merges(l, err);
    }
    find_byte_tokens(v);
    v->words_apart = words_are_apart(v);
    return true;
}

struct vocab *vocab_new(const struct gguf *g, struct err *err)
{
    struct vocab *v = mem_alloc(sizeof *v, err);
    if (!v)
        return NULL;
    struct loader l = {v, g};
    memset(v->byte_ids, 0xFF, sizeof v->byte_ids);
    bool ok = load_family(&l, err) && load_tokens(&l, err) && load_types(&l, err) && load_scores(&l, err) &&
              load_ids(&l, err);
    if (ok) {
        vocab_classify(v);
        write_texts(v);
        ok = vocab_table_build(v, err) && vocab_marks_build(v, err) && load_family_parts(&l, err);
    }
    if (!ok) {
        vocab_free(v);
        return NULL;
    }
    return v;
}

void vocab_free(struct vocab *v)
{
    if (!v)
        return;
    pretok_free(v->pretok);
    mem_free(v->merges);
    mem_free(v->marks_typed.ids);
    mem_free(v->marks_special.ids);
    mem_free(v->by_spelling);
    mem_free(v->arena);
    mem_free(v->tokens);
    mem_free(v);
}
