/* session_notes.c: what people get to know about a loaded model, and the switch for reasoning. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/guide.h"
#include "app/session.h"
#include "engine/base/mem.h"

static void note_context(const struct session *s, void (*say)(void *, const char *), void *arg)
{
    char note[256];
    uint32_t n_ctx = engine_n_ctx(s->engine), trained = s->config.n_ctx_train;
    if (!opt_given(s->options, OPT_CTX) && n_ctx < trained)
        snprintf(note, sizeof note,
                 "context: %" PRIu32 " of the %" PRIu32
                 " trained tokens, what half of the free memory holds; --ctx N decides otherwise",
                 n_ctx, trained);
    else if (trained && n_ctx > trained)
        snprintf(note, sizeof note,
                 "the model was trained at %" PRIu32 " tokens; answers beyond that may be poor", trained);
    else
        return;
    say(arg, note);
}

static void note_ignored(const struct session *s, void (*say)(void *, const char *), void *arg)
{
    const char *at = buf_text(&s->ignored), *end;
    for (; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        char *line = mem_strndup(at, (size_t)(end - at));
        say(arg, line);
        mem_free(line);
    }
}

/* ---- reasoning ---- */

static const struct chat_template *template_of(const struct session *s)
{
    bool loaded = s->phase != SESSION_LOADING && s->phase != SESSION_FAILED;
    return loaded && !opt_flag(s->options, OPT_RAW) ? model_template(engine_model(s->engine)) : NULL;
}

bool session_can_switch_think(const struct session *s)
{
    const struct chat_template *t = template_of(s);
    return t && chat_template_can_switch(t);
}

bool session_reasons(const struct session *s)
{
    const struct chat_template *t = template_of(s);
    return t && chat_template_reasons(t, s->think);
}

static const char *no_switch(const struct session *s)
{
    if (opt_flag(s->options, OPT_RAW))
        return "--raw uses no chat template, so there is no switch for reasoning";
    if (session_reasons(s))
        return "the model's template has no switch for reasoning; the model reasons before every answer";
    return "the model's template has no switch for reasoning; the model answers as it was trained to";
}

bool session_ended_in_thought(const struct session *s, char *out, size_t n)
{
    const struct chat_msg *msg = &s->chat->msgs[s->answer];
    *out = '\0';
    if (msg->text.len || !msg->think.len)
        return false;
    if (s->reason == FINISH_LENGTH)
        snprintf(out, n,
                 "the limit of %" PRId64 " tokens was reached while the model still reasoned, so there is no "
                 "answer; give more (-n), or switch reasoning off (--think off)",
                 opt_int(s->options, OPT_N_PREDICT, -1));
    else if (s->reason == FINISH_CONTEXT)
        snprintf(out, n,
                 "the context was full while the model still reasoned, so there is no answer; give "
                 "more (--ctx), or switch reasoning off (--think off)");
    else if (s->reason == FINISH_STOP)
        snprintf(out, n,
                 "the model ended inside its reasoning, so there is no answer; ask again, or switch "
                 "reasoning off (--think off)");
    return true;
}

/* A wish of the command line is always answered; a lasting one only where the model does otherwise. */
static void note_think(const struct session *s, void (*say)(void *, const char *), void *arg)
{
    if (s->think == THINK_AUTO || session_can_switch_think(s))
        return;
    if (opt_on_line(s->options, OPT_THINK) || (s->think == THINK_OFF && session_reasons(s)))
        say(arg, no_switch(s));
}

/* The mode a word names; "" is the command's own. */
static bool mode_of_word(const char *word, enum think_mode own, enum think_mode *mode)
{
    static const char *const words[] = {[THINK_AUTO] = "auto", [THINK_ON] = "on", [THINK_OFF] = "off"};
    *mode = own;
    for (size_t i = 0; *word && i < sizeof words / sizeof *words; i++) {
        *mode = (enum think_mode)i;
        if (!strcmp(word, words[i]))
            return true;
    }
    return !*word;
}

bool session_set_think(struct session *s, const char *word, enum think_mode own, char **sentence)
{
    static const char *const sentences[] = {
        [THINK_AUTO] = "The model reasons or not as its template does when nothing is said.",
        [THINK_ON] = "The model reasons before its next answers in this chat.",
        [THINK_OFF] = "The model answers without reasoning from now on in this chat."};
    enum think_mode mode;
    if (!mode_of_word(word, own, &mode)) {
        struct err err;
        err_set(&err, ERR_USAGE, "Expected on, off or auto, found \"%.40s\"; nothing was changed.", word);
        *sentence = mem_strdup(err.text);
        return false;
    }
    s->think = mode;
    s->think_chosen = true;
    bool moot = s->phase != SESSION_LOADING && !session_can_switch_think(s);
    *sentence = mem_strdup(moot ? no_switch(s) : sentences[mode]);
    return true;
}

void session_each_note(const struct session *s, void (*say)(void *, const char *), void *arg)
{
    const struct model *model = engine_model(s->engine);
    const char *warnings[] = {*s->backends.note ? s->backends.note : NULL, vocab_warning(model_vocab(model)),
                              model_warning(model), model_fewer(model)};
    if (s->is_guide)
        say(arg, guide_note);
    note_context(s, say, arg);
    note_ignored(s, say, arg);
    note_think(s, say, arg);
    for (size_t i = 0; i < sizeof warnings / sizeof *warnings; i++)
        if (warnings[i])
            say(arg, warnings[i]);
}
