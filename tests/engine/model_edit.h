/* model_edit.h: changes the bytes of a small GGUF file, so that tests get models that are wrong, or unusual,
 * in one place. Each edit asserts (cmocka) that it found what it changes. */
#ifndef FERRUM_TEST_MODEL_EDIT_H
#define FERRUM_TEST_MODEL_EDIT_H

#include "engine/base/buf.h"
#include "engine/model.h"
#include "tests/support/gguf_write.h"

/* The number behind a key that is there. */
void edit_u32(struct buf *file, const char *key, uint32_t value);
void edit_f32(struct buf *file, const char *key, float value);
/* The text of a string key, of the same length. */
void edit_string(struct buf *file, const char *key, const char *value);
/* Every occurrence of a name, by one of the same length. */
void edit_rename(struct buf *file, const char *name, const char *other);
/* A dimension of a tensor. */
void edit_dim(struct buf *file, const char *tensor, int dim, uint64_t value);
/* Its type, as GGUF numbers it; its bytes stay. */
void edit_type(struct buf *file, const char *tensor, uint32_t ggml_id);
/* One weight of an f32 tensor. */
void edit_weight(struct buf *file, const char *tensor, size_t index, float value);
/* Puts the writer's keys in front of the others and empties it. */
void edit_insert_keys(struct buf *file, struct gguf_writer *keys);

/* Adds an f32 vector behind all tensors, whose bytes (each a multiple of 32) sum to data_bytes. */
void edit_add_vector(struct buf *file, const char *name, const float *values, size_t n, uint64_t data_bytes);

/* Loads bytes as a model through a temporary file. */
struct model *edit_load(const struct buf *file, struct backend *backend, const struct load_progress *progress,
                        struct err *err);

#endif
