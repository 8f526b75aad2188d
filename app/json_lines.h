/* json_lines.h: the machine-readable form of a turn: one JSON object per line, fields in the documented
 * order. A token of the reasoning has an empty text and its own text in "reasoning", so that the texts joined
 * are the answer. Each function appends one line to out. Pure. */
#ifndef FERRUM_JSON_LINES_H
#define FERRUM_JSON_LINES_H

#include "app/session.h"
#include "engine/base/buf.h"

void json_line_ready(struct buf *out, const struct session *s);
void json_line_user(struct buf *out, const char *text, size_t n);
void json_line_token(struct buf *out, const struct engine_event *event);
void json_line_assistant(struct buf *out, const struct session *s);
void json_line_error(struct buf *out, const struct err *err);
void json_line_exit(struct buf *out, int code);

#endif
