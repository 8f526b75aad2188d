/* vocab_bpe.c owns the encoding of ordinary text with a byte-level BPE vocabulary: pieces of the
 * pre-tokenizer, their bytes merged by rank. Bytes are never characters here, so ill-formed UTF-8 comes back
 * unchanged.
 *
 * Source of the byte alphabet: GPT-2's encoder (bytes_to_unicode): printable Latin-1 bytes stand for
 * themselves, the 68 others are U+0100 and up in order. */
#include "engine/vocab_parts.h"

#include "engine/base/mem.h"
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

static bool merge_piece(struct encoder *e, const char *piece, size_t n, struct err *err)
{
    struct token_list *out = e->out;
    if (!encoder_reserve_symbols(e, n, err) || !token_list_reserve(out, n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        e->symbols[i] = (struct merge_symbol){(uint32_t)i, 1, e->v->byte_ids[(unsigned char)piece[i]],
                                              (int32_t)i - 1, (int32_t)i + 1};
    e->symbols[n - 1].next = -1;
    encoder_merge(e, piece, n);
    for (int32_t i = 0; i >= 0; i = e->symbols[i].next) {
        int32_t id = e->symbols[i].id;
        if (id < 0)
            id = e->v->unknown; /* a vocabulary without this byte */
        if (id >= 0)
            out->ids[out->n++] = id;
    }
    return true;
}

static bool encode_piece(void *context, const char *piece, size_t n, struct err *err)
{
    struct encoder *e = context;
    int32_t whole = -1;
    if (pretok_ignores_merges(e->v->pretok) && !find_whole(e, piece, n, &whole, err))
        return false;
    if (whole < 0)
        return merge_piece(e, piece, n, err);
    if (!token_list_reserve(e->out, 1, err))
        return false;
    e->out->ids[e->out->n++] = whole;
    return true;
}

bool vocab_bpe_encode(struct encoder *e, const char *text, size_t n, struct err *err)
{
    return pretok_split(e->v->pretok, &e->pretok_run, text, n, encode_piece, e, err);
}
