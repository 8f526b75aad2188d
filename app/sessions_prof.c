/* sessions_prof.c: `sessions show ID --profile`, --compare and --csv: the profiles kept with answers. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/output.h"
#include "app/profile_compare.h"
#include "app/profile_file.h"
#include "app/profile_table.h"
#include "app/sessions_parts.h"
#include "engine/base/mem.h"
#include "ui/sanitize.h"

#define MARGIN 4

bool sessions_wants_profile(const struct options *o)
{
    return opt_flag(o, OPT_SHOW_PROFILE) || opt_given(o, OPT_COMPARE) || opt_given(o, OPT_CSV);
}

bool sessions_check_profile(const struct options *o, const char *action, struct err *err)
{
    if (sessions_wants_profile(o) && strcmp(action, "show") != 0)
        return err_set(err, ERR_USAGE,
                       "sessions %.40s: --profile, --compare and --csv go with `sessions show ID`", action);
    if (opt_given(o, OPT_CSV) && (opt_given(o, OPT_COMPARE) || opt_flag(o, OPT_JSON)))
        return err_set(err, ERR_USAGE,
                       "--csv is a form of output of its own; leave out --compare and --json, or --csv");
    return true;
}

/* ---- which answer ---- */

struct answer {
    int64_t chat_id;
    int number;
    int64_t msg_id;
    struct kept_prof *kept;
};

static bool check_answer(const struct chat *chat, int64_t chat_id, int64_t number, struct err *err)
{
    if (number < 1 || number > chat->n_msgs)
        return err_set(err, ERR_RUNTIME,
                       "chat %" PRId64 " has no message #%" PRId64 "; `ferrum-chat sessions show %" PRId64
                       "` shows its %d by their numbers",
                       chat_id, number, chat_id, chat->n_msgs);
    if (chat->msgs[number - 1].role != CHAT_ASSISTANT)
        return err_set(err, ERR_RUNTIME,
                       "message #%" PRId64 " of chat %" PRId64 " is no answer; only answers have a profile",
                       number, chat_id);
    return true;
}

/* The answer and its profile, which must be there; a->kept is the caller's (kept_prof_free). */
static bool load_answer(struct store *s, int64_t chat_id, int64_t number, struct answer *a, struct err *err)
{
    *a = (struct answer){.chat_id = chat_id};
    struct chat *chat = sessions_load(s, chat_id, NULL, err);
    bool ok = chat && check_answer(chat, chat_id, number, err);
    if (ok) {
        a->number = (int)number;
        a->msg_id = chat->msgs[number - 1].id;
        ok = store_get_prof(s, a->msg_id, &a->kept, err);
    }
    chat_free(chat);
    if (ok && !a->kept)
        ok = err_set(err, ERR_RUNTIME,
                     "no profile was kept with message #%" PRId64 " of chat %" PRId64
                     "; answers of earlier versions have none",
                     number, chat_id);
    return ok;
}

/* ---- as text ---- */

/* Two lines: what was asked of what, and what did it. */
static void put_kept(struct buf *out, const struct kept_prof *k)
{
    char *model = sanitize_line(k->model), *backend = sanitize_line(k->backend),
         *kv_type = sanitize_line(k->kv_type), *build = sanitize_line(k->build);
    buf_printf(out, "%s, KV %s; %u token%s before it", model, kv_type, k->pos, k->pos == 1 ? "" : "s");
    if (k->tokens_per_s > 0)
        buf_printf(out, "; %.1f tokens/s", k->tokens_per_s);
    buf_printf(out, "\n%*s%s, %u thread%s; build %s\n", MARGIN, "", backend, k->n_threads,
               k->n_threads == 1 ? "" : "s", build);
    mem_free(model);
    mem_free(backend);
    mem_free(kv_type);
    mem_free(build);
}

static void put_answer(struct buf *out, const struct answer *a)
{
    buf_printf(out, "#%-2d ", a->number);
    put_kept(out, a->kept);
    for (int phase = 0; phase < PROF_N_PHASES; phase++) {
        struct buf experts = {0};
        profile_table_phase(a->kept->prof, (enum prof_phase)phase, false, out);
        profile_experts_line(&experts, a->kept->prof, (enum prof_phase)phase);
        if (experts.len)
            buf_printf(out, "  %s", experts.data);
        buf_fini(&experts);
    }
}

static void print_buf(struct buf *text)
{
    sessions_print(buf_text(text), text->len);
    buf_fini(text);
}

/* ---- as JSON ---- */

/* What --profile FILE says of a phase, and the busiest expert of all. */
static void add_busiest(json_t *phase_json, const struct prof *p, enum prof_phase phase)
{
    struct profile_busiest most;
    if (profile_find_busiest(p, phase, &most))
        json_object_set_new(json_object_get(phase_json, "experts"), "busiest",
                            json_pack("{s:i, s:i, s:f}", "layer", (int)most.layer, "expert", (int)most.expert,
                                      "share", most.share));
}

static json_t *answer_json(const struct answer *a)
{
    const struct kept_prof *k = a->kept;
    json_t *out = json_pack("{s:I, s:i, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:o}", "chat",
                            (json_int_t)a->chat_id, "number", a->number, "id", (json_int_t)a->msg_id, "build",
                            k->build, "model", k->model, "backend", k->backend, "kv_type", k->kv_type,
                            "threads", (json_int_t)k->n_threads, "pos", (json_int_t)k->pos, "tok_s",
                            k->tokens_per_s > 0 ? json_real(k->tokens_per_s) : json_null());
    json_t *profile = profile_json(k->prof);
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        add_busiest(json_object_get(profile, prof_phase_name((enum prof_phase)phase)), k->prof,
                    (enum prof_phase)phase);
    json_object_update(out, profile);
    json_decref(profile);
    return out;
}

/* ---- all answers ---- */

/* One whose profile is damaged does not hide the others; the last of these sentences becomes the command's.
 */
static void note_damage(int number, const struct err *why, struct err *damage)
{
    if (damage->code)
        report_line("%s", damage->text);
    err_set(damage, why->code, "#%d: %.400s", number, why->text);
}

static bool show_all(struct store *s, int64_t id, bool as_json, struct err *err)
{
    struct chat *chat = sessions_load(s, id, NULL, err);
    if (!chat)
        return false;
    struct buf text = {0};
    struct err damage = {0};
    json_t *all = json_array();
    int n_shown = 0;
    for (int i = 0; i < chat->n_msgs; i++) {
        struct answer a = {.chat_id = id, .number = sessions_number(i), .msg_id = chat->msgs[i].id};
        struct err why = {0};
        if (!store_get_prof(s, a.msg_id, &a.kept, &why))
            note_damage(a.number, &why, &damage);
        if (!a.kept)
            continue;
        if (as_json)
            json_array_append_new(all, answer_json(&a));
        buf_puts(&text, n_shown++ ? "\n" : "");
        put_answer(&text, &a);
        kept_prof_free(a.kept);
    }
    if (as_json)
        sessions_print_json(json_incref(all));
    else
        sessions_print(buf_text(&text), text.len);
    json_decref(all);
    buf_fini(&text);
    chat_free(chat);
    if (damage.code)
        *err = damage;
    else if (!n_shown && !as_json)
        report_line("no profile was kept with an answer of chat %" PRId64
                    "; those of earlier versions have none",
                    id);
    return !damage.code;
}

/* ---- two side by side ---- */

static bool parse_answer(const char *text, const char *end, int64_t own_chat, int64_t *chat, int64_t *number)
{
    char *stop;
    *chat = own_chat;
    errno = 0;
    *number = *text >= '0' && *text <= '9' ? strtoll(text, &stop, 10) : 0;
    if (*number < 1 || errno || *stop != ':')
        return *number >= 1 && !errno && stop == end;
    *chat = *number;
    text = stop + 1;
    *number = *text >= '0' && *text <= '9' ? strtoll(text, &stop, 10) : 0;
    return *number >= 1 && !errno && stop == end;
}

static bool parse_pair(const char *text, int64_t chats[2], int64_t numbers[2], struct err *err)
{
    const char *comma = strchr(text, ',');
    int64_t own = chats[0];
    if (comma && parse_answer(text, comma, own, &chats[0], &numbers[0]) &&
        parse_answer(comma + 1, text + strlen(text), own, &chats[1], &numbers[1]))
        return true;
    return err_set(
        err, ERR_USAGE,
        "--compare: found \"%.60s\", expected two answers A,B by the numbers of `sessions show`; one of "
        "another chat is CHAT:NUMBER",
        text);
}

/* What two profiles differ in but must not, to be about one thing alone. */
static void put_unlike(struct buf *out, const struct kept_prof *a, const struct kept_prof *b)
{
    const struct {
        const char *name;
        bool differs;
    } what[] = {{"model", memcmp(a->fingerprint, b->fingerprint, sizeof a->fingerprint) != 0},
                {"backend", strcmp(a->backend, b->backend) != 0},
                {"threads", a->n_threads != b->n_threads},
                {"KV type", strcmp(a->kv_type, b->kv_type) != 0},
                {"build", strcmp(a->build, b->build) != 0}};
    const char *before = "not the same: ";
    for (size_t i = 0; i < sizeof what / sizeof *what; i++)
        if (what[i].differs) {
            buf_printf(out, "%s%s", before, what[i].name);
            before = ", ";
        }
    if (*before == ',')
        buf_putc(out, '\n');
}

static void print_pair(const struct answer a[2])
{
    struct buf out = {0};
    for (int i = 0; i < 2; i++) {
        buf_printf(&out, "%c   #%d of chat %" PRId64 ": ", 'A' + i, a[i].number, a[i].chat_id);
        put_kept(&out, a[i].kept);
    }
    put_unlike(&out, a[0].kept, a[1].kept);
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        profile_compare(&out, a[0].kept->prof, a[1].kept->prof, (enum prof_phase)phase);
    if (a[0].kept->prof->shape.n_experts || a[1].kept->prof->shape.n_experts)
        buf_putc(&out, '\n');
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        for (int i = 0; i < 2; i++) {
            struct buf line = {0};
            profile_experts_line(&line, a[i].kept->prof, (enum prof_phase)phase);
            if (line.len)
                buf_printf(&out, "%s %c: %s", prof_phase_name((enum prof_phase)phase), 'A' + i, line.data);
            buf_fini(&line);
        }
    print_buf(&out);
}

static json_t *ratio_of(const struct prof *a, const struct prof *b, enum prof_phase phase, uint64_t a_ns,
                        uint64_t b_ns)
{
    double ratio;
    return profile_ratio(a, b, phase, a_ns, b_ns, &ratio) ? json_real(ratio) : json_null();
}

/* {all, ops: {name: ratio}}: ms per token of b / a; null where one has none. */
static json_t *ratios_json(const struct prof *a, const struct prof *b, enum prof_phase phase)
{
    json_t *ops = json_object();
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry of_a = prof_sum(a, phase, (enum prof_op)op),
                          of_b = prof_sum(b, phase, (enum prof_op)op);
        if (of_a.calls || of_b.calls)
            json_object_set_new(ops, prof_op_name((enum prof_op)op), ratio_of(a, b, phase, of_a.ns, of_b.ns));
    }
    return json_pack("{s:o, s:o}", "all",
                     ratio_of(a, b, phase, profile_phase_ns(a, phase), profile_phase_ns(b, phase)), "ops",
                     ops);
}

static void print_pair_json(const struct answer a[2])
{
    json_t *ratios = json_object();
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        json_object_set_new(ratios, prof_phase_name((enum prof_phase)phase),
                            ratios_json(a[0].kept->prof, a[1].kept->prof, (enum prof_phase)phase));
    sessions_print_json(
        json_pack("{s:o, s:o, s:o}", "a", answer_json(&a[0]), "b", answer_json(&a[1]), "ratio", ratios));
}

static bool compare(struct store *s, const struct options *o, int64_t id, struct err *err)
{
    int64_t chats[2] = {id, id}, numbers[2];
    struct answer a[2] = {{0}, {0}};
    bool ok = parse_pair(opt_text(o, OPT_COMPARE), chats, numbers, err) &&
              load_answer(s, chats[0], numbers[0], &a[0], err) &&
              load_answer(s, chats[1], numbers[1], &a[1], err);
    if (ok && opt_flag(o, OPT_JSON))
        print_pair_json(a);
    else if (ok)
        print_pair(a);
    kept_prof_free(a[0].kept);
    kept_prof_free(a[1].kept);
    return ok;
}

/* ---- experts of one ---- */

static bool print_csv(struct store *s, const struct options *o, int64_t id, struct err *err)
{
    struct answer a;
    bool ok = load_answer(s, id, opt_int(o, OPT_CSV, 0), &a, err);
    if (ok && !a.kept->prof->shape.n_experts)
        ok = err_set(err, ERR_RUNTIME,
                     "message #%d of chat %" PRId64
                     " was written by a model without experts (%.100s); there is nothing "
                     "to count",
                     a.number, id, a.kept->model);
    struct buf out = {0};
    if (ok)
        profile_csv(&out, a.kept->prof);
    print_buf(&out);
    kept_prof_free(a.kept);
    return ok;
}

bool sessions_show_profile(struct store *s, const struct options *o, int64_t id, struct err *err)
{
    if (opt_given(o, OPT_CSV))
        return print_csv(s, o, id, err);
    if (opt_given(o, OPT_COMPARE))
        return compare(s, o, id, err);
    return show_all(s, id, opt_flag(o, OPT_JSON), err);
}
