#include "app/fingerprint.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#define SAMPLE_BYTES 256
#define MAX_SAMPLED 64 /* tensors whose bytes are looked at: each may cost a page fault on a cold disk */

static void hash_entry(XXH3_state_t *state, const struct tensor *t)
{
    XXH3_128bits_update(state, t->name, strnlen(t->name, sizeof t->name));
    uint32_t type = dtype_info(t->type)->ggml_id;
    XXH3_128bits_update(state, &type, sizeof type);
    for (int i = 0; i < t->n_dims; i++) {
        uint64_t dim = t->dims[i];
        XXH3_128bits_update(state, &dim, sizeof dim);
    }
}

static void hash_tensor(XXH3_state_t *state, const struct tensor *t, bool sample)
{
    hash_entry(state, t);
    if (!sample || !t->n_bytes)
        return;
    size_t n = t->n_bytes < SAMPLE_BYTES ? t->n_bytes : SAMPLE_BYTES;
    const char *middle = (const char *)t->data + (t->n_bytes - n) / 2;
    XXH3_128bits_update(state, middle, n);
}

static size_t item_width(enum gguf_type type)
{
    static const size_t width[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return (size_t)type < sizeof width / sizeof *width ? width[type] : 0; /* 0: strings and arrays */
}

/* A vocabulary of the same length with other words, or another rope base, is another model: numbers count in
 * full, of long lists of strings some. */
static void hash_metadata(XXH3_state_t *state, const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        XXH3_128bits_update(state, kv->key.data, kv->key.n);
        XXH3_128bits_update(state, &kv->n_items, sizeof kv->n_items);
        bool is_array = kv->type == GGUF_ARRAY;
        XXH3_128bits_update(state, kv->data,
                            item_width(is_array ? kv->item_type : kv->type) * (is_array ? kv->n_items : 1));
        uint64_t step = kv->item_type == GGUF_STRING && kv->n_items > 256 ? kv->n_items / 256 : 1;
        struct gguf_string s;
        if (is_array && kv->item_type == GGUF_STRING)
            for (uint64_t k = 0; k < kv->n_items && gguf_array_string(kv, k, &s); k += step)
                XXH3_128bits_update(state, s.data, s.n);
    }
}

static void finish(XXH3_state_t *state, unsigned char out[FINGERPRINT_BYTES])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(out, canonical.digest, sizeof canonical.digest);
    XXH3_freeState(state);
}

void fingerprint_of(const struct gguf *g, unsigned char out[FINGERPRINT_BYTES])
{
    memset(out, 0, FINGERPRINT_BYTES);
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return; /* zeros: unknown */
    XXH3_128bits_reset(state);
    uint64_t n_bytes = gguf_file_bytes(g);
    XXH3_128bits_update(state, &n_bytes, sizeof n_bytes);
    hash_metadata(state, g);
    size_t n = gguf_n_tensors(g), step = n / MAX_SAMPLED + 1;
    for (size_t i = 0; i < n; i++)
        hash_tensor(state, gguf_tensor_at(g, i), i % step == 0);
    finish(state, out);
}

/* ---- of the weights ---- */

#define N_PLACES 3 /* begin, middle, end */
#define PLACE_BYTES ((size_t)4096)

static const char *place(const struct tensor *t, int i, size_t *n)
{
    *n = t->n_bytes < PLACE_BYTES ? t->n_bytes : PLACE_BYTES;
    return (const char *)t->data + (t->n_bytes - *n) / (N_PLACES - 1) * (size_t)i;
}

static void ask_for(const struct tensor *t)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < N_PLACES; i++) {
        size_t n;
        uintptr_t at = (uintptr_t)place(t, i, &n), from = at - at % page;
        (void)madvise((void *)from, at + n - from, MADV_WILLNEED); /* advice: reading works without */
    }
}

/* Numbers, and words like the kind of rope scaling, of the keys "ARCH....": what the forward pass reads. */
static void hash_config(XXH3_state_t *state, const struct gguf *g, const char *arch)
{
    size_t n_arch = strlen(arch);
    XXH3_128bits_update(state, arch, n_arch + 1);
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (kv->key.n <= n_arch || memcmp(kv->key.data, arch, n_arch) != 0 || kv->key.data[n_arch] != '.')
            continue;
        XXH3_128bits_update(state, kv->key.data, kv->key.n);
        bool is_array = kv->type == GGUF_ARRAY;
        XXH3_128bits_update(state, kv->data,
                            item_width(is_array ? kv->item_type : kv->type) * (is_array ? kv->n_items : 1));
        char key[128];
        struct gguf_string text;
        snprintf(key, sizeof key, "%.*s", (int)kv->key.n, kv->key.data);
        if (kv->type == GGUF_STRING && gguf_get_string(g, key, &text, NULL))
            XXH3_128bits_update(state, text.data, text.n);
    }
}

bool fingerprint_of_weights(const struct gguf *g, const char *arch, unsigned char out[FINGERPRINT_BYTES])
{
    memset(out, 0, FINGERPRINT_BYTES);
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return false;
    XXH3_128bits_reset(state);
    hash_config(state, g, arch);
    size_t n = gguf_n_tensors(g), n_bytes;
    for (size_t i = 0; i < n; i++)
        ask_for(gguf_tensor_at(g, i));
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        hash_entry(state, t);
        for (int k = 0; k < N_PLACES; k++) {
            const char *bytes = place(t, k, &n_bytes);
            XXH3_128bits_update(state, bytes, n_bytes);
        }
    }
    finish(state, out);
    return true;
}
