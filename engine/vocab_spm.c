/* vocab_spm.c owns the encoding of ordinary text with an SPM vocabulary: spaces become U+2581, characters
 * merge by score, and what is left without a token of its own becomes byte tokens. */
#include "engine/vocab_parts.h"

#include <string.h>

static bool emit(struct encoder *e, const char *word, const struct merge_symbol *s, struct err *err)
{
    const struct vocab *v = e->v;
    struct token_list *out = e->out;
    if (!token_list_reserve(out, s->n, err))
        return false;
    if (s->id >= 0) {
        out->ids[out->n++] = s->id;
        return true;
    }
    bool has_bytes = true;
    for (uint32_t i = 0; i < s->n; i++)
        has_bytes = has_bytes && v->byte_ids[(unsigned char)word[s->start + i]] >= 0;
    if (!has_bytes) {
        if (v->unknown >= 0)
            out->ids[out->n++] = v->unknown;
        return true;
    }
    for (uint32_t i = 0; i < s->n; i++)
        out->ids[out->n++] = v->byte_ids[(unsigned char)word[s->start + i]];
    return true;
}

/* Merges what scratch holds, appends its ids and empties it. */
static bool flush_word(struct encoder *e, struct err *err)
{
    const char *word = e->scratch;
    size_t n_bytes = e->n_scratch;
    if (n_bytes == 0)
        return true;
    if (!encoder_reserve_symbols(e, n_bytes, err))
        return false;
    size_t n = encoder_take_characters(e, word, n_bytes);
    e->symbols[n - 1].next = -1;
    encoder_merge(e, word, n);
    e->n_scratch = 0;
    for (int32_t i = 0; i >= 0; i = e->symbols[i].next)
        if (!emit(e, word, &e->symbols[i], err))
            return false;
    return true;
}

static bool append(struct encoder *e, const char *bytes, size_t n, struct err *err)
{
    if (!encoder_reserve_scratch(e, e->n_scratch + n, err))
        return false;
    memcpy(e->scratch + e->n_scratch, bytes, n);
    e->n_scratch += n;
    return true;
}

bool vocab_spm_encode(struct encoder *e, const char *text, size_t n, bool add_space, struct err *err)
{
    bool after_space = add_space;
    e->n_scratch = 0;
    if (add_space && !append(e, SPM_SPACE, SPM_SPACE_BYTES, err))
        return false;
    for (size_t i = 0; i < n;) {
        bool is_mark = n - i >= SPM_SPACE_BYTES && memcmp(text + i, SPM_SPACE, SPM_SPACE_BYTES) == 0;
        bool is_space = is_mark || text[i] == ' ';
        if (is_space && !after_space && e->v->words_apart && !flush_word(e, err))
            return false;
        if (!(is_space ? append(e, SPM_SPACE, SPM_SPACE_BYTES, err) : append(e, text + i, 1, err)))
            return false;
        after_space = is_space;
        i += is_mark ? SPM_SPACE_BYTES : 1;
    }
    return flush_word(e, err);
}
