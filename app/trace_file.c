#include "app/trace_file.h"

#include <inttypes.h>

#include "app/out_file.h"

enum { TRACK_STEPS = 1, TRACK_OPS };

struct writer {
    FILE *file;
    const struct trace *trace;
    uint64_t origin_ns;
};

static uint64_t first_ns(const struct trace *t)
{
    uint64_t first = UINT64_MAX;
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        if (trace_n_steps(t, (enum prof_phase)phase)) {
            uint64_t start_ns = trace_step_at(t, (enum prof_phase)phase, 0)->start_ns;
            first = start_ns < first ? start_ns : first;
        }
    return first;
}

/* Every line but the last ends with a comma: the names of the tracks come last. */
static void write_track(FILE *file, int track, const char *name, const char *end)
{
    fprintf(file,
            "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"args\":{\"name\":\"%s\"}}%s\n",
            track, name, end);
}

static void begin_event(const struct writer *w, const char *name, enum prof_phase phase, int track,
                        uint64_t start_ns, uint64_t ns)
{
    uint64_t at_ns = start_ns - w->origin_ns;
    fprintf(w->file,
            "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%" PRIu64 ".%03" PRIu64
            ",\"dur\":%" PRIu64 ".%03" PRIu64 ",\"args\":{",
            name, prof_phase_name(phase), track, at_ns / 1000, at_ns % 1000, ns / 1000, ns % 1000);
}

static void write_step(const struct writer *w, enum prof_phase phase, const struct trace_step *step)
{
    begin_event(w, phase == PROF_DECODE ? "token" : "prefill", phase, TRACK_STEPS, step->start_ns,
                step->end_ns - step->start_ns);
    fprintf(w->file, "\"position\":%" PRIu64 ",\"tokens\":%" PRIu32 "}},\n", step->pos, step->n_tokens);
    for (uint32_t i = 0; i < step->n_ops; i++) {
        const struct trace_op *op = trace_op_at(w->trace, phase, step, i);
        begin_event(w, prof_op_name((enum prof_op)op->op), phase, TRACK_OPS, op->start_ns, op->ns);
        if (op->layer < trace_n_layers(w->trace))
            fprintf(w->file, "\"layer\":%u,", (unsigned)op->layer);
        fprintf(w->file, "\"bytes\":%" PRIu64 "}},\n", op->bytes);
    }
}

bool trace_file_write(const struct trace *trace, const char *path, struct err *err)
{
    struct out_file out;
    bool ok = out_file_open(&out, "--trace", path, err);
    struct writer w = {out.file, trace, first_ns(trace)};
    if (ok) {
        fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", out.file);
        for (int phase = 0; phase < PROF_N_PHASES; phase++)
            for (size_t i = 0; i < trace_n_steps(trace, (enum prof_phase)phase); i++)
                write_step(&w, (enum prof_phase)phase, trace_step_at(trace, (enum prof_phase)phase, i));
        write_track(out.file, TRACK_STEPS, "tokens", ",");
        write_track(out.file, TRACK_OPS, "operations", "");
        fputs("]}\n", out.file);
        ok = !ferror(out.file) || out_file_fail(&out, err);
    }
    return out_file_close(&out, ok, err);
}
