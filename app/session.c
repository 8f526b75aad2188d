#include "app/session.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/guide.h"
#include "app/loader.h"
#include "app/out_file.h"
#include "app/profile_file.h"
#include "app/session_parts.h"
#include "app/trace_file.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define TRACE_TOKENS 64
#define STOP_LIMIT_NS UINT64_C(6000000000)

static bool no_model(struct err *err)
{
    return err_set(
        err, ERR_USAGE,
        "no model was given, and the built-in guide (share/ferrum-chat/guide.gguf) is not installed with "
        "this program: ferrum-chat MODEL.gguf starts a chat, ferrum-chat --continue takes the last one up "
        "again; README.md says where models come from");
}

static bool has_guide(void)
{
    char *guide = guide_path();
    mem_free(guide);
    return guide != NULL;
}

/* Nobody should write for an hour and then hear that the profile has no place. */
static bool check_files(const struct options *o, struct err *err)
{
    if (opt_given(o, OPT_PROFILE) && opt_given(o, OPT_TRACE) &&
        strcmp(opt_text(o, OPT_PROFILE), opt_text(o, OPT_TRACE)) == 0)
        return err_set(err, ERR_USAGE, "--profile and --trace both name %s; give each a file of its own",
                       opt_text(o, OPT_TRACE));
    return (!opt_given(o, OPT_PROFILE) || out_file_check("--profile", opt_text(o, OPT_PROFILE), err)) &&
           (!opt_given(o, OPT_TRACE) || out_file_check("--trace", opt_text(o, OPT_TRACE), err));
}

/* A file's name, or a subcommand with a slip in it? */
static bool check_model_word(const char *word, struct err *err)
{
    const char *meant = strchr(word, '/') || !access(word, F_OK) ? NULL : command_nearest(word);
    return !meant ||
           err_set(err, ERR_USAGE, "there is no file \"%.60s\"; did you mean `ferrum-chat %s`?", word, meant);
}

bool session_check_options(const struct options *o, struct err *err)
{
    int n_chosen = opt_given(o, OPT_SESSION) + opt_given(o, OPT_CONTINUE) + opt_given(o, OPT_RESUME);
    if (n_chosen > 1)
        return err_set(err, ERR_USAGE,
                       "--session, --continue and --resume each choose a chat; give one of them");
    if (n_chosen && opt_flag(o, OPT_PRIVATE))
        return err_set(err, ERR_USAGE, "--private reads and writes no saved chat; leave out --%s",
                       opt_given(o, OPT_SESSION)    ? "session"
                       : opt_given(o, OPT_CONTINUE) ? "continue"
                                                    : "resume");
    if (opt_on_line(o, OPT_SYSTEM) && opt_flag(o, OPT_RAW))
        return err_set(err, ERR_USAGE,
                       "--system needs a chat template, which --raw switches off; leave one out");
    if (opt_given(o, OPT_TRACE_TOKENS) && !opt_given(o, OPT_TRACE))
        return err_set(err, ERR_USAGE, "--trace-tokens says how much --trace FILE keeps; give that too");
    if (o->n_words && !check_model_word(o->words[0], err))
        return false;
    if (o->n_words > 1)
        return err_set(err, ERR_USAGE, "expected one model file, found \"%.60s\" after it", o->words[1]);
    if (!o->n_words && !opt_given(o, OPT_CONTINUE) && !opt_given(o, OPT_RESUME) && !has_guide())
        return no_model(err);
    return check_files(o, err);
}

/* ---- which chat ---- */

/* An answer that was being written when the program was killed is an interrupted one. */
static void repair_loaded(struct chat *chat)
{
    for (int i = 0; i < chat->n_msgs; i++)
        if (chat->msgs[i].status == CHAT_STREAMING)
            chat->msgs[i].status = CHAT_INTERRUPTED;
}

static void forget_ids(struct chat *chat)
{
    for (int i = 0; i < chat->n_msgs; i++)
        chat->msgs[i].n_tokens = 0;
}

static void take_chat(struct session *s, struct chat *chat, const struct chat_info *info)
{
    chat_free(s->chat);
    s->chat = chat;
    s->stored = true;
    s->n_saved = chat->n_msgs;
    s->answer = s->asked = s->refused = -1;
    repair_loaded(chat);
    if (info && info->id)
        chat->id = info->id;
    s->other_model = info && memcmp(info->model_fingerprint, s->fingerprint, sizeof s->fingerprint) != 0;
}

/* A head without an answer (the program was killed, or the prompt did not fit): its text becomes the draft
 * again, before what the draft holds; on disk too, in this order. */
static void reopen_unanswered(struct session *s)
{
    struct chat *chat = s->chat;
    if (chat->head < 0 || chat->msgs[chat->head].role != CHAT_USER)
        return;
    const struct chat_msg *msg = &chat->msgs[chat->head];
    const char *said = buf_text(&msg->text), *draft = s->draft ? s->draft : "";
    size_t n = strlen(said);
    if (strncmp(draft, said, n) != 0 ||
        (draft[n] && draft[n] != '\n')) { /* else a crash left it in both places */
        char *text = session_join(said, draft);
        mem_free(s->draft);
        s->draft = text;
        s->draft_cursor = strlen(text);
    }
    chat->head = msg->parent;
    session_put_draft(s, s->draft, s->draft_cursor);
    session_store_head(s);
}

/* What a loaded chat needs when the model is known: ids of another model never reach this one. */
static void settle_loaded(struct session *s)
{
    if (s->other_model)
        forget_ids(s->chat);
    reopen_unanswered(s);
    session_count_ids(s);
    s->think = sampling_think(s->options, s->chat, &s->think_chosen);
}

static bool not_found(const struct options *o, struct err *err)
{
    if (opt_given(o, OPT_RESUME))
        return err_set(err, ERR_RUNTIME,
                       "--resume %" PRId64
                       ": there is no chat of this id; `ferrum-chat sessions list` shows them",
                       opt_int(o, OPT_RESUME, 0));
    return err_set(err, ERR_RUNTIME,
                   "--continue: there is no chat yet; start one with `ferrum-chat MODEL.gguf`");
}

/* Loads the chat the options name. *stored_path (mem_free) is the model it was last used with, or NULL. */
static bool choose_chat(struct session *s, struct chat_info *info, struct err *err)
{
    const struct options *o = s->options;
    struct chat_key key = {.kind = CHAT_LATEST};
    if (opt_given(o, OPT_SESSION))
        key = (struct chat_key){.kind = CHAT_BY_NAME, .name = opt_text(o, OPT_SESSION)};
    else if (opt_given(o, OPT_RESUME))
        key = (struct chat_key){.kind = CHAT_BY_ID, .id = opt_int(o, OPT_RESUME, 0)};
    bool named = opt_given(o, OPT_SESSION) || opt_given(o, OPT_RESUME) || opt_given(o, OPT_CONTINUE);
    struct chat_db_event event;
    chat_db_load(s->db, named ? &key : NULL);
    if (!session_wait_loaded(s, &event, err))
        return false;
    s->draft = event.draft;
    s->draft_cursor = event.draft_cursor;
    s->draft_loose = !named && s->draft;
    s->loose_known = !named;
    event.draft = NULL;
    if (event.chat) {
        take_chat(s, event.chat, NULL);
        *info = event.info;
        s->chat->id = info->id;
        event.chat = NULL;
        event.info = (struct chat_info){0};
    }
    chat_db_event_fini(&event);
    if (!s->stored && named && !opt_given(o, OPT_SESSION))
        return not_found(o, err);
    if (!s->stored && opt_given(o, OPT_SESSION))
        s->chat->name = mem_strdup(opt_text(o, OPT_SESSION));
    if (s->stored && opt_on_line(o, OPT_SYSTEM))
        return err_set(
            err, ERR_USAGE,
            "--system: the chat exists already, its system message stays; start a new chat for another");
    return true;
}

/* ---- which model ---- */

/* A guide that came with another version of the program may take its old chats up. */
static bool is_guide(const char *path)
{
    char *guide = guide_path();
    bool same = guide && !strcmp(guide, path);
    mem_free(guide);
    return same;
}

static bool check_model(struct session *s, const struct chat_info *info, bool from_chat, struct err *err)
{
    struct gguf *g = gguf_open(s->model_path, true, err);
    if (!g)
        return false;
    bool ok = model_read_config(g, &s->config, err);
    fingerprint_of(g, s->fingerprint);
    snprintf(s->model_name, sizeof s->model_name, "%s", loader_display_name(&s->config, s->model_path));
    s->other_model = s->stored && memcmp(info->model_fingerprint, s->fingerprint, sizeof s->fingerprint) != 0;
    s->is_guide = is_guide(s->model_path);
    if (ok && from_chat && s->other_model && !s->is_guide)
        ok = err_set(err, ERR_MODEL,
                     "%s: the file is not the model this chat was used with (%s), it has changed; name the "
                     "model to use: "
                     "ferrum-chat MODEL.gguf --resume %" PRId64,
                     s->model_path, info->model_name ? info->model_name : "unknown", info->id);
    sampling_of_model(s->of_model, g, &s->ignored);
    ok = ok && sampling_resolve(&s->sampling, &s->of_model[0], s->options, s->chat, err);
    if (ok && s->paths->kv_db)
        kv_cache_identify(&s->kv, g, &s->config, s->kv_type);
    gguf_close(g);
    return ok;
}

/* The file the chat was used with last; NULL, with the error. mem_free. The guide may have moved with the
 * program. */
static char *stored_model(const struct chat_info *info, struct err *err)
{
    bool is_guides = info->model_name && !strcmp(info->model_name, guide_name);
    if (!info->model_path || !*info->model_path) {
        err_set(
            err, ERR_USAGE,
            "the chat does not say which model it used; name one: ferrum-chat MODEL.gguf --resume %" PRId64,
            info->id);
        return NULL;
    }
    if (!access(info->model_path, F_OK) || (errno != ENOENT && errno != ENOTDIR))
        return mem_strdup(info->model_path);
    char *guide = is_guides ? guide_path() : NULL;
    if (!guide)
        err_set(err, ERR_MODEL,
                "%.300s: the model file that this chat was last used with is not there any more; name where "
                "it is now: ferrum-chat MODEL.gguf --resume %" PRId64,
                info->model_path, info->id);
    return guide;
}

/* The model that was named, else that of the chat, else the guide. */
static char *name_model(const struct session *s, const struct chat_info *info, struct err *err)
{
    if (s->options->n_words)
        return mem_strdup(s->options->words[0]);
    if (s->stored)
        return stored_model(info, err);
    char *guide = guide_path();
    if (!guide)
        no_model(err);
    return guide;
}

static bool choose_model(struct session *s, const struct chat_info *info, struct err *err)
{
    char *path = name_model(s, info, err);
    if (!path)
        return false;
    char *absolute = realpath(path, NULL);
    s->model_path = mem_strdup(absolute ? absolute : path);
    free(absolute);
    mem_free(path);
    return check_model(s, info, !s->options->n_words && s->stored, err);
}

bool session_open(struct session *s, const struct options *o, const struct paths *paths, int signal_fd,
                  struct err *err)
{
    *s = (struct session){.options = o,
                          .paths = paths,
                          .signal_fd = signal_fd,
                          .asked = -1,
                          .answer = -1,
                          .prof_of = -1,
                          .refused = -1,
                          .head_before = -1};
    if (!session_check_options(o, err) || !loader_kv_type(o, DTYPE_F16, &s->kv_type, err))
        return false;
    s->chat = chat_new();
    if (paths->chat_db && (!(s->db = chat_db_open(paths->chat_db, err)) || !session_wait_open(s, err)))
        return false;
    struct chat_info info = {0};
    bool ok = (!s->db || choose_chat(s, &info, err)) && choose_model(s, &info, err);
    chat_info_fini(&info);
    if (!ok)
        return false;
    settle_loaded(s);
    return true;
}

bool session_start(struct session *s, struct err *err)
{
    if (!loader_backends(s->options, false, &s->backends, err))
        return false;
    struct backend *main_one = loader_main_backend(&s->backends), *device = &s->backends.device;
    snprintf(s->kernels, sizeof s->kernels, "%s", main_one->ops->describe(main_one->ctx));
    if (opt_given(s->options, OPT_TRACE) &&
        !(s->trace = trace_new(s->config.n_layer,
                               (uint32_t)opt_int(s->options, OPT_TRACE_TOKENS, TRACE_TOKENS), err)))
        return false;
    enum speculation_mode speculation;
    if (!loader_speculation_mode(&speculation, err))
        return false;
    kv_cache_open(&s->kv, s->paths->kv_db, s->options, main_one, &s->config, s->model_name);
    const struct engine_options options = {
        .model_path = s->model_path,
        .backend = &s->backends.cpu,
        .device = device->ops ? device : NULL,
        .n_device = s->backends.n_device,
        .n_ctx = (uint32_t)opt_int(s->options, OPT_CTX, 0),
        .kv_type = s->kv_type,
        .shelf = kv_cache_shelf(&s->kv),
        .speculation = speculation,
        .trace = s->trace,
    };
    s->opened_ns = clock_now_ns();
    s->engine = engine_open(&options, err);
    return s->engine != NULL;
}

const struct backend *session_backend(const struct session *s)
{
    const struct loader_backends *b = &s->backends;
    bool is_device = b->device.ops && !strncmp(s->kernels, b->device.ops->name, strlen(b->device.ops->name));
    return is_device ? &b->device : &b->cpu;
}

static void leave_chat(struct session *s)
{
    session_stop_warming(s);
    session_store_unkept(s);
    s->unkept = false;
    mem_free(s->draft);
    s->draft = NULL;
    s->prof_of = -1;
    s->title_open = s->title_due = s->draft_loose = false;
    s->n_receipts = 0;
    s->n_saved = 0;
    s->failure = (struct err){0};
}

void session_switch(struct session *s, struct chat_db_event *loaded)
{
    leave_chat(s);
    s->loose_known = s->loose_known && !s->stored && !loaded;
    if (loaded) {
        s->draft = loaded->draft;
        s->draft_cursor = loaded->draft_cursor;
        take_chat(s, loaded->chat, &loaded->info);
        loaded->draft = NULL;
        loaded->chat = NULL;
    } else {
        chat_free(s->chat);
        s->chat = chat_new();
        s->stored = s->other_model = false;
        s->answer = s->asked = s->refused = -1;
    }
    settle_loaded(s);
    session_warm(s, true);
}

void session_take_fork(struct session *s, struct chat *fork)
{
    leave_chat(s);
    chat_free(s->chat);
    s->chat = fork;
    s->stored = s->loose_known = false;
    s->answer = s->asked = s->refused = -1;
    session_store_asked(s, 0);
    settle_loaded(s);
    session_warm(s, true);
}

int session_engine_fd(const struct session *s)
{
    return s->engine ? engine_event_fd(s->engine) : -1;
}

int session_db_fd(const struct session *s)
{
    return s->db ? chat_db_event_fd(s->db) : -1;
}

void session_stop(struct session *s)
{
    if (!s->engine || !session_is_busy(s))
        return;
    /* After cancelling, the engine needs at most a layer's time to say that it is done. */
    uint64_t until = clock_now_ns() + STOP_LIMIT_NS;
    struct engine_event event;
    session_cancel(s);
    while (session_is_busy(s) && clock_now_ns() < until) {
        struct pollfd fd = {.fd = session_engine_fd(s), .events = POLLIN};
        poll(&fd, 1, 50);
        while (session_next_event(s, &event))
            continue;
    }
}

static bool write_profile(const struct session *s, struct err *err)
{
    struct prof *prof = NULL;
    if (!opt_given(s->options, OPT_PROFILE))
        return true;
    bool ok = engine_prof(s->engine, &prof, err) &&
              profile_file_write(prof, opt_text(s->options, OPT_PROFILE), err);
    prof_free(prof);
    return ok;
}

bool session_close(struct session *s, struct err *err)
{
    bool ok = true;
    session_stop(s);
    bool is_loaded = s->engine && engine_model(s->engine);
    if (is_loaded)
        ok = write_profile(s, err);
    session_drop_refused(s);
    if (!session_save(s, ok ? err : NULL))
        ok = false;
    kv_cache_finish(&s->kv, s->signal_fd, s->in_a_hurry);
    engine_close(s->engine); /* which offers the last blocks */
    kv_cache_close(&s->kv);
    if (is_loaded && s->trace &&
        !trace_file_write(s->trace, opt_text(s->options, OPT_TRACE), ok ? err : NULL))
        ok = false;
    trace_free(s->trace);
    loader_backends_close(&s->backends);
    chat_free(s->chat);
    mem_free(s->model_path);
    mem_free(s->draft);
    prof_free(s->prof);
    buf_fini(&s->ignored);
    buf_fini(&s->forgotten);
    *s = (struct session){.signal = s->signal, .asked = -1, .answer = -1, .prof_of = -1, .refused = -1};
    return ok;
}
