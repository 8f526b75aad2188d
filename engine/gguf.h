/* gguf.h: reads GGUF v2 and v3 files, split ones too, without copying weights.
 *
 * Source of the format: the GGUF specification (ggml, docs/gguf.md); little-endian only.
 * Purpose: a bounded cursor over a read-only map. Every count, length, offset and dimension is checked before
 * it is believed; a file that lies gets one sentence (file, where, found, expected, what to do), ERR_MODEL.
 * Ownership: struct gguf owns the maps and the index; strings and tensors returned point into it and die with
 * gguf_close. Read-only after open: any thread.
 * A truncated file: tensors past its end are an error at open, so that no read of a tensor can fault later
 * unless the file is cut while it is open. */
#ifndef FERRUM_GGUF_H
#define FERRUM_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/tensor.h"

struct gguf;

/* Value types, numbered as in the file. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

/* A string of the file: not NUL-terminated, any bytes. */
struct gguf_string {
    const char *data;
    size_t n;
};

/* One metadata pair. For arrays: item_type, n_items, and data pointing at the first item. */
struct gguf_kv {
    struct gguf_string key;
    enum gguf_type type;
    enum gguf_type item_type;
    uint64_t n_items;
    const unsigned char *data; /* unaligned */
    size_t *string_offsets;    /* arrays of strings: where each begins, from data; else NULL */
};

/* path may name any part of a split model (NAME-0000i-of-0000N.gguf); all parts are opened.
 * want_tensors false: only the key/value part is read (vocabularies, `tokenize`): tensors may then be absent,
 * and of a split model only the first part, which has the keys, is opened. */
struct gguf *gguf_open(const char *path, bool want_tensors, struct err *err);
/* The same from bytes of the caller, which must outlive it; name is for messages. No split models. For the
 * tests. */
struct gguf *gguf_open_memory(const void *bytes, size_t n, const char *name, bool want_tensors,
                              struct err *err);
void gguf_close(struct gguf *g);

const char *gguf_path(const struct gguf *g);  /* of the first part; as named at open, not made printable */
const char *gguf_label(const struct gguf *g); /* the same for messages: printable, its beginning left out when
                                                 it is long */
/* Any string of the file for a message: other than printable ASCII as '?', cut with "...". Returns out. */
#define GGUF_SHOWN_BYTES 72
const char *gguf_show(const char *data, size_t n, char out[GGUF_SHOWN_BYTES]);
uint32_t gguf_version(const struct gguf *g);
int gguf_n_parts(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* all parts */

size_t gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL if absent */

/* Typed look-ups. get: absent or of another type -> false with a sentence naming the key; integers of any
 * width and sign are accepted where they fit. or: absent -> the fallback; of another type -> false. */
bool gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *err);
bool gguf_u32_or(const struct gguf *g, const char *key, uint32_t fallback, uint32_t *out, struct err *err);
bool gguf_f32_or(const struct gguf *g, const char *key, float fallback, float *out, struct err *err);
bool gguf_bool_or(const struct gguf *g, const char *key, bool fallback, bool *out, struct err *err);
bool gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out, struct err *err);
/* Array items; the index is checked, the item type must fit. Strings of an array are indexed at open: O(1).
 */
bool gguf_array_string(const struct gguf_kv *kv, uint64_t i, struct gguf_string *out);
bool gguf_array_i32(const struct gguf_kv *kv, uint64_t i, int32_t *out);
bool gguf_array_f32(const struct gguf_kv *kv, uint64_t i, float *out);

size_t gguf_n_tensors(const struct gguf *g);
const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct tensor *gguf_find_tensor(const struct gguf *g, const char *name); /* NULL if absent; hashed */

/* Asks the system to read the weights ahead (background; returns at once). */
void gguf_prefetch(const struct gguf *g);

#endif
