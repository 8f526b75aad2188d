/* sessions_parts.h: what the files of `sessions` share; private to cmd_sessions.c and sessions_prof.c. Single
 * thread. */
#ifndef FERRUM_SESSIONS_PARTS_H
#define FERRUM_SESSIONS_PARTS_H

#include <jansson.h>

#include "app/options.h"
#include "store/store.h"

/* To standard output: clean text for a terminal, the exact bytes for what else there is. */
void sessions_print(const char *text, size_t n);
/* Takes the value over. */
void sessions_print_json(json_t *root);
/* s NULL: there is no file yet, and so no chat. A chat that is not there is ERR_RUNTIME. info (may be NULL)
 * is for chat_info_fini. */
struct chat *sessions_load(struct store *s, int64_t id, struct chat_info *info, struct err *err);

/* The number by which `sessions show` names a message: 1 for the first, in the order they were written. */
static inline int sessions_number(int msg)
{
    return msg + 1;
}

/* What of --profile, --compare and --csv fits together, and with the action. ERR_USAGE. */
bool sessions_check_profile(const struct options *o, const char *action, struct err *err);
bool sessions_wants_profile(const struct options *o);
/* The profiles kept with the answers of chat id: all, two side by side (--compare), or one's experts (--csv).
 */
bool sessions_show_profile(struct store *s, const struct options *o, int64_t id, struct err *err);

#endif
