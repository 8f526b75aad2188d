/* guide_ask.c: asks a model many questions, each line of standard input in a chat of its own and greedily,
 * without starting the program for each; tabs part the turns of a chat. Standard output gets JSON: {answers:
 * [text of the last answer], experts: [[tokens given to each expert] of each layer]}. For the tests of the
 * built-in guide. */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/engine.h"
#include "kernels_cpu/backend_cpu.h"

#define MOST_TURNS 4
#define LONGEST 120 /* tokens of an answer: the guide's longest has about 90 */

static void fail(const char *what, const struct err *err)
{
    fprintf(stderr, "guide_ask: %s: %s\n", what, err->text);
    exit(1);
}

/* Waits for the next event of any type. */
static void next_event(struct engine *e, struct engine_event *event)
{
    while (!engine_next_event(e, event)) {
        struct pollfd p = {.fd = engine_event_fd(e), .events = POLLIN};
        poll(&p, 1, -1);
    }
    mem_free(event->ids);
    mem_free(event->n_ids_of);
}

static struct engine *open_engine(const char *path, struct backend *backend)
{
    struct err err = {0};
    struct engine_event event;
    if (!backend_cpu_open(backend, backend_cpu_cores(), NULL, &err))
        fail("the CPU", &err);
    const struct engine_options options = {.model_path = path, .backend = backend, .kv_type = DTYPE_F16};
    struct engine *e = engine_open(&options, &err);
    if (!e)
        fail(path, &err);
    do {
        next_event(e, &event);
        if (event.type == ENGINE_FAILED)
            fail(path, &event.error);
    } while (event.type != ENGINE_READY);
    return e;
}

/* Sends the messages, which the request takes, and appends the answer to the text. */
static void answer(struct engine *e, struct engine_msg *msgs, size_t n_msgs, struct buf *text)
{
    struct engine_request r = {
        .sampler = sampler_defaults(), .n_predict = LONGEST, .n_msgs = n_msgs, .msgs = msgs};
    struct engine_event event;
    struct err err = {0};
    uint64_t number;
    r.sampler.temp = 0.0f;
    if (!engine_submit(e, &r, &number, &err))
        fail("a question", &err);
    do {
        next_event(e, &event);
        if (event.type == ENGINE_TOKEN && !event.end)
            buf_append(text, event.text, event.n_text);
    } while (event.type != ENGINE_DONE);
    if (event.reason == FINISH_ERROR)
        fail("a question", &event.error);
}

static struct engine_msg message(enum chat_role role, const char *text, size_t n)
{
    return (struct engine_msg){.role = role, .text = mem_strndup(text, n), .n_bytes = n};
}

/* The answer to the last turn of a chat whose turns are parted by tabs. */
static json_t *ask(struct engine *e, const char *line)
{
    struct buf turns[MOST_TURNS] = {0}; /* the answers */
    const char *questions[MOST_TURNS];
    size_t n_turns = 0;
    for (const char *at = line; at && n_turns < MOST_TURNS; n_turns++) {
        questions[n_turns] = at;
        at = strchr(at, '\t');
        at = at ? at + 1 : NULL;
        struct engine_msg *msgs = mem_need((2 * n_turns + 1) * sizeof *msgs);
        for (size_t i = 0; i <= n_turns; i++) {
            msgs[2 * i] = message(CHAT_USER, questions[i], strcspn(questions[i], "\t"));
            if (i < n_turns)
                msgs[2 * i + 1] = message(CHAT_ASSISTANT, buf_text(&turns[i]), turns[i].len);
        }
        answer(e, msgs, 2 * n_turns + 1, &turns[n_turns]);
    }
    json_t *last = json_stringn(buf_text(&turns[n_turns - 1]), turns[n_turns - 1].len);
    for (size_t i = 0; i < n_turns; i++)
        buf_fini(&turns[i]);
    return last;
}

static json_t *experts(const struct engine *e)
{
    struct prof *prof = NULL;
    struct err err = {0};
    if (!engine_prof(e, &prof, &err))
        fail("the profile", &err);
    json_t *layers = json_array();
    for (uint32_t layer = 0; layer < prof->shape.n_layers; layer++) {
        json_t *counts = json_array();
        for (uint32_t i = 0; i < prof->shape.n_experts; i++)
            json_array_append_new(counts,
                                  json_integer((json_int_t)(prof_pairs(prof, PROF_PREFILL, layer)[i] +
                                                            prof_pairs(prof, PROF_DECODE, layer)[i])));
        json_array_append_new(layers, counts);
    }
    prof_free(prof);
    return layers;
}

int main(int argc, char **argv)
{
    struct backend backend;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    if (argc != 2) {
        fputs("usage: guide_ask GUIDE.gguf <QUESTIONS\n", stderr);
        return 2;
    }
    struct engine *e = open_engine(argv[1], &backend);
    json_t *answers = json_array();
    while ((n = getline(&line, &room, stdin)) > 0) {
        line[n - (line[n - 1] == '\n')] = '\0';
        json_array_append_new(answers, ask(e, line));
    }
    free(line);
    json_t *all = json_pack("{s:o, s:o}", "answers", answers, "experts", experts(e));
    json_dumpf(all, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(all);
    engine_close(e);
    backend_close(&backend);
    return 0;
}
