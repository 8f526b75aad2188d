#include "engine/base/prof.h"

const char *prof_op_name(enum prof_op op)
{
    static const char *const names[PROF_N_OPS] = {
#define PROF_NAME(id, name) [PROF_##id] = name,
        PROF_OPS(PROF_NAME)
#undef PROF_NAME
    };
    return (unsigned)op < PROF_N_OPS ? names[op] : "?";
}
