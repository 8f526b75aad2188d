#include "engine/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set(struct err *err, enum err_code code, const char *format, ...)
{
    if (!err)
        return false;
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}

bool err_prefix(struct err *err, const char *format, ...)
{
    if (!err)
        return false;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    /* Cut at the end, as everywhere in this struct. */
    size_t at = n < 0 ? 0 : (size_t)n < sizeof err->text - 3 ? (size_t)n : sizeof err->text - 3;
    memcpy(err->text + at, ": ", 3);
    strncat(err->text, old, sizeof err->text - at - 3);
    return false;
}

void err_clear(struct err *err)
{
    if (err)
        *err = (struct err){0};
}
