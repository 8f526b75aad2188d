/* engine_fixture.h: what the tests of the engine share: opening one and waiting for its events. Failures end
 * the test (cmocka assertions). */
#ifndef FERRUM_TEST_ENGINE_FIXTURE_H
#define FERRUM_TEST_ENGINE_FIXTURE_H

#include "engine/engine.h"

/* Waits for the next event, a minute at most. */
void wait_event(struct engine *e, struct engine_event *event);

/* Opens an engine and waits until its model is loaded. */
struct engine *open_ready(const struct engine_options *options);

#endif
