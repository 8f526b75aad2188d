/* detok.c owns the streaming way from ids to text (struct detok of vocab.h). */
#include "engine/vocab.h"

#include <string.h>

#include "engine/base/utf8.h"
#include "engine/vocab_parts.h"

void detok_init(struct detok *d, const struct vocab *v, bool at_start)
{
    *d = (struct detok){.vocab = v, .strip_space = at_start && v->add_space_prefix, .id = -1};
}

/* The next character of held bytes followed by rest; false if it is not complete yet (or nothing is there).
 * *used counts bytes of rest. */
static bool next_char(struct detok *d, const char *rest, size_t n, char out[UTF8_MAX_BYTES], size_t *n_out,
                      size_t *used)
{
    char window[UTF8_MAX_BYTES];
    size_t have = d->n_held;
    memcpy(window, d->held, have);
    size_t taken = n < sizeof window - have ? n : sizeof window - have;
    memcpy(window + have, rest, taken);
    have += taken;
    if (have == 0 || utf8_incomplete_tail(window, have) == have)
        return false;
    uint32_t c;
    size_t k = utf8_decode(window, have, &c, NULL);
    *n_out = utf8_encode(c, out);
    if (k < d->n_held) { /* an ill-formed part shorter than what was held */
        memmove(d->held, d->held + k, d->n_held - k);
        d->n_held = (unsigned char)(d->n_held - k);
        *used = 0;
        return true;
    }
    *used = k - d->n_held;
    d->n_held = 0;
    return true;
}

size_t detok_more(struct detok *d, char *out, size_t max)
{
    struct gguf_string s = vocab_token_bytes(d->vocab, d->id, false);
    size_t n_out = 0;
    if (d->done < s.n && d->strip_space) {
        d->done += s.data[0] == ' ';
        d->strip_space = false;
    }
    while (n_out + UTF8_MAX_BYTES <= max) {
        char c[UTF8_MAX_BYTES];
        size_t k, used;
        if (!next_char(d, s.data + d->done, s.n - d->done, c, &k, &used)) {
            memcpy(d->held + d->n_held, s.data + d->done, s.n - d->done);
            d->n_held = (unsigned char)(d->n_held + s.n - d->done);
            d->done = s.n;
            break;
        }
        memcpy(out + n_out, c, k);
        n_out += k;
        d->done += used;
    }
    return n_out;
}

size_t detok_push(struct detok *d, int32_t id, char *out, size_t max)
{
    d->id = id;
    d->done = 0;
    return detok_more(d, out, max);
}

size_t detok_flush(struct detok *d, char *out)
{
    size_t n = d->n_held ? utf8_encode(UTF8_REPLACEMENT, out) : 0;
    d->n_held = 0;
    return n;
}
