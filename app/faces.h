/* faces.h: the three ways a chat meets the world. Each runs to its end and returns the exit code.
 * signal_fd comes from signals_open; options and paths are the caller's. */
#ifndef FERRUM_FACES_H
#define FERRUM_FACES_H

#include "app/options.h"
#include "app/paths.h"

/* The full screen (chat_loop.c). */
int chat_loop_run(const struct options *o, const struct paths *paths, const struct environment *env,
                  int signal_fd);
/* A line loop for terminals without escapes (plain_loop.c). */
int plain_loop_run(const struct options *o, const struct paths *paths, int signal_fd);
/* One answer on standard output (one_turn.c). */
int one_turn_run(const struct options *o, const struct paths *paths, const struct environment *env,
                 int signal_fd);

#endif
