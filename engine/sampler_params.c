/* Settings of the sampler: defaults, what a model file recommends, and their ranges. */
#include "engine/sampler.h"

#include <math.h>
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
    size_t offset; /* of a float in struct sampler_params */
    float low, high;
};

static const struct range ranges[] = {
    {"temp", offsetof(struct sampler_params, temp), 0.0f, 100.0f},
    {"top-p", offsetof(struct sampler_params, top_p), 0.0f, 1.0f},
    {"min-p", offsetof(struct sampler_params, min_p), 0.0f, 1.0f},
    {"typical", offsetof(struct sampler_params, typical), 0.0f, 1.0f},
    {"repeat-penalty", offsetof(struct sampler_params, repeat_penalty), 0.01f, 100.0f},
    {"frequency-penalty", offsetof(struct sampler_params, frequency_penalty), -100.0f, 100.0f},
    {"presence-penalty", offsetof(struct sampler_params, presence_penalty), -100.0f, 100.0f},
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

static void take_float(const struct gguf *g, const char *key, struct sampler_params *params, float *field,
                       int *n_ignored)
{
    if (!gguf_find(g, key))
        return;
    float old = *field;
    if (gguf_f32_or(g, key, old, field, NULL) && sampler_check(params, NULL))
        return;
    *field = old;
    ++*n_ignored;
}

static void take_int(const struct gguf *g, const char *key, struct sampler_params *params, int32_t *field,
                     int *n_ignored)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv)
        return;
    int32_t old = *field;
    if (read_i32(g, kv, key, field) && sampler_check(params, NULL))
        return;
    *field = old;
    ++*n_ignored;
}

void sampler_from_gguf(const struct gguf *g, struct sampler_params *params, int *n_ignored)
{
    int ignored = 0;
    take_float(g, "general.sampling.temp", params, &params->temp, &ignored);
    take_int(g, "general.sampling.top_k", params, &params->top_k, &ignored);
    take_float(g, "general.sampling.top_p", params, &params->top_p, &ignored);
    take_float(g, "general.sampling.min_p", params, &params->min_p, &ignored);
    take_float(g, "general.sampling.penalty_repeat", params, &params->repeat_penalty, &ignored);
    take_int(g, "general.sampling.penalty_last_n", params, &params->repeat_last_n, &ignored);
    if (n_ignored)
        *n_ignored = ignored;
}
