#include "app/sampling.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "app/presets.h"

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
static const struct setting settings[SAMPLING_N] = {
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

static float *real_field(struct sampler_params *p, const struct setting *s)
{
    return (float *)((char *)p + s->offset);
}

static int32_t *int_field(struct sampler_params *p, const struct setting *s)
{
    return (int32_t *)((char *)p + s->offset);
}

static double value_of(const struct sampler_params *p, const struct setting *s)
{
    struct sampler_params copy = *p;
    /* Six digits are what a person typed; a float's other digits are noise. */
    return s->is_int ? *int_field(&copy, s) : round((double)*real_field(&copy, s) * 1e6) / 1e6;
}

static void set_value(struct sampling *to, int i, double value, enum sampling_source from)
{
    if (settings[i].is_int)
        *int_field(&to->params, &settings[i]) = (int32_t)value;
    else
        *real_field(&to->params, &settings[i]) = (float)value;
    to->from[i] = from;
}

static void from_options(struct sampling *to, const struct options *o, enum opt_source source)
{
    for (int i = 0; i < SAMPLING_N; i++) {
        const struct opt_value *v = &o->value[settings[i].id];
        if (v->source == source)
            set_value(to, i, settings[i].is_int ? (double)v->number : v->real,
                      source == OPT_FROM_LINE ? SAMPLING_LINE : SAMPLING_CONFIG);
    }
    if (o->value[OPT_SEED].source == source)
        to->params.seed = (uint64_t)o->value[OPT_SEED].number;
}

/* ---- what the chat keeps ---- */

static json_t *last_params(const struct chat *chat)
{
    for (int i = chat ? chat->head : -1; i >= 0; i = chat->msgs[i].parent)
        if (chat->msgs[i].params)
            return json_loads(chat->msgs[i].params, 0, NULL);
    return NULL;
}

/* Chats of versions without such a list own all their settings. */
static bool is_own(const json_t *root, const char *key)
{
    const json_t *own = json_object_get(root, "own"), *item;
    size_t i;
    if (!json_is_array(own))
        return true;
    json_array_foreach(own, i,
                       item) if (json_is_string(item) && !strcmp(json_string_value(item), key)) return true;
    return false;
}

/* Values come from a file: each is taken only if the option of the same meaning would allow it. */
static void from_chat(struct sampling *to, const struct chat *chat)
{
    json_t *root = last_params(chat);
    for (int i = 0; i < SAMPLING_N; i++) {
        const json_t *value = json_object_get(root, settings[i].key);
        const struct option_info *info = option_info(settings[i].id);
        double number = json_number_value(value);
        if (json_is_number(value) && number >= info->min && number <= info->max &&
            is_own(root, settings[i].key))
            set_value(to, i, number, SAMPLING_CHAT);
    }
    json_decref(root);
}

/* ---- the settings of a turn ---- */

#define UNSAID (-1000.0) /* out of every range */

static void take_said(struct sampling *to, const struct sampler_params *said, enum sampling_source from)
{
    for (int i = 0; i < SAMPLING_N; i++)
        if (value_of(said, &settings[i]) != UNSAID)
            set_value(to, i, value_of(said, &settings[i]), from);
}

void sampling_of_model(struct sampling out[2], const struct gguf *g, struct buf *ignored)
{
    struct sampling unsaid = {0};
    for (int i = 0; i < SAMPLING_N; i++)
        set_value(&unsaid, i, UNSAID, SAMPLING_BUILT_IN);
    struct sampler_params of_file = unsaid.params;
    sampler_from_gguf(g, &of_file, ignored);
    for (int reasons = 0; reasons < 2; reasons++) {
        const struct preset *preset = preset_find(g, reasons);
        struct sampler_params of_preset = unsaid.params;
        out[reasons] = (struct sampling){.params = sampler_defaults()};
        if (preset) {
            out[reasons].preset = preset_name(preset);
            preset_apply(preset, &of_preset);
        }
        take_said(&out[reasons], &of_preset, SAMPLING_PRESET);
        take_said(&out[reasons], &of_file, SAMPLING_FILE);
    }
}

bool sampling_resolve(struct sampling *out, const struct sampling *of_model, const struct options *o,
                      const struct chat *chat, struct err *err)
{
    *out = *of_model;
    from_options(out, o, OPT_FROM_CONFIG);
    from_chat(out, chat);
    from_options(out, o, OPT_FROM_LINE);
    return sampler_check(&out->params, err);
}

struct sampling_row sampling_row(const struct sampling *s, int i)
{
    assert(i >= 0 && i < SAMPLING_N);
    return (struct sampling_row){.name = option_info(settings[i].id)->name,
                                 .is_int = settings[i].is_int,
                                 .value = value_of(&s->params, &settings[i]),
                                 .from = s->from[i]};
}

/* ---- reasoning ---- */

static const char *const think_words[] = {[THINK_AUTO] = "auto", [THINK_ON] = "on", [THINK_OFF] = "off"};

static bool read_think(const char *word, enum think_mode *mode)
{
    for (size_t i = 0; word && i < sizeof think_words / sizeof *think_words; i++)
        if (!strcmp(word, think_words[i])) {
            *mode = (enum think_mode)i;
            return true;
        }
    return false;
}

enum think_mode sampling_think(const struct options *o, const struct chat *chat, bool *chosen)
{
    enum think_mode mode = THINK_AUTO;
    json_t *root = opt_on_line(o, OPT_THINK) ? NULL : last_params(chat);
    *chosen = read_think(json_string_value(json_object_get(root, "think")), &mode) ||
              read_think(opt_text(o, OPT_THINK), &mode);
    json_decref(root);
    return mode;
}

uint64_t sampling_random_seed(void)
{
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof seed, 0);
    seed &= (UINT64_C(1) << 53) - 1;
    return seed ? seed : 1;
}

char *sampling_to_json(const struct sampling *s, const enum think_mode *think)
{
    json_t *root = json_object(), *own = json_array();
    for (int i = 0; i < SAMPLING_N; i++) {
        double value = value_of(&s->params, &settings[i]);
        json_object_set_new(root, settings[i].key,
                            settings[i].is_int ? json_integer((json_int_t)value) : json_real(value));
        if (s->from[i] >= SAMPLING_CONFIG)
            json_array_append_new(own, json_string(settings[i].key));
    }
    json_object_set_new(root, "seed", json_integer((json_int_t)s->params.seed));
    if (think)
        json_object_set_new(root, "think", json_string(think_words[*think]));
    json_object_set_new(root, "own", own);
    char *text =
        json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)); /* allocated by mem_need, see main.c */
    json_decref(root);
    return text;
}
