/* open_store.h: opens a chat database that a test needs; where it does not open, the test fails with the
 * sentence. */
#ifndef FERRUM_TESTS_OPEN_STORE_H
#define FERRUM_TESTS_OPEN_STORE_H

#include "store/store.h"

/* To be closed with store_close. cmocka.h comes before this header. */
static inline struct store *open_ok(const char *path)
{
    struct err err = {0};
    struct store *s = store_open(path, STORE_READ_WRITE, &err);
    if (!s)
        fail_msg("%s", err.text);
    return s;
}

#endif
