/* chat_rows.h: saved chats as text for people. Pure; results are mem_free'd by the caller. */
#ifndef FERRUM_CHAT_ROWS_H
#define FERRUM_CHAT_ROWS_H

#include "store/store.h"

/* "4 messages · qwen3-0.6b · 3 h ago" */
char *chat_row_detail(const struct chat_info *info, int64_t now_ms);
/* "2026-11-21 08:15", local time; out holds 17 bytes. */
void chat_row_time(int64_t ms, char out[17]);

#endif
