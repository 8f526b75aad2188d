/* Settings of the sampler: defaults, what a model file recommends, and their ranges. */
#include "engine/sampler.h"

#include <stdio.h>
#include <string.h>

struct sampler_params sampler_defaults(void)
{
    return (struct sampler_params){
        .temp = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical = 1.0f,
        .repeat_penalty = 1.0f,
        .repeat_last_n = 64,
    };
}

struct range {
    const char *name;
    const char *file_key; /* what a model file calls it, or NULL */
    size_t offset;        /* of a float in struct sampler_params */
    float low, high;
};

static const struct range ranges[] = {
    {"temp", "general.sampling.temp", offsetof(struct sampler_params, temp), 0.0f, 100.0f},
    {"top-p", "general.sampling.top_p", offsetof(struct sampler_params, top_p), 0.0f, 1.0f},
    {"min-p", "general.sampling.min_p", offsetof(struct sampler_params, min_p), 0.0f, 1.0f},
    {"typical", NULL, offsetof(struct sampler_params, typical), 0.0f, 1.0f},
    {"repeat-penalty", "general.sampling.penalty_repeat", offsetof(struct sampler_params, repeat_penalty),
     0.01f, 100.0f},
    {"frequency-penalty", NULL, offsetof(struct sampler_params, frequency_penalty), -100.0f, 100.0f},
    {"presence-penalty", NULL, offsetof(struct sampler_params, presence_penalty), -100.0f, 100.0f},
};

bool sampler_check(const struct sampler_params *params, struct err *err)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const struct range *r = &ranges[i];
        float value;
        memcpy(&value, (const char *)params + r->offset, sizeof value);
        if (!(value >= r->low && value <= r->high))
            return err_set(err, ERR_USAGE, "%s is %g; give a number from %g to %g", r->name, (double)value,
                           (double)r->low, (double)r->high);
    }
    if (params->top_k < 0)
        return err_set(err, ERR_USAGE, "top-k is %d; give 0 (off) or a positive number", params->top_k);
    if (params->repeat_last_n < -1)
        return err_set(err, ERR_USAGE,
                       "repeat-last-n is %d; give -1 (whole context), 0 (off) or a positive number",
                       params->repeat_last_n);
    return true;
}

/* The file's integer of any type that holds a 32-bit value, -1 included. */
static bool read_i32(const struct gguf *g, const struct gguf_kv *kv, const char *key, int32_t *out)
{
    if (kv->type == GGUF_I32) {
        memcpy(out, kv->data, sizeof *out);
        return true;
    }
    uint32_t value;
    if (!gguf_get_u32(g, key, &value, NULL) || value > INT32_MAX)
        return false;
    *out = (int32_t)value;
    return true;
}

static void take_float(const struct gguf *g, const struct range *r, struct sampler_params *params,
                       struct buf *ignored)
{
    float value = 0.0f;
    char found[32] = "no number";
    if (!gguf_find(g, r->file_key))
        return;
    if (gguf_f32_or(g, r->file_key, 0.0f, &value, NULL)) {
        if (value >= r->low && value <= r->high) {
            memcpy((char *)params + r->offset, &value, sizeof value);
            return;
        }
        snprintf(found, sizeof found, "%g", (double)value);
    }
    buf_printf(ignored, "the model file's %s is %s, expected a number from %g to %g; it is ignored\n",
               r->file_key, found, (double)r->low, (double)r->high);
}

static void take_int(const struct gguf *g, const char *key, int32_t low, int32_t *field, struct buf *ignored)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    int32_t value = 0;
    char found[32] = "no whole number of 32 bits";
    if (!kv)
        return;
    if (read_i32(g, kv, key, &value)) {
        if (value >= low) {
            *field = value;
            return;
        }
        snprintf(found, sizeof found, "%d", value);
    }
    buf_printf(ignored, "the model file's %s is %s, expected %d or more; it is ignored\n", key, found, low);
}

void sampler_from_gguf(const struct gguf *g, struct sampler_params *params, struct buf *ignored)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].file_key)
            take_float(g, &ranges[i], params, ignored);
    take_int(g, "general.sampling.top_k", 0, &params->top_k, ignored);
    take_int(g, "general.sampling.penalty_last_n", -1, &params->repeat_last_n, ignored);
}
