/* gguf_value.c: typed look-ups of metadata; what a key must hold, and the sentence when it does not. */
#include "engine/gguf.h"

#include <inttypes.h>
#include <string.h>

#include "engine/gguf_file.h"

static const char *type_name(enum gguf_type type)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return names[type];
}

static bool missing(const struct gguf *g, const char *key, struct err *err)
{
    char shown[GGUF_SHOWN_BYTES];
    return err_set(err, ERR_MODEL,
                   "%s: key '%s' is missing; get a complete model file, made by a current converter",
                   gguf_label(g), gguf_show(key, strlen(key), shown));
}

static bool mistyped(const struct gguf *g, const char *key, const struct gguf_kv *kv, const char *expected,
                     struct err *err)
{
    char shown[GGUF_SHOWN_BYTES];
    int64_t value;
    if (gguf_kv_int(kv, &value))
        return err_set(
            err, ERR_MODEL, "%s: key '%s': found %s %" PRId64 ", expected %s; get another file of the model",
            gguf_label(g), gguf_show(key, strlen(key), shown), type_name(kv->type), value, expected);
    return err_set(err, ERR_MODEL,
                   "%s: key '%s': found a value of type %s, expected %s; get another file of the model",
                   gguf_label(g), gguf_show(key, strlen(key), shown), type_name(kv->type), expected);
}

static bool float_at(enum gguf_type type, const unsigned char *data, float *out)
{
    double wide;
    if (type == GGUF_F32) {
        memcpy(out, data, sizeof *out);
        return true;
    }
    if (type != GGUF_F64)
        return false;
    memcpy(&wide, data, sizeof wide);
    *out = (float)wide;
    return true;
}

/* A string begins with its length; open has checked that it lies in the file. */
static struct gguf_string string_at(const unsigned char *data)
{
    uint64_t n;
    memcpy(&n, data, sizeof n);
    return (struct gguf_string){.data = (const char *)data + sizeof n, .n = (size_t)n};
}

static bool u32_of(const struct gguf *g, const char *key, const struct gguf_kv *kv, uint32_t *out,
                   struct err *err)
{
    int64_t value;
    if (!gguf_kv_int(kv, &value) || value < 0 || value > UINT32_MAX)
        return mistyped(g, key, kv, "a whole number from 0 to 4294967295", err);
    *out = (uint32_t)value;
    return true;
}

bool gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv ? u32_of(g, key, kv, out, err) : missing(g, key, err);
}

bool gguf_u32_or(const struct gguf *g, const char *key, uint32_t fallback, uint32_t *out, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    *out = fallback;
    return !kv || u32_of(g, key, kv, out, err);
}

bool gguf_f32_or(const struct gguf *g, const char *key, float fallback, float *out, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    *out = fallback;
    return !kv || float_at(kv->type, kv->data, out) || mistyped(g, key, kv, "a number of type f32", err);
}

bool gguf_bool_or(const struct gguf *g, const char *key, bool fallback, bool *out, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    *out = fallback;
    if (!kv)
        return true;
    if (kv->type != GGUF_BOOL)
        return mistyped(g, key, kv, "true or false", err);
    *out = kv->data[0] != 0;
    return true;
}

bool gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv)
        return missing(g, key, err);
    if (kv->type != GGUF_STRING)
        return mistyped(g, key, kv, "a string", err);
    *out = string_at(kv->data);
    return true;
}

bool gguf_array_string(const struct gguf_kv *kv, uint64_t i, struct gguf_string *out)
{
    if (kv->type != GGUF_ARRAY || kv->item_type != GGUF_STRING || i >= kv->n_items)
        return false;
    *out = string_at(kv->data + kv->string_offsets[i]);
    return true;
}

bool gguf_array_i32(const struct gguf_kv *kv, uint64_t i, int32_t *out)
{
    int64_t value;
    if (kv->type != GGUF_ARRAY || i >= kv->n_items ||
        !gguf_item_int(kv->item_type, kv->data + i * gguf_type_bytes(kv->item_type), &value))
        return false;
    if (value < INT32_MIN || value > INT32_MAX)
        return false;
    *out = (int32_t)value;
    return true;
}

bool gguf_array_f32(const struct gguf_kv *kv, uint64_t i, float *out)
{
    return kv->type == GGUF_ARRAY && i < kv->n_items &&
           float_at(kv->item_type, kv->data + i * gguf_type_bytes(kv->item_type), out);
}
