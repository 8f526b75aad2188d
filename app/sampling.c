#include "app/sampling.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <sys/random.h>

/* One row per setting: the option, the JSON key, and where it lives in struct sampler_params. */
struct setting {
    enum opt_id id;
    const char *key;
    bool is_int;
    size_t offset;
};
#define REAL_SETTING(id, field)                                                                              \
    {                                                                                                        \
        id, #field, false, offsetof(struct sampler_params, field)                                            \
    }
#define INT_SETTING(id, field)                                                                               \
    {                                                                                                        \
        id, #field, true, offsetof(struct sampler_params, field)                                             \
    }
static const struct setting settings[] = {
    REAL_SETTING(OPT_TEMP, temp),
    INT_SETTING(OPT_TOP_K, top_k),
    REAL_SETTING(OPT_TOP_P, top_p),
    REAL_SETTING(OPT_MIN_P, min_p),
    REAL_SETTING(OPT_TYPICAL, typical),
    REAL_SETTING(OPT_REPEAT_PENALTY, repeat_penalty),
    INT_SETTING(OPT_REPEAT_LAST_N, repeat_last_n),
    REAL_SETTING(OPT_FREQUENCY_PENALTY, frequency_penalty),
    REAL_SETTING(OPT_PRESENCE_PENALTY, presence_penalty),
};
#define N_SETTINGS (sizeof settings / sizeof *settings)

static float *real_field(struct sampler_params *p, const struct setting *s)
{
    return (float *)((char *)p + s->offset);
}

static int32_t *int_field(struct sampler_params *p, const struct setting *s)
{
    return (int32_t *)((char *)p + s->offset);
}

static void from_options(struct sampler_params *p, const struct options *o, enum opt_source source)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const struct setting *s = &settings[i];
        if (o->value[s->id].source != source)
            continue;
        if (s->is_int)
            *int_field(p, s) = (int32_t)o->value[s->id].number;
        else
            *real_field(p, s) = (float)o->value[s->id].real;
    }
    if (o->value[OPT_SEED].source == source)
        p->seed = (uint64_t)o->value[OPT_SEED].number;
}

/* Values come from a file: each is taken only if the option of the same meaning would allow it. */
static void from_json(struct sampler_params *p, const char *text)
{
    json_t *root = json_loads(text, 0, NULL);
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const struct setting *s = &settings[i];
        const json_t *value = json_object_get(root, s->key);
        double number = json_number_value(value);
        const struct option_info *info = option_info(s->id);
        if (!json_is_number(value) || number < info->min || number > info->max)
            continue;
        if (s->is_int)
            *int_field(p, s) = (int32_t)number;
        else
            *real_field(p, s) = (float)number;
    }
    json_decref(root);
}

static const char *last_params(const struct chat *chat)
{
    for (int i = chat ? chat->head : -1; i >= 0; i = chat->msgs[i].parent)
        if (chat->msgs[i].params)
            return chat->msgs[i].params;
    return NULL;
}

struct sampler_params sampling_of_model(const struct gguf *g)
{
    int n_ignored = 0; /* a file's wrong values are not the user's business */
    struct sampler_params params = sampler_defaults();
    sampler_from_gguf(g, &params, &n_ignored);
    return params;
}

bool sampling_resolve(struct sampler_params *out, const struct sampler_params *of_model,
                      const struct options *o, const struct chat *chat, struct err *err)
{
    *out = *of_model;
    from_options(out, o, OPT_FROM_CONFIG);
    const char *params = last_params(chat);
    if (params)
        from_json(out, params);
    from_options(out, o, OPT_FROM_LINE);
    return sampler_check(out, err);
}

uint64_t sampling_random_seed(void)
{
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof seed, 0);
    seed &= (UINT64_C(1) << 53) - 1;
    return seed ? seed : 1;
}

char *sampling_to_json(const struct sampler_params *params)
{
    struct sampler_params copy = *params;
    json_t *root = json_object();
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const struct setting *s = &settings[i];
        /* Six digits are what a person typed; a float's other digits are noise. */
        json_t *value = s->is_int ? json_integer(*int_field(&copy, s))
                                  : json_real(round((double)*real_field(&copy, s) * 1e6) / 1e6);
        json_object_set_new(root, s->key, value);
    }
    json_object_set_new(root, "seed", json_integer((json_int_t)params->seed));
    char *text =
        json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)); /* allocated by mem_need, see main.c */
    json_decref(root);
    return text;
}
