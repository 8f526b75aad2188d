/* gguf_cursor.h: reads a GGUF file from front to back without stepping over its end. Internal to the GGUF
 * reader. Every read that fails has filled err: file, byte, where, found, expected, what to do (ERR_MODEL).
 */
#ifndef FERRUM_GGUF_CURSOR_H
#define FERRUM_GGUF_CURSOR_H

#include "engine/gguf_file.h"

struct gguf_cursor {
    const struct gguf_file *file;
    size_t at;
    char where[GGUF_SHOWN_BYTES + 24]; /* "key 'general.name'" */
    struct err *err;
};

/* "FILE: byte AT, WHERE: what is wrong; download the file again". Returns false. */
__attribute__((format(printf, 2, 3))) bool gguf_damaged(const struct gguf_cursor *c, const char *format, ...);

bool gguf_take(struct gguf_cursor *c, uint64_t n, const unsigned char **bytes);
bool gguf_take_u32(struct gguf_cursor *c, uint32_t *out);
bool gguf_take_u64(struct gguf_cursor *c, uint64_t *out);
bool gguf_take_string(struct gguf_cursor *c, struct gguf_string *out);
/* A count is believed when that many of the smallest items could lie in the rest of the file. */
bool gguf_check_count(const struct gguf_cursor *c, uint64_t n, size_t min_bytes);

#endif
