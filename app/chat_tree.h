/* chat_tree.h: the order in which a tree of messages is read by people: the path that is shown runs down the
 * left margin, other branches stand indented in front of where the path leaves them. Pure. */
#ifndef FERRUM_CHAT_TREE_H
#define FERRUM_CHAT_TREE_H

#include "engine/base/chat.h"

struct chat_tree_row {
    int msg;
    int indent;          /* branches off the margin */
    int position, count; /* among its siblings, as chat_siblings */
    bool on_path;
};
/* [chat->n_msgs] rows, mem_free. */
struct chat_tree_row *chat_tree_rows(const struct chat *chat);

#endif
