#include "app/profile_file.h"

#include <errno.h>
#include <string.h>

static json_t *phase_json(const struct prof *prof, enum prof_phase phase)
{
    json_t *ops = json_array();
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry e = prof_sum(prof, phase, (enum prof_op)op);
        json_array_append_new(ops, json_pack("{s:s, s:f, s:I, s:I}", "op", prof_op_name((enum prof_op)op),
                                             "ms", (double)e.ns / 1e6, "calls", (json_int_t)e.calls, "bytes",
                                             (json_int_t)e.bytes));
    }
    return json_pack("{s:I, s:o}", "tokens", (json_int_t)prof->n_tokens[phase], "ops", ops);
}

json_t *profile_json(const struct prof *prof)
{
    return json_pack("{s:o, s:o}", "prefill", phase_json(prof, PROF_PREFILL), "decode",
                     phase_json(prof, PROF_DECODE));
}

bool profile_file_write(const struct prof *prof, const char *path, struct err *err)
{
    json_t *root = profile_json(prof);
    errno = 0;
    bool ok = json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0;
    json_decref(root);
    return ok || err_set(err, ERR_RUNTIME, "--profile %s: the timers cannot be written: %s", path,
                         errno ? strerror(errno) : "unknown reason");
}
