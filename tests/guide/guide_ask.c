/* guide_ask.c: asks a model many questions, each in a chat of its own and greedily, without starting the
 * program for each. Questions are lines of standard input; standard output gets JSON: {answers: [text],
 * experts: [[tokens given to each expert] of each layer]}. For the tests of the built-in guide. */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/engine.h"
#include "kernels_cpu/backend_cpu.h"

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

static json_t *ask(struct engine *e, const char *question, size_t n)
{
    struct engine_request r = {.sampler = sampler_defaults(), .n_predict = LONGEST};
    struct engine_event event;
    struct buf text = {0};
    struct err err = {0};
    uint64_t number;
    r.sampler.temp = 0.0f;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_strndup(question, n), .n_bytes = n};
    if (!engine_submit(e, &r, &number, &err))
        fail("a question", &err);
    do {
        next_event(e, &event);
        if (event.type == ENGINE_TOKEN && !event.end)
            buf_append(&text, event.text, event.n_text);
    } while (event.type != ENGINE_DONE);
    if (event.reason == FINISH_ERROR)
        fail("a question", &event.error);
    json_t *answer = json_stringn(buf_text(&text), text.len);
    buf_fini(&text);
    return answer;
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
    while ((n = getline(&line, &room, stdin)) > 0)
        json_array_append_new(answers, ask(e, line, (size_t)n - (line[n - 1] == '\n')));
    free(line);
    json_t *all = json_pack("{s:o, s:o}", "answers", answers, "experts", experts(e));
    json_dumpf(all, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(all);
    engine_close(e);
    backend_close(&backend);
    return 0;
}
