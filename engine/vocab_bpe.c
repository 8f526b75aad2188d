/* vocab_bpe.c owns the encoding of ordinary text with a BPE vocabulary: pieces of the pre-tokenizer, merged
 * by rank. What merges are bytes, so that ill-formed UTF-8 comes back unchanged; or, where tokens are spelled
 * as text (Gemma 4), characters, with U+2581 for the space and byte tokens for what has no token.
 *
 * Source of the byte alphabet: GPT-2's encoder (bytes_to_unicode): printable Latin-1 bytes stand for
 * themselves, the 68 others are U+0100 and up in order. */
#include "engine/vocab_parts.h"

#include "engine/base/utf8.h"

static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

uint32_t vocab_bpe_char_of_byte(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    uint32_t shifted = 0x100;
    for (uint32_t b = 0; b < byte; b++)
        shifted += !stands_for_itself(b);
    return shifted;
}

int vocab_bpe_byte_of_char(uint32_t code_point)
{
    if (code_point < 0x100)
        return stands_for_itself(code_point) ? (int)code_point : -1;
    uint32_t k = code_point - 0x100; /* the k-th byte that does not stand for itself */
    if (k <= 0x20)
        return (int)k;
    if (k <= 0x42)
        return (int)(0x7F + k - 0x21);
    return k == 0x43 ? 0xAD : -1;
}

/* The piece as a whole token (the vocabularies that ignore merges then), -1 if it is none. */
static bool find_whole(struct encoder *e, const char *piece, size_t n, int32_t *id, struct err *err)
{
    *id = -1;
    if (n > e->v->max_spelling)
        return true;
    if (e->v->spells_characters) {
        *id = vocab_table_find_text(e->v, piece, n);
        return true;
    }
    if (!encoder_reserve_scratch(e, 2 * n, err))
        return false;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        char c[UTF8_MAX_BYTES];
        size_t k = utf8_encode(e->v->byte_chars[(unsigned char)piece[i]], c);
        for (size_t j = 0; j < k; j++)
            e->scratch[used++] = c[j];
    }
    *id = vocab_table_find_text(e->v, e->scratch, used);
    return true;
}

/* The symbols of a piece before merging: its bytes. */
static size_t bytes_of(struct encoder *e, const char *piece, size_t n)
{
    for (size_t i = 0; i < n; i++)
        e->symbols[i] = (struct merge_symbol){(uint32_t)i, 1, e->v->byte_ids[(unsigned char)piece[i]],
                                              (int32_t)i - 1, (int32_t)i + 1};
    return n;
}

/* A symbol without a token: the tokens of its bytes, or the unknown token for those that have none. */
static void emit_bytes(struct encoder *e, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = e->v->byte_ids[(unsigned char)bytes[i]];
        if (id < 0)
            id = e->v->unknown;
        if (id >= 0)
            e->out->ids[e->out->n++] = id;
    }
}

static bool merge_piece(struct encoder *e, const char *piece, size_t n, struct err *err)
{
    struct token_list *out = e->out;
    if (!encoder_reserve_symbols(e, n, err) || !token_list_reserve(out, n, err))
        return false;
    size_t count = e->v->spells_characters ? encoder_take_characters(e, piece, n) : bytes_of(e, piece, n);
    e->symbols[count - 1].next = -1;
    encoder_merge(e, piece, count);
    for (int32_t i = 0; i >= 0; i = e->symbols[i].next) {
        const struct merge_symbol *s = &e->symbols[i];
        if (s->id >= 0)
            out->ids[out->n++] = s->id;
        else
            emit_bytes(e, piece + s->start, s->n);
    }
    return true;
}

/* Whether the whole piece is looked up before it is merged. Runs of newlines are where tokens are spelled as
 * text: they have tokens, but no merges lead there. */
static bool may_be_whole(const struct vocab *v, const char *piece)
{
    return pretok_ignores_merges(v->pretok) || (v->spells_characters && piece[0] == '\n');
}

static bool encode_piece(void *context, const char *piece, size_t n, struct err *err)
{
    struct encoder *e = context;
    int32_t whole = -1;
    if (may_be_whole(e->v, piece) && !find_whole(e, piece, n, &whole, err))
        return false;
    if (whole < 0)
        return merge_piece(e, piece, n, err);
    if (!token_list_reserve(e->out, 1, err))
        return false;
    e->out->ids[e->out->n++] = whole;
    return true;
}

/* text with U+2581 for each space, in e->scratch. */
static bool mark_spaces(struct encoder *e, const char *text, size_t n, struct err *err)
{
    size_t n_spaces = 0;
    for (size_t i = 0; i < n; i++)
        n_spaces += text[i] == ' ';
    if (!encoder_reserve_scratch(e, n + n_spaces * (SPM_SPACE_BYTES - 1), err))
        return false;
    e->n_scratch = 0;
    for (size_t i = 0; i < n; i++) {
        const char *bytes = text[i] == ' ' ? SPM_SPACE : text + i;
        for (size_t k = 0; k < (text[i] == ' ' ? SPM_SPACE_BYTES : 1); k++)
            e->scratch[e->n_scratch++] = bytes[k];
    }
    return true;
}

bool vocab_bpe_encode(struct encoder *e, const char *text, size_t n, struct err *err)
{
    if (e->v->spells_characters) {
        if (!mark_spaces(e, text, n, err))
            return false;
        text = e->scratch;
        n = e->n_scratch;
    }
    return pretok_split(e->v->pretok, &e->pretok_run, text, n, encode_piece, e, err);
}
