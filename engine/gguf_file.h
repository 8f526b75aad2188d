/* gguf_file.h: one GGUF file (a whole model or one part of a split one): its map, its keys, its tensors.
 *
 * Internal to the GGUF reader; everybody else uses gguf.h.
 * Ownership: the file owns its map (unless the bytes were lent), its keys and their string indexes. Tensors
 * are written to an array of the caller and point into the map. Every error names the file, the byte, the key
 * or tensor, what was found and what was expected; names that come from the file are made printable first.
 * Codes: ERR_MODEL, ERR_MEMORY. */
#ifndef FERRUM_GGUF_FILE_H
#define FERRUM_GGUF_FILE_H

#include "engine/gguf.h"
#include "engine/name_index.h"

#define GGUF_LABEL_BYTES 168 /* of a path in a message */

struct gguf_file {
    char *path;
    char label[GGUF_LABEL_BYTES]; /* the path, printable, its beginning left out when it is long */
    const unsigned char *bytes;
    size_t n_bytes;
    bool mapped; /* bytes are ours to unmap */
    uint32_t version;
    struct gguf_kv *kvs;
    size_t n_kv;
    struct name_index kv_index;
    uint64_t n_tensors; /* as the header says; believed after gguf_file_check_tensor_count */
    size_t tensors_at;  /* where the tensor section begins */
    size_t alignment;   /* of the tensor data */
};

/* Both leave *file closable, also when they fail. */
bool gguf_file_map(struct gguf_file *file, const char *path, struct err *err);
void gguf_file_lend(struct gguf_file *file, const void *bytes, size_t n, const char *name);
void gguf_file_close(struct gguf_file *file);

/* Header and keys. */
bool gguf_file_read_kv(struct gguf_file *file, struct err *err);
/* Whether n_tensors entries can lie in what is left of the file: before anything is allocated for them. */
bool gguf_file_check_tensor_count(const struct gguf_file *file, struct err *err);
/* Fills tensors[n_tensors]. */
bool gguf_file_read_tensors(const struct gguf_file *file, struct tensor *tensors, struct err *err);

const struct gguf_kv *gguf_file_find(const struct gguf_file *file, const char *key);

/* The one integer a key holds, of any width and sign; false when it holds something else or more than
 * int64_t. */
bool gguf_kv_int(const struct gguf_kv *kv, int64_t *out);
/* Item i of an integer type at data. */
bool gguf_item_int(enum gguf_type type, const unsigned char *data, int64_t *out);
/* Bytes of a value of fixed size; 0 for strings and arrays. */
size_t gguf_type_bytes(enum gguf_type type);

#endif
