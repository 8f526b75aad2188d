/* template_render.c owns what a template is given, and what is learned about it by trying. */
#include "engine/template_render.h"

#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"

/* Variables that templates ask about reasoning. Sources: the templates of Qwen3 and most others; of
 * Granite 3.3 and DeepSeek V3.1; of Seed-OSS. */
struct think_switch {
    const char *name;
    bool is_budget; /* tokens of reasoning: 0 for off, not set for on */
};
static const struct think_switch switches[] = {
    {"enable_thinking", false},
    {"thinking", false},
    {"thinking_budget", true},
};
static const char *const reasoning_fields[] = {"reasoning_content", "reasoning", "thinking"};
#define N_OF(array) (sizeof(array) / sizeof *(array))

/* ---- rendering ---- */

struct call {
    const struct template_renderer *r;
    const struct prompt_msg *msgs;
    size_t n;
    enum think_mode think;
    bool speaks; /* add_generation_prompt */
    const struct tm *now;
};

static void set_token(struct jinja_vars *vars, const char *name, struct gguf_string s)
{
    if (s.data)
        jinja_vars_set(vars, name, jinja_string_trusted(vars, s.data, s.n));
}

static void set_switch(struct jinja_vars *vars, const struct call *c)
{
    const struct think_switch *s = c->r->habits.think_switch;
    if (!s || c->think == THINK_AUTO || (s->is_budget && c->think == THINK_ON))
        return;
    jinja_vars_set(vars, s->name, s->is_budget ? jinja_int(0) : jinja_bool(c->think == THINK_ON));
}

/* The parts one behind the other, as input. */
static bool add_joined(struct jinja_vars *vars, struct jinja_value msg, const struct gguf_string *parts,
                       size_t n_parts, struct err *err)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < n_parts; i++)
        if (!mem_add(n, parts[i].n, &n))
            return err_set(err, ERR_MEMORY, "out of memory: a message is too long");
    char *text = mem_alloc(n, err);
    if (!text)
        return false;
    for (size_t i = 0; i < n_parts; at += parts[i++].n)
        if (parts[i].n)
            memcpy(text + at, parts[i].data, parts[i].n);
    jinja_dict_add(vars, msg, "content", 7, jinja_string_input(vars, text, n));
    mem_free(text);
    return true;
}

static struct gguf_string part(const char *s)
{
    return (struct gguf_string){s, strlen(s)};
}

/* system: what is moved in front of this message, or NULL. */
static bool add_content(struct jinja_vars *vars, const struct template_habits *habits,
                        struct jinja_value value, const struct prompt_msg *msg,
                        const struct prompt_msg *system, struct err *err)
{
    struct gguf_string text = {msg->text, msg->n_bytes}, think = {msg->think, msg->n_think};
    if (system)
        return add_joined(
            vars, value, (struct gguf_string[]){{system->text, system->n_bytes}, part("\n\n"), text}, 3, err);
    if (think.n && !habits->reasoning_field && habits->reasoning_in_content)
        return add_joined(vars, value,
                          (struct gguf_string[]){part(habits->pair->open), part("\n"), think, part("\n"),
                                                 part(habits->pair->close), part("\n\n"), text},
                          7, err);
    jinja_dict_add(vars, value, "content", 7, jinja_string_input(vars, text.data, text.n));
    if (think.n && habits->reasoning_field)
        jinja_dict_add(vars, value, habits->reasoning_field, strlen(habits->reasoning_field),
                       jinja_string_input(vars, think.data, think.n));
    return true;
}

static bool set_messages(struct jinja_vars *vars, const struct call *c, struct err *err)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const struct template_habits *habits = &c->r->habits;
    struct jinja_value list = jinja_list(vars);
    size_t question = 0; /* the first, if the system message is to be moved there */
    if (habits->moves_system && c->n && c->msgs[0].role == CHAT_SYSTEM)
        for (question = 1; question < c->n && c->msgs[question].role != CHAT_USER;)
            question++;
    bool moves = question > 0 && question < c->n;
    for (size_t i = moves; i < c->n; i++) {
        const struct prompt_msg *msg = &c->msgs[i];
        struct jinja_value value = jinja_dict(vars);
        const char *role = roles[msg->role];
        jinja_dict_add(vars, value, "role", 4, jinja_string_trusted(vars, role, strlen(role)));
        if (!add_content(vars, habits, value, msg, moves && i == question ? c->msgs : NULL, err))
            return false;
        jinja_list_add(vars, list, value);
    }
    jinja_vars_set(vars, "messages", list);
    return true;
}

static bool render(const struct call *c, struct jinja_text *out, struct err *err)
{
    struct jinja_vars *vars = jinja_vars_new(err);
    if (!vars)
        return false;
    bool ok = set_messages(vars, c, err);
    set_token(vars, "bos_token", c->r->bos);
    set_token(vars, "eos_token", c->r->eos);
    set_switch(vars, c);
    jinja_vars_set(vars, "add_generation_prompt", jinja_bool(c->speaks));
    ok = ok && jinja_render(c->r->jinja, vars, c->now, out, err);
    jinja_vars_free(vars);
    return ok;
}

bool template_render(const struct template_renderer *r, const struct prompt_msg *msgs, size_t n,
                     enum think_mode think, struct jinja_text *out, struct err *err)
{
    struct call c = {.r = r, .msgs = msgs, .n = n, .think = think, .speaks = true};
    return render(&c, out, err);
}

/* ---- trying ---- */

#define TRY_QUESTION "a question"
#define TRY_ANSWER "an answer"
#define TRY_REASONING "some reasoning"

static const struct prompt_msg conversation[] = {
    {.role = CHAT_SYSTEM, .text = "a system message", .n_bytes = 16},
    {.role = CHAT_USER, .text = TRY_QUESTION, .n_bytes = sizeof TRY_QUESTION - 1},
    {.role = CHAT_ASSISTANT,
     .text = TRY_ANSWER,
     .n_bytes = sizeof TRY_ANSWER - 1,
     .think = TRY_REASONING,
     .n_think = sizeof TRY_REASONING - 1},
    {.role = CHAT_USER, .text = TRY_QUESTION, .n_bytes = sizeof TRY_QUESTION - 1},
};

/* Messages first .. end of the conversation, always on the same day. False only for want of memory;
 * *is_rendered: the template took it. */
static bool try(const struct template_renderer *r, size_t first, size_t end, enum think_mode think,
                struct jinja_text *out, bool *is_rendered, struct err *err)
{
    static const struct tm day = {.tm_year = 124, .tm_mon = 0, .tm_mday = 1, .tm_wday = 1};
    struct call c = {.r = r,
                     .msgs = conversation + first,
                     .n = end - first,
                     .think = think,
                     .speaks = conversation[end - 1].role == CHAT_USER,
                     .now = &day};
    struct err why = {0};
    *is_rendered = render(&c, out, &why);
    if (!*is_rendered && why.code == ERR_MEMORY) {
        *err = why;
        return false;
    }
    return true;
}

static bool is_same(const struct jinja_text *a, const struct jinja_text *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->bytes, b->bytes, a->n) == 0);
}

/* How one question is rendered with this switch, by mode; *differs: on is not what off is. */
static bool try_switch(struct template_renderer *r, const struct think_switch *s, struct jinja_text texts[3],
                       bool *differs, struct err *err)
{
    bool ok[3] = {false};
    r->habits.think_switch = s;
    for (int mode = THINK_AUTO; mode <= THINK_OFF; mode++)
        if (!try(r, 1, 2, (enum think_mode)mode, &texts[mode], &ok[mode], err))
            return false;
    *differs = ok[THINK_ON] && ok[THINK_OFF] && !is_same(&texts[THINK_ON], &texts[THINK_OFF]);
    return true;
}

static bool learn_switch(struct template_renderer *r, struct err *err)
{
    struct template_habits *h = &r->habits;
    bool differs = false, ok = true;
    for (size_t i = 0; i < N_OF(switches) && ok && !differs; i++) {
        struct jinja_text texts[3] = {{0}};
        ok = try_switch(r, &switches[i], texts, &differs, err);
        if (ok && differs) {
            h->reasons[THINK_AUTO] = !is_same(&texts[THINK_AUTO], &texts[THINK_OFF]);
            h->reasons[THINK_ON] = true;
        }
        for (int mode = THINK_AUTO; mode <= THINK_OFF; mode++)
            jinja_text_fini(&texts[mode]);
    }
    if (differs)
        return true;
    h->think_switch = NULL;
    for (int mode = THINK_AUTO; mode <= THINK_OFF; mode++)
        h->reasons[mode] = h->pair != NULL;
    return ok;
}

static bool has(const struct jinja_text *text, const char *what)
{
    return text->n && memmem(text->bytes, text->n, what, strlen(what));
}

/* A field is understood when the newest answer's reasoning shows; of old answers it may be left out. */
static bool learn_field(struct template_renderer *r, struct err *err)
{
    for (size_t i = 0; i < N_OF(reasoning_fields); i++) {
        struct jinja_text text = {0};
        bool is_rendered;
        r->habits.reasoning_field = reasoning_fields[i];
        bool ok = try(r, 1, 3, THINK_AUTO, &text, &is_rendered, err);
        bool shows = ok && is_rendered && has(&text, TRY_REASONING);
        jinja_text_fini(&text);
        if (!ok || shows)
            return ok;
    }
    r->habits.reasoning_field = NULL;
    return true;
}

static bool learn_content(struct template_renderer *r, struct err *err)
{
    struct jinja_text text = {0};
    bool is_rendered;
    r->habits.reasoning_in_content = true;
    bool ok = try(r, 1, 4, THINK_AUTO, &text, &is_rendered, err);
    r->habits.reasoning_in_content =
        ok && is_rendered && has(&text, TRY_ANSWER) && !has(&text, TRY_REASONING);
    jinja_text_fini(&text);
    return ok;
}

/* *is_usable: it renders a mere question. */
static bool learn_system(struct template_renderer *r, bool *is_usable, struct err *err)
{
    struct jinja_text with = {0}, without = {0};
    bool takes;
    bool ok = try(r, 1, 2, THINK_AUTO, &without, is_usable, err) &&
              (!*is_usable || try(r, 0, 2, THINK_AUTO, &with, &takes, err));
    jinja_text_fini(&with);
    jinja_text_fini(&without);
    r->habits.moves_system = ok && *is_usable && !takes;
    if (r->habits.moves_system)
        log_line("the model's chat template takes no system message: its text goes in front of the first "
                 "question");
    return ok;
}

bool template_learn(struct template_renderer *r, struct err *err)
{
    bool is_usable;
    r->habits = (struct template_habits){.pair = reasoning_pair_of(r->jinja)};
    if (!learn_system(r, &is_usable, err))
        return false;
    /* What fails at once would at best fail a dozen times more, perhaps each time at the limit of steps. */
    if (!is_usable)
        return true;
    return learn_switch(r, err) &&
           (!r->habits.pair || (learn_field(r, err) && (r->habits.reasoning_field || learn_content(r, err))));
}
