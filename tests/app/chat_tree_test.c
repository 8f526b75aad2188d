/* chat_tree_test.c: the order in which a tree of messages is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/chat_tree.h"
#include "engine/base/mem.h"

static int add(struct chat *chat, int parent)
{
    bool is_user = parent < 0 || chat->msgs[parent].role == CHAT_ASSISTANT;
    return chat_add(chat, parent, is_user ? CHAT_USER : CHAT_ASSISTANT, "x", 1);
}

/* "msg:indent position/count" of each row, "*" behind those of the path. */
static void expect(struct chat *chat, const char *text)
{
    struct chat_tree_row *rows = chat_tree_rows(chat);
    struct buf out = {0};
    for (int i = 0; i < chat->n_msgs; i++)
        buf_printf(&out, "%s%d:%d %d/%d%s", i ? ", " : "", rows[i].msg, rows[i].indent, rows[i].position,
                   rows[i].count, rows[i].on_path ? "*" : "");
    assert_string_equal(buf_text(&out), text);
    buf_fini(&out);
    mem_free(rows);
}

static void chat_tree__rows__follow_a_path(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    expect(chat, "");
    add(chat, add(chat, -1));
    expect(chat, "0:0 1/1*, 1:0 1/1*");
    chat_free(chat);
}

static void chat_tree__rows__put_other_branches_before_the_path(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    int question = add(chat, -1), first = add(chat, question), second = add(chat, question);
    int further = add(chat, first);
    add(chat, further);
    expect(chat, "0:0 1/1*, 2:1 2/2, 1:0 1/2*, 3:0 1/1*, 4:0 1/1*");
    chat->head = second;
    expect(chat, "0:0 1/1*, 1:1 1/2, 3:1 1/1, 4:1 1/1, 2:0 2/2*");
    chat_free(chat);
}

static void chat_tree__rows__nest_branches_of_branches(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    int question = add(chat, -1), first = add(chat, question), further = add(chat, first);
    add(chat, further);
    add(chat, further);
    int other = add(chat, -1); /* an edit of the first message */
    add(chat, other);
    expect(chat, "0:1 1/2, 1:1 1/1, 2:1 1/1, 3:2 1/2, 4:1 2/2, 5:0 2/2*, 6:0 1/1*");
    chat_free(chat);
}

static void chat_tree__rows__without_a_path(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    add(chat, -1);
    add(chat, -1);
    chat->head = -1;
    expect(chat, "0:1 1/2, 1:0 2/2");
    chat_free(chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_tree__rows__follow_a_path),
        cmocka_unit_test(chat_tree__rows__put_other_branches_before_the_path),
        cmocka_unit_test(chat_tree__rows__nest_branches_of_branches),
        cmocka_unit_test(chat_tree__rows__without_a_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
