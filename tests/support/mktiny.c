/* mktiny: writes a tiny model, for shell tests. Options as in tiny_model.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/tiny_model.h"

static int usage(void)
{
    fprintf(stderr,
            "usage: mktiny llama|qwen2|qwen3|qwen3moe|qwen2moe|olmoe OUT [--experts] [--chatml]\n"
            "       [--think | --think-opens] [--script TEXT] [--ctx N] [--type f32|q8_0|q4_0] [--seed N]\n");
    return 2;
}

static bool type_named(const char *name, enum dtype *out)
{
    for (int i = 0; i < DTYPE_I8; i++)
        if (strcmp(dtype_info((enum dtype)i)->name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    return false;
}

static bool *switch_named(struct tiny_options *o, const char *name)
{
    if (strcmp(name, "--chatml") == 0)
        return &o->chatml;
    if (strcmp(name, "--experts") == 0)
        return &o->experts;
    if (strcmp(name, "--think") == 0)
        return &o->think;
    return strcmp(name, "--think-opens") == 0 ? &o->think_opens : NULL;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return usage();
    struct tiny_options options = {.arch = argv[1], .type = DTYPE_F32, .seed = 1};
    for (int i = 3; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool *on = switch_named(&options, argv[i]);
        if (on) {
            *on = true;
            continue;
        }
        if (value && strcmp(argv[i], "--ctx") == 0)
            options.n_ctx = (uint32_t)strtoul(value, NULL, 10);
        else if (value && strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(value, NULL, 10);
        else if (value && strcmp(argv[i], "--script") == 0)
            options.script = value;
        else if (!value || strcmp(argv[i], "--type") != 0 || !type_named(value, &options.type))
            return usage();
        i++;
    }
    return tiny_model_save(&options, argv[2]) ? 0 : 1;
}
