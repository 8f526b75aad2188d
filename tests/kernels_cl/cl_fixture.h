/* cl_fixture.h: what the tests of the OpenCL backend share: opening it, and one operation run by it and by
 * the f64 reference (ref_backend.h) on the same numbers. Failures end the test (cmocka assertions). */
#ifndef FERRUM_CL_FIXTURE_H
#define FERRUM_CL_FIXTURE_H

#include "engine/backend.h"

/* The backend in a style ("gpu", "cpu"), and the reference. False, with a line, where there is no device. */
struct cl_world {
    struct backend cl, ref;
    const char *style;
};
bool cl_world_open(struct cl_world *w, const char *style);
void cl_world_close(struct cl_world *w);

/* One world per style, for a whole group of tests; none where there is no device. */
extern struct cl_world cl_worlds[2];
extern int n_cl_worlds;
/* Set-up and tear-down of the group. */
int cl_worlds_open(void **state);
int cl_worlds_close(void **state);

/* Set before worlds are opened: nothing stays in host memory, whose content Oclgrind takes for unwritten. */
extern bool cl_copies;
/* The fixture's own: from cl_world_open to cl_world_close. */
void cl_watch(void *backend);
void cl_unwatch(void);
/* Ends the test unless every kernel that a text declares ("KERNEL name(") was launched by operations of both
 * worlds, in every program of the groups first .. first + n; known answers (cl_check.c) do not count.
 * `other`: a kernel of the text that another test looks at, or NULL. */
void cl_expect_launched(const char *text, int first_group, int n_groups, const char *other);

/* The same buffer in both. */
struct twin {
    struct bbuf *cl, *ref;
    size_t n;
};
/* n floats with guards behind them; content NULL: guard values. */
struct twin twin_new(struct cl_world *w, const float *content, size_t n);
struct twin twin_normal(struct cl_world *w, size_t n, uint32_t seed);
void twin_free(struct cl_world *w, struct twin *t);
/* The difference of the first n floats, sum of squares by that of the reference; guards are looked at. */
double twin_nmse(struct cl_world *w, const struct twin *t);
/* Ends the test when it is above the limit, or no number. */
void twin_expect(struct cl_world *w, const struct twin *t, double limit, const char *what);

/* Random rows of a type, as a tensor [n, k] (or [n_experts, n, k]) whose bytes lie at an odd address if odd.
 */
struct rows {
    struct tensor tensor;
    unsigned char *bytes;
};
struct rows rows_new(enum dtype type, size_t n_experts, size_t n, size_t k, bool odd, uint32_t seed);
void rows_free(struct rows *r);

#endif
