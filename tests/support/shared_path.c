#include "tests/support/shared_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *shared_path(const char *name)
{
    static char path[1024];
    const char *folder = getenv("FERRUM_SHARED");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "", name);
    if (folder && access(path, R_OK) == 0)
        return path;
    printf("skipped: FERRUM_SHARED has no %s\n", name);
    return NULL;
}
