#include "app/chat_tree.h"

#include <string.h>

#include "engine/base/mem.h"

/* Children of a message as a list, oldest first; index 0 stands for the parent of the roots. */
struct tree {
    int n;
    int *first, *last; /* [n + 1], -1: none */
    int *next;         /* [n] */
    int *n_children;   /* [n + 1] */
    bool *on_path;     /* [n] */
};

static int *new_list(int n)
{
    int *list = mem_need((size_t)(n + 1) * sizeof *list);
    for (int i = 0; i <= n; i++)
        list[i] = -1;
    return list;
}

static struct tree make_tree(const struct chat *chat)
{
    int n = chat->n_msgs;
    struct tree t = {.n = n, .first = new_list(n), .last = new_list(n), .next = new_list(n)};
    t.n_children = mem_need((size_t)(n + 1) * sizeof *t.n_children);
    t.on_path = mem_need((size_t)(n + 1) * sizeof *t.on_path);
    for (int i = chat->head; i >= 0; i = chat->msgs[i].parent)
        t.on_path[i] = true;
    for (int i = 0; i < n; i++) {
        int parent = chat->msgs[i].parent + 1;
        if (t.last[parent] >= 0)
            t.next[t.last[parent]] = i;
        else
            t.first[parent] = i;
        t.last[parent] = i;
        t.n_children[parent]++;
    }
    return t;
}

static void free_tree(struct tree *t)
{
    mem_free(t->first);
    mem_free(t->last);
    mem_free(t->next);
    mem_free(t->n_children);
    mem_free(t->on_path);
}

/* The child that goes on at its parent's margin: that of the path, else the newest. */
static int main_child(const struct tree *t, int parent)
{
    for (int i = t->first[parent]; i >= 0; i = t->next[i])
        if (t->on_path[i])
            return i;
    return t->last[parent];
}

/* Puts the children of a message on the stack so that the main one is taken last. */
static int push_children(const struct tree *t, int parent, int indent, struct chat_tree_row *stack, int n)
{
    int heir = main_child(t, parent), position = 0, n_side = t->n_children[parent] - 1, at = n + n_side;
    for (int i = t->first[parent]; i >= 0; i = t->next[i]) {
        struct chat_tree_row row = {.msg = i,
                                    .indent = indent + (i != heir),
                                    .position = ++position,
                                    .count = t->n_children[parent],
                                    .on_path = t->on_path[i]};
        stack[i == heir ? n : at--] = row;
    }
    return n + n_side + 1;
}

struct chat_tree_row *chat_tree_rows(const struct chat *chat)
{
    struct tree t = make_tree(chat);
    struct chat_tree_row *rows = mem_need((size_t)(t.n + 1) * sizeof *rows),
                         *stack = mem_need((size_t)(t.n + 1) * sizeof *stack);
    int n_rows = 0, n_stack = push_children(&t, 0, 0, stack, 0);
    while (n_stack > 0) {
        struct chat_tree_row row = stack[--n_stack];
        rows[n_rows++] = row;
        n_stack = push_children(&t, row.msg + 1, row.indent, stack, n_stack);
    }
    mem_free(stack);
    free_tree(&t);
    return rows;
}
