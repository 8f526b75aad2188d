#include "tests/engine/engine_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void wait_event(struct engine *e, struct engine_event *event)
{
    while (!engine_next_event(e, event)) {
        struct pollfd p = {.fd = engine_event_fd(e), .events = POLLIN};
        assert_true(poll(&p, 1, 60000) > 0);
    }
}

struct engine *open_ready(const struct engine_options *options)
{
    struct engine_event event;
    struct engine *e = engine_open(options, NULL);
    assert_non_null(e);
    do {
        wait_event(e, &event);
        assert_int_not_equal(event.type, ENGINE_FAILED);
    } while (event.type != ENGINE_READY);
    return e;
}
