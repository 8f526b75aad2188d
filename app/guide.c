#include "app/guide.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"

const char guide_name[] = "ferrum guide";
const char guide_note[] =
    "This is the built-in guide; it knows only ferrum-chat: ask it how to resume a chat, for example. "
    "Load a model with: ferrum-chat MODEL.gguf";

/* The directory of the running program, "" when the system does not say. */
static void program_directory(char *out, size_t n)
{
    ssize_t got = readlink("/proc/self/exe", out, n - 1);
    out[got > 0 && (size_t)got < n - 1 ? got : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
}

char *guide_path(void)
{
    char directory[4096];
    struct buf path = {0};
    program_directory(directory, sizeof directory);
    if (!*directory)
        return NULL;
    buf_printf(&path, "%s/%s", directory, FERRUM_GUIDE_FROM_PROGRAM);
    char *absolute = realpath(buf_text(&path), NULL);
    char *own = absolute && !access(absolute, R_OK) ? mem_strdup(absolute) : NULL;
    free(absolute);
    buf_fini(&path);
    return own;
}
