#include "tests/engine/model_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER_BYTES 24 /* magic, version, number of tensors, number of keys */
#define N_KEYS_AT 16

/* A name as the file spells it: length in front. */
static char *find_name(struct buf *file, const char *name)
{
    size_t n = strlen(name);
    for (size_t at = HEADER_BYTES; at + n < file->len; at++) {
        uint64_t length;
        memcpy(&length, file->data + at - 8, sizeof length);
        if (length == n && memcmp(file->data + at, name, n) == 0)
            return file->data + at;
    }
    fail_msg("the test's file has no %s", name);
    return NULL;
}

static char *find_value(struct buf *file, const char *key)
{
    return find_name(file, key) + strlen(key) + sizeof(uint32_t);
}

void edit_u32(struct buf *file, const char *key, uint32_t value)
{
    memcpy(find_value(file, key), &value, sizeof value);
}

void edit_f32(struct buf *file, const char *key, float value)
{
    memcpy(find_value(file, key), &value, sizeof value);
}

void edit_string(struct buf *file, const char *key, const char *value)
{
    uint64_t length;
    char *at = find_value(file, key);
    memcpy(&length, at, sizeof length);
    assert_int_equal(length, strlen(value));
    memcpy(at + sizeof length, value, strlen(value));
}

void edit_rename(struct buf *file, const char *name, const char *other)
{
    assert_int_equal(strlen(name), strlen(other));
    memcpy(find_name(file, name), other, strlen(other));
}

void edit_dim(struct buf *file, const char *tensor, int dim, uint64_t value)
{
    char *dims = find_name(file, tensor) + strlen(tensor) + sizeof(uint32_t);
    memcpy(dims + (size_t)dim * sizeof value, &value, sizeof value);
}

void edit_insert_keys(struct buf *file, struct gguf_writer *keys)
{
    /* The tensor data must stay aligned: a string key fills up. */
    static const char key[] = "test.padding";
    size_t fixed = 8 + sizeof key - 1 + 4 + 8;
    size_t n_pad = 32 - (keys->kvs.len + fixed) % 32;
    char pad[33] = "                                ";
    pad[n_pad] = 0;
    gguf_write_string(keys, key, pad);
    assert_int_equal(keys->kvs.len % 32, 0);
    uint64_t n_keys;
    memcpy(&n_keys, file->data + N_KEYS_AT, sizeof n_keys);
    n_keys += keys->n_kv;
    memcpy(file->data + N_KEYS_AT, &n_keys, sizeof n_keys);
    struct buf longer = {0};
    buf_append(&longer, file->data, HEADER_BYTES);
    buf_append(&longer, keys->kvs.data, keys->kvs.len);
    buf_append(&longer, file->data + HEADER_BYTES, file->len - HEADER_BYTES);
    buf_fini(file);
    buf_fini(&keys->kvs);
    *file = longer;
    *keys = (struct gguf_writer){0};
}

struct model *edit_load(const struct buf *file, struct backend *backend, const struct load_progress *progress,
                        struct err *err)
{
    char path[] = "/tmp/ferrum-model-XXXXXX";
    close(mkstemp(path));
    assert_true(test_write_file(path, file->data, file->len));
    struct model *m = model_load(path, backend, progress, err);
    unlink(path);
    return m;
}
