/* gguf_write.h: builds a GGUF v3 file in memory, for tests. Wrong files are made by patching the result.
 * Needed allocations (buf.h). Little-endian hosts. Single thread. Source of the format: ggml, docs/gguf.md.
 */
#ifndef FERRUM_TEST_GGUF_WRITE_H
#define FERRUM_TEST_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/gguf.h"

/* Zero-initialised is a valid empty writer (alignment 32, which the reader assumes when no key says
 * otherwise). */
struct gguf_writer {
    struct buf kvs;
    struct buf infos;
    struct buf data;
    uint64_t n_kv;
    uint64_t n_tensors;
    size_t alignment; /* 0: 32 */
};

void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_write_f32(struct gguf_writer *w, const char *key, float value);
void gguf_write_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_write_string(struct gguf_writer *w, const char *key, const char *value);
void gguf_write_strings(struct gguf_writer *w, const char *key, const char *const *items, size_t n);
/* Items of a fixed size (bytes in all: n_bytes). */
void gguf_write_array(struct gguf_writer *w, const char *key, enum gguf_type item_type, const void *items,
                      size_t n, size_t n_bytes);
/* Any value, its bytes as they stand in the file. */
void gguf_write_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *bytes, size_t n_bytes);
/* dims innermost first. */
void gguf_write_tensor(struct gguf_writer *w, const char *name, uint32_t ggml_id, const uint64_t *dims,
                       int n_dims, const void *data, size_t n_bytes);

/* Appends the whole file to out and empties the writer. */
void gguf_write_finish(struct gguf_writer *w, struct buf *out);

/* Writes bytes to a file; false with a line on stderr. */
bool test_write_file(const char *path, const void *bytes, size_t n);

#endif
