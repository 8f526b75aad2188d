/* cmd_inspect.c: `inspect MODEL [--json]`: what is in a model file. One JSON document is made; the text form
 * prints it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/loader.h"
#include "app/sampling.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/vocab.h"
#include "ui/sanitize.h"

#define ARRAY_SHOWN 4
#define KEY_WIDTH 40 /* columns of the text form before the values */

static json_t *clean_string(const char *text, size_t n)
{
    struct buf clean = {0};
    utf8_append_clean(&clean, text, n);
    json_t *json = json_stringn(buf_text(&clean), clean.len);
    buf_fini(&clean);
    return json;
}

/* Numbers of the file are little-endian and unaligned; so is this machine. */
static json_t *scalar_json(const struct gguf_kv *kv)
{
    uint64_t bits = 0;
    static const size_t width[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4,  [GGUF_I32] = 4,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F32] = 4, [GGUF_F64] = 8, [GGUF_BOOL] = 1, [GGUF_STRING] = 0};
    memcpy(&bits, kv->data, width[kv->type]);
    float f32;
    double f64;
    switch (kv->type) {
    case GGUF_F32:
        memcpy(&f32, kv->data, sizeof f32);
        return json_real(f32);
    case GGUF_F64:
        memcpy(&f64, kv->data, sizeof f64);
        return json_real(f64);
    case GGUF_BOOL:
        return json_boolean(bits != 0);
    case GGUF_I8:
        return json_integer((int8_t)bits);
    case GGUF_I16:
        return json_integer((int16_t)bits);
    case GGUF_I32:
        return json_integer((int32_t)bits);
    default:
        return json_integer((json_int_t)bits);
    }
}

/* The first few items stand for an array: vocabularies have hundreds of thousands. */
static json_t *array_json(const struct gguf_kv *kv)
{
    json_t *first = json_array();
    struct gguf_string s;
    int32_t i32;
    float f32;
    for (uint64_t i = 0; i < kv->n_items && i < ARRAY_SHOWN; i++) {
        if (kv->item_type == GGUF_STRING && gguf_array_string(kv, i, &s))
            json_array_append_new(first, clean_string(s.data, s.n));
        else if (kv->item_type == GGUF_F32 && gguf_array_f32(kv, i, &f32))
            json_array_append_new(first, json_real(f32));
        else if (kv->item_type != GGUF_STRING && gguf_array_i32(kv, i, &i32))
            json_array_append_new(first, json_integer(i32));
    }
    return json_pack("{s:I, s:o}", "n", (json_int_t)kv->n_items, "first", first);
}

static json_t *metadata_json(const struct gguf *g)
{
    json_t *all = json_object();
    struct gguf_string s;
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)(kv->key.n < 255 ? kv->key.n : 255), kv->key.data);
        json_t *value;
        if (kv->type == GGUF_ARRAY)
            value = array_json(kv);
        else if (kv->type == GGUF_STRING)
            value = gguf_get_string(g, key, &s, NULL) ? clean_string(s.data, s.n) : json_null();
        else
            value = scalar_json(kv);
        if (json_object_set_new(all, key, value)) /* a key that is no UTF-8 */
            json_object_set_new(all, "?", json_null());
    }
    return all;
}

static json_t *tensors_json(const struct gguf *g)
{
    json_t *all = json_array();
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        json_t *dims = json_array();
        for (int d = 0; d < t->n_dims; d++)
            json_array_append_new(dims, json_integer((json_int_t)t->dims[d]));
        json_array_append_new(
            all, json_pack("{s:o, s:s, s:o, s:I}", "name", clean_string(t->name, strlen(t->name)), "type",
                           dtype_info(t->type)->name, "dims", dims, "bytes", (json_int_t)t->n_bytes));
    }
    return all;
}

static json_t *types_json(const struct gguf *g)
{
    json_int_t count[DTYPE_N] = {0}, bytes[DTYPE_N] = {0};
    json_t *all = json_array();
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        count[t->type]++;
        bytes[t->type] += (json_int_t)t->n_bytes;
    }
    for (int type = 0; type < DTYPE_N; type++)
        if (count[type])
            json_array_append_new(all, json_pack("{s:s, s:I, s:I}", "type", dtype_info(type)->name, "tensors",
                                                 count[type], "bytes", bytes[type]));
    return all;
}

/* Experts, how many of them a token uses, their width, and that of the shared one. */
static void add_experts(json_t *config, const struct model_config *c)
{
    if (!c->n_expert)
        return;
    json_object_set_new(config, "n_expert", json_integer((json_int_t)c->n_expert));
    json_object_set_new(config, "n_expert_used", json_integer((json_int_t)c->n_expert_used));
    json_object_set_new(config, "n_ff_expert", json_integer((json_int_t)c->n_ff_expert));
    if (c->n_ff_shared)
        json_object_set_new(config, "n_ff_shared", json_integer((json_int_t)c->n_ff_shared));
}

/* A file of an architecture we do not run is still worth looking at: `config` is then null, `note` says why.
 */
static json_t *config_json(const struct gguf *g, char *note, size_t n_note)
{
    struct model_config c;
    struct err err = {0};
    *note = '\0';
    if (!model_read_config(g, &c, &err)) {
        snprintf(note, n_note, "%s", err.text);
        return json_null();
    }
    json_t *config =
        json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "arch", c.arch, "name",
                  clean_string(c.name, strlen(c.name)), "quant", c.quant, "n_layer", (json_int_t)c.n_layer,
                  "n_embd", (json_int_t)c.n_embd, "n_head", (json_int_t)c.n_head, "n_kv_head",
                  (json_int_t)c.n_kv_head, "head_dim", (json_int_t)c.head_dim, "n_ff", (json_int_t)c.n_ff,
                  "n_vocab", (json_int_t)c.n_vocab, "n_ctx_train", (json_int_t)c.n_ctx_train, "weight_bytes",
                  (json_int_t)c.weight_bytes, "token_weight_bytes", (json_int_t)c.token_weight_bytes);
    add_experts(config, &c);
    return config;
}

/* ---- sampling ---- */

static const char *const source_names[] = {
    [SAMPLING_BUILT_IN] = "built in", [SAMPLING_PRESET] = "preset", [SAMPLING_FILE] = "model file"};

/* A row per setting; the preset by its name. */
static json_t *sampling_json(const struct sampling *s)
{
    json_t *rows = json_array();
    for (int i = 0; i < SAMPLING_N; i++) {
        struct sampling_row row = sampling_row(s, i);
        char from[64];
        snprintf(from, sizeof from, "%s%s%s", source_names[row.from], row.from == SAMPLING_PRESET ? " " : "",
                 row.from == SAMPLING_PRESET ? s->preset : "");
        json_t *value = row.is_int ? json_integer((json_int_t)row.value) : json_real(row.value);
        json_array_append_new(
            rows, json_pack("{s:s, s:o, s:s}", "setting", row.name, "value", value, "from", from));
    }
    return rows;
}

static json_t *ignored_json(const struct buf *lines)
{
    json_t *all = json_array();
    const char *at = buf_text(lines), *end;
    for (; (end = strchr(at, '\n')) != NULL; at = end + 1)
        json_array_append_new(all, json_pack("{s:o}", "warning", clean_string(at, (size_t)(end - at))));
    return all;
}

/* Whether answers with this template come without reasoning, with it, or either way. Without a vocabulary
 * that can be read nothing is known: either. */
static void find_modes(const struct gguf *g, bool *with, bool *without)
{
    struct vocab *v = vocab_new(g, NULL);
    struct chat_template *t = v ? chat_template_new(g, v, NULL) : NULL;
    bool can_switch = t && chat_template_can_switch(t);
    *with = !v || can_switch || (t && chat_template_reasons(t, THINK_AUTO));
    *without = !v || can_switch || !*with;
    chat_template_free(t);
    vocab_free(v);
}

/* What a chat with this file uses unless the config file, the chat or the command line say otherwise: one
 * list, or two where answers with reasoning are drawn otherwise. */
static void add_sampling(json_t *report, const struct gguf *g)
{
    struct sampling both[2];
    struct buf ignored = {0};
    bool with, without;
    sampling_of_model(both, g, &ignored);
    find_modes(g, &with, &without);
    json_t *plain = sampling_json(&both[0]), *thinking = sampling_json(&both[1]);
    if (with && without && !json_equal(plain, thinking)) {
        json_object_set(report, "sampling_thinking", thinking);
        json_object_set(report, "sampling_no_thinking", plain);
    } else {
        json_object_set(report, "sampling", without ? plain : thinking);
    }
    if (ignored.len)
        json_object_set_new(report, "sampling_warnings", ignored_json(&ignored));
    json_decref(plain);
    json_decref(thinking);
    buf_fini(&ignored);
}

static json_t *report_json(const struct gguf *g)
{
    char note[512];
    json_t *config = config_json(g, note, sizeof note);
    const char *path = gguf_path(g);
    json_t *report =
        json_pack("{s:o, s:i, s:i, s:I, s:o, s:o, s:o}", "file", clean_string(path, strlen(path)), "version",
                  (int)gguf_version(g), "parts", gguf_n_parts(g), "file_bytes",
                  (json_int_t)gguf_file_bytes(g), "config", config, "note",
                  *note ? clean_string(note, strlen(note)) : json_null(), "types", types_json(g));
    add_sampling(report, g);
    json_object_set_new(report, "metadata", metadata_json(g));
    json_object_set_new(report, "tensors", tensors_json(g));
    return report;
}

/* A value as people write it: text of one line without quotes, the rest as JSON. */
static void append_value(struct buf *out, const json_t *value)
{
    if (json_is_string(value) && !strchr(json_string_value(value), '\n')) {
        buf_append(out, json_string_value(value), json_string_length(value));
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7) | JSON_COMPACT);
    buf_puts(out, text ? text : "");
    mem_free(text);
}

/* A row of a list: its values side by side, the first in a column of its own. */
static void append_row(struct buf *out, const json_t *row)
{
    const char *key;
    json_t *item;
    bool first = true;
    json_object_foreach((json_t *)row, key, item)
    {
        size_t start = out->len;
        buf_puts(out, "  ");
        append_value(out, item);
        for (size_t width = first ? KEY_WIDTH : 12; out->len - start < width;)
            buf_putc(out, ' ');
        first = false;
    }
    while (out->len && out->data[out->len - 1] == ' ')
        buf_truncate(out, out->len - 1);
    buf_putc(out, '\n');
}

/* "key  value" lines, objects and lists one level deep; what is absent is left out. */
static void append_text(struct buf *out, const json_t *value, int depth)
{
    const char *key;
    json_t *item, *row;
    size_t i;
    json_object_foreach((json_t *)value, key, item)
    {
        if (json_is_null(item))
            continue;
        if (depth == 0 && json_is_object(item)) {
            buf_printf(out, "\n%s\n", key);
            append_text(out, item, depth + 1);
        } else if (depth == 0 && json_is_array(item)) {
            buf_printf(out, "\n%s\n", key);
            json_array_foreach(item, i, row) append_row(out, row);
        } else {
            buf_printf(out, "%*s%-*s ", depth * 2, "", KEY_WIDTH - depth * 2, key);
            append_value(out, item);
            buf_putc(out, '\n');
        }
    }
}

static void print_report(const json_t *report, bool as_json)
{
    struct buf text = {0}, clean = {0};
    char *dump = as_json ? json_dumps(report, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    if (as_json)
        buf_printf(&text, "%s\n", dump);
    else
        append_text(&text, report, 0);
    if (isatty(STDOUT_FILENO))
        sanitize_append(&clean, text.data, text.len);
    else
        buf_append(&clean, text.data, text.len);
    fwrite(clean.data, 1, clean.len, stdout);
    mem_free(dump);
    buf_fini(&text);
    buf_fini(&clean);
}

bool cmd_inspect(const struct options *o, struct err *err)
{
    const char *path;
    struct gguf *g = loader_model_word(o, &path, err) ? gguf_open(path, true, err) : NULL;
    if (!g)
        return false;
    json_t *report = report_json(g);
    print_report(report, opt_flag(o, OPT_JSON));
    json_decref(report);
    gguf_close(g);
    return true;
}
