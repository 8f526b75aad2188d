/* What kill -9 leaves of the KV cache: a process that computes and saves a chat is killed at a random moment,
 * and whoever comes next finds a sound file, every row that was acknowledged, and the logits of a run that
 * nobody interrupted.
 *
 * The process is this program again ("write MODEL DB TYPE CHAT SEED"): it tells its progress over a pipe.
 * Killed processes leave one file that lives on, but for some rounds that begin without any. Each chat is
 * continued in several rounds, so that what an earlier one acknowledged is asked for later. An argument is
 * the number of rounds with rows of f32 (20 without; 200 as a benchmark); the other types get half of them.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "engine/base/mem.h"
#include "engine/timeline.h"
#include "kernels_cpu/backend_cpu.h"
#include "store/kv_io.h"
#include "tests/store/temp_dir.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/tiny_model.h"

#define N_TOKENS 330 /* of a chat: five whole blocks and a tail */
#define N_SHARED 100 /* with which every chat begins, as with a system prompt */
#define N_CTX 512
#define LIMIT_BLOCKS 28 /* of the file: old chats are evicted, those in use (and what comes between) fit */
#define CHATS_IN_USE 3
#define ROUNDS_PER_FILE 40
#define ROUNDS_WITHOUT 3 /* the first of them: the file is being made */
#define MOST_RECORDS 75  /* about as many as a writer has to tell */
#define TOLERANCE 1e-6   /* of logits */
#define PATIENCE_MS 20000
#define WRITER_FD 3

static int n_rounds_f32 = 20;

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void make_chat(int32_t *ids, uint32_t chat)
{
    uint32_t shared = 1, own = 1000 + chat;
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = 3 + (int32_t)(next(i < N_SHARED ? &shared : &own) % (TINY_N_VOCAB - 3));
}

/* --- the file and the model, the same for both processes --- */

struct place {
    struct backend cpu;
    struct model *model;
    enum dtype kv_type;
    char path[512]; /* of kv.db */
};

static bool open_place(struct place *p, int n_threads, const char *model_path, struct err *err)
{
    return backend_cpu_open(&p->cpu, n_threads, forced_cpu(), err) &&
           (p->model = model_load(model_path, &p->cpu, NULL, err));
}

static struct kv_db_options db_options(const struct place *p)
{
    size_t token_bytes = timeline_kv_bytes(p->model, p->kv_type);
    return (struct kv_db_options){.path = p->path, .limit_bytes = LIMIT_BLOCKS * 64 * token_bytes};
}

static struct kv_io *open_io(const struct place *p, struct err *err)
{
    struct kv_io_options options = {.db = db_options(p), .label = "tiny", .numerics = "cpu"};
    options.space.fingerprint[0] = 1;
    options.space.token_bytes = (uint32_t)timeline_kv_bytes(p->model, p->kv_type);
    snprintf(options.space.kv_type, sizeof options.space.kv_type, "%s", dtype_info(p->kv_type)->name);
    return kv_io_open(&options, err);
}

static struct timeline *open_timeline(const struct place *p, const struct kv_shelf *shelf, struct err *err)
{
    const struct timeline_options options = {
        .n_ctx = N_CTX, .kv_type = p->kv_type, .n_batch = 32, .shelf = shelf};
    return timeline_new(p->model, &options, err);
}

/* --- the process that is killed --- */

enum news { NEWS_MODEL, NEWS_COMPUTED, NEWS_OFFERED, NEWS_KEPT, NEWS_END };

/* n: tokens. NEWS_KEPT acknowledges them. */
struct record {
    uint32_t news, n;
};

struct writer {
    struct place place;
    struct kv_io *io;
    struct timeline *timeline;
    int32_t ids[N_TOKENS];
    uint32_t seed;
};

static void say(enum news news, size_t n)
{
    const struct record r = {news, (uint32_t)n};
    if (write(WRITER_FD, &r, sizeof r) != sizeof r)
        _exit(4);
}

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "kv_kill_test, writing: %s: %s\n", what, why);
    _exit(3);
}

static void expect_saving(struct writer *w)
{
    struct kv_io_stats stats;
    kv_io_stats(w->io, &stats);
    if (stats.off || stats.why.code)
        give_up("kv.db", stats.why.text);
}

/* As at the end of a turn; what found no room is offered again. */
static void end_turn(struct writer *w, bool wait)
{
    size_t n = timeline_length(w->timeline);
    size_t n_left = timeline_save(w->timeline);
    say(NEWS_OFFERED, n);
    if (!wait)
        return;
    while (n_left) {
        kv_io_flush(w->io, PATIENCE_MS);
        n_left = timeline_save(w->timeline);
    }
    if (!kv_io_flush(w->io, PATIENCE_MS))
        give_up("kv.db", "not written in time");
    expect_saving(w);
    say(NEWS_KEPT, n);
}

static void compute(struct writer *w, size_t n)
{
    struct err err = {0};
    size_t at = timeline_length(w->timeline);
    n = n < N_TOKENS - at ? n : N_TOKENS - at;
    if (!timeline_eval(w->timeline, w->ids + at, n, NULL, NULL, &err))
        give_up("computing", err.text);
    say(NEWS_COMPUTED, at + n);
}

/* Turns: a prompt in one uneven batch, an answer token by token, and its end. */
static void write_chat(struct writer *w)
{
    struct load_stats stats;
    timeline_keep(w->timeline, w->ids, N_TOKENS);
    timeline_load(w->timeline, w->ids, N_TOKENS, NULL, &stats);
    while (timeline_length(w->timeline) < N_TOKENS) {
        compute(w, 1 + next(&w->seed) % 60);
        for (uint32_t i = next(&w->seed) % 20; i && timeline_length(w->timeline) < N_TOKENS; i--)
            compute(w, 1);
        end_turn(w, next(&w->seed) % 3 == 0);
    }
    end_turn(w, true);
}

static int run_writer(char **args)
{
    static struct writer w;
    struct err err = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the tests end before it */
    snprintf(w.place.path, sizeof w.place.path, "%s", args[1]);
    w.place.kv_type = (enum dtype)atoi(args[2]);
    make_chat(w.ids, (uint32_t)atoi(args[3]));
    w.seed = (uint32_t)atoi(args[4]);
    if (!open_place(&w.place, 2, args[0], &err))
        give_up("the model", err.text);
    say(NEWS_MODEL, 0);
    if (!(w.io = open_io(&w.place, &err)) || !(w.timeline = open_timeline(&w.place, kv_io_shelf(w.io), &err)))
        give_up("the timeline", err.text);
    write_chat(&w);
    say(NEWS_END, N_TOKENS);
    for (;;)
        pause();
}

/* --- the process that kills --- */

struct killer {
    struct place place;
    uint32_t seed;
    size_t *kept; /* [chats]: tokens acknowledged, as long as the file lives */
    int n_chats;
    /* for the line at the end */
    int n_half, n_fresh, n_exact;
    size_t n_kept, n_loaded;
    uint64_t n_verified;
    double worst;
};

static char model_path[512];

static pid_t start_writer(const struct killer *k, int chat, int fd)
{
    extern char **environ;
    char type[16], chat_text[16], seed[16];
    posix_spawn_file_actions_t actions;
    pid_t pid;
    snprintf(type, sizeof type, "%d", (int)k->place.kv_type);
    snprintf(chat_text, sizeof chat_text, "%d", chat);
    snprintf(seed, sizeof seed, "%u", k->seed & 0xFFFFFF);
    char *args[] = {(char *)"kv_kill_test",
                    (char *)"write",
                    model_path,
                    (char *)k->place.path,
                    type,
                    chat_text,
                    seed,
                    NULL};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, WRITER_FD);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, args, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

/* Reads until n_wanted records have come (0: all), or the last; notes what is acknowledged. */
static void listen(int fd, uint32_t n_wanted, size_t *kept)
{
    struct record r;
    for (uint32_t n = 0; (!n_wanted || n < n_wanted) && read(fd, &r, sizeof r) == sizeof r; n++) {
        if (r.news == NEWS_KEPT && r.n > *kept)
            *kept = r.n;
        if (r.news == NEWS_END)
            return;
    }
}

/* Delays are as often below 100 us as above, 8 ms at most: short ones hit what follows the record. */
static void kill_writer(struct killer *k, int chat, uint32_t n_records)
{
    int fds[2], status;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = start_writer(k, chat, fds[1]);
    close(fds[1]);
    listen(fds[0], n_records, &k->kept[chat]);
    uint32_t most_us = 1u << next(&k->seed) % 14;
    usleep(next(&k->seed) % most_us);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    listen(fds[0], 0, &k->kept[chat]);
    close(fds[0]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("the writing process ended by itself: status 0x%x", (unsigned)status);
}

static bool is_half_written(const struct killer *k)
{
    char journal[600];
    struct stat st;
    snprintf(journal, sizeof journal, "%s-journal", k->place.path);
    return stat(journal, &st) == 0 && st.st_size > 0;
}

static void expect_answer(sqlite3 *db, const char *question, const char *expected)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, question, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    const char *answer = (const char *)sqlite3_column_text(stmt, 0);
    if (!answer || strcmp(answer, expected) != 0)
        fail_msg("%s: \"%s\", expected \"%s\"", question, answer ? answer : "", expected);
    sqlite3_finalize(stmt);
}

/* What the tables say of each other. */
static void expect_sound(const char *path)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    expect_answer(db, "PRAGMA integrity_check", "ok");
    expect_answer(db, "SELECT count(*) FROM pragma_foreign_key_check", "0");
    expect_answer(db, "SELECT count(*) FROM kv_block WHERE id NOT IN (SELECT id FROM kv_data)", "0");
    expect_answer(db,
                  "SELECT value - (SELECT coalesce(sum(n_bytes), 0) FROM kv_block) FROM kv_stat"
                  " WHERE name='bytes'",
                  "0");
    sqlite3_close(db);
}

/* The file is used as it is, and every block has the bytes that were saved. */
static void expect_verified(struct killer *k)
{
    struct err note = {0}, err = {0};
    struct kv_db_verdict verdict;
    const struct kv_db_options options = db_options(&k->place);
    struct kv_db *db = kv_db_open(&options, &note, &err);
    if (!db || note.code)
        fail_msg("%s%s", err.text, note.text);
    if (!kv_db_verify(db, NULL, NULL, &verdict, &err))
        fail_msg("%s", err.text);
    kv_db_close(db);
    assert_int_equal(verdict.n_damaged, 0);
    assert_int_equal(verdict.n_dropped, 0);
    k->n_verified += verdict.n_blocks;
    expect_sound(k->place.path);
}

static bool refuse(void *ctx, const struct kv_block *block, atomic_uint *pins)
{
    (void)ctx, (void)block, (void)pins;
    return false;
}

/* Logits of the tokens behind those that the shelf had; returns how many it had. */
static size_t resume(struct killer *k, const int32_t *ids, struct kv_io *io, float *logits)
{
    struct load_stats stats;
    struct kv_shelf shelf = *kv_io_shelf(io);
    shelf.offer = refuse; /* the next round finds what the killed process left */
    struct timeline *t = open_timeline(&k->place, &shelf, NULL);
    assert_non_null(t);
    timeline_keep(t, ids, N_TOKENS);
    size_t n = timeline_load(t, ids, N_TOKENS, NULL, &stats);
    assert_int_equal(stats.damaged_blocks, 0);
    assert_true(timeline_eval(t, ids + n, N_TOKENS - n, NULL, logits + n * TINY_N_VOCAB, NULL));
    timeline_free(t);
    return n;
}

static void run_uninterrupted(struct killer *k, const int32_t *ids, float *logits)
{
    struct timeline *t = open_timeline(&k->place, NULL, NULL);
    assert_non_null(t);
    assert_true(timeline_eval(t, ids, N_TOKENS, NULL, logits, NULL));
    timeline_free(t);
}

static void expect_equal(struct killer *k, const float *logits, const float *expected, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)logits[i] - (double)expected[i]);
        worst = difference <= worst ? worst : difference; /* not a number counts as worst */
    }
    if (!(worst <= TOLERANCE))
        fail_msg("logits after the resume differ by %g", worst);
    k->worst = worst > k->worst ? worst : k->worst;
    k->n_exact += memcmp(logits, expected, n * sizeof *logits) == 0;
}

static void expect_resumes(struct killer *k, int chat)
{
    static float logits[N_TOKENS * TINY_N_VOCAB], expected[N_TOKENS * TINY_N_VOCAB];
    int32_t ids[N_TOKENS];
    make_chat(ids, (uint32_t)chat);
    struct kv_io *io = open_io(&k->place, NULL);
    assert_non_null(io);
    size_t n = resume(k, ids, io, logits), least = k->kept[chat] < N_TOKENS ? k->kept[chat] : N_TOKENS - 1;
    assert_true(kv_io_close(io, PATIENCE_MS));
    if (n < least)
        fail_msg("%zu tokens are there, %zu were acknowledged", n, k->kept[chat]);
    run_uninterrupted(k, ids, expected);
    expect_equal(k, logits + n * TINY_N_VOCAB, expected + n * TINY_N_VOCAB, (N_TOKENS - n) * TINY_N_VOCAB);
    k->n_kept += least;
    k->n_loaded += n;
}

static void start_without_file(struct killer *k)
{
    unlink(k->place.path);
    memset(k->kept, 0, (size_t)k->n_chats * sizeof *k->kept);
    k->n_fresh++;
}

static void run_round(struct killer *k, int round)
{
    int back = (int)(next(&k->seed) % CHATS_IN_USE), newest = round / 2;
    bool fresh = round % ROUNDS_PER_FILE < ROUNDS_WITHOUT;
    if (fresh)
        start_without_file(k);
    kill_writer(k, newest > back ? newest - back : 0, fresh ? 1 : 1 + next(&k->seed) % MOST_RECORDS);
    k->n_half += is_half_written(k);
    char bad[600];
    snprintf(bad, sizeof bad, "%s.bad", k->place.path);
    expect_verified(k);
    expect_resumes(k, newest > back ? newest - back : 0);
    assert_int_equal(access(bad, F_OK), -1);
}

static void kill_often(void **state, enum dtype kv_type, int n_rounds)
{
    static struct killer k;
    const char *name = dtype_info(kv_type)->name;
    struct err err = {0};
    k = (struct killer){.place.kv_type = kv_type, .seed = 7 + (uint32_t)kv_type};
    if (!open_place(&k.place, 1, model_path, &err))
        fail_msg("%s", err.text);
    snprintf(k.place.path, sizeof k.place.path, "%s/%s/kv.db", (const char *)*state, name);
    k.n_chats = n_rounds / 2 + 1;
    k.kept = mem_need((size_t)k.n_chats * sizeof *k.kept);
    for (int round = 0; round < n_rounds; round++)
        run_round(&k, round);
    print_message("%s: %d kills, %d in the middle of a transaction, %d with a file just begun; %zu tokens "
                  "acknowledged, %zu found; %llu blocks verified, 0 damaged; logits differ by %g at most, %d "
                  "of %d bit for bit equal\n",
                  name, n_rounds, k.n_half, k.n_fresh, k.n_kept, k.n_loaded, (unsigned long long)k.n_verified,
                  k.worst, k.n_exact, n_rounds);
    mem_free(k.kept);
    model_free(k.place.model);
    backend_close(&k.place.cpu);
}

static void kv_kill__f32_rows__same_logits(void **state)
{
    kill_often(state, DTYPE_F32, n_rounds_f32);
}

static void kv_kill__f16_rows__same_logits(void **state)
{
    kill_often(state, DTYPE_F16, n_rounds_f32 / 2);
}

static void kv_kill__int8_rows__same_logits(void **state)
{
    kill_often(state, DTYPE_I8, n_rounds_f32 / 2);
}

static int set_up(void **state)
{
    const struct tiny_options options = {.arch = "qwen3", .type = DTYPE_F32, .seed = 3};
    if (temp_dir_setup(state) != 0)
        return -1;
    snprintf(model_path, sizeof model_path, "%s", temp_path(state, "tiny.gguf"));
    return tiny_model_save(&options, model_path) ? 0 : -1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_kill__f32_rows__same_logits),
        cmocka_unit_test(kv_kill__f16_rows__same_logits),
        cmocka_unit_test(kv_kill__int8_rows__same_logits),
    };
    if (argc == 7 && strcmp(argv[1], "write") == 0)
        return run_writer(argv + 2);
    n_rounds_f32 = argc > 1 ? atoi(argv[1]) : n_rounds_f32;
    if (n_rounds_f32 < 2) {
        fprintf(stderr, "usage: kv_kill_test [ROUNDS]\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, set_up, temp_dir_teardown);
}
