/* test_chat.c: the tree of messages: paths, siblings, where a branch switch lands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/chat.h"

static int add(struct chat *chat, int parent, enum chat_role role, const char *text)
{
    return chat_add(chat, parent, role, text, strlen(text));
}

/* 0 user -> 1 answer, 2 second answer -> 3 user -> 4 answer; 5 the first question edited -> 6 answer. */
static struct chat *branched(void)
{
    struct chat *chat = chat_new();
    add(chat, -1, CHAT_USER, "q");
    add(chat, 0, CHAT_ASSISTANT, "a");
    add(chat, 0, CHAT_ASSISTANT, "a again");
    add(chat, 2, CHAT_USER, "more");
    add(chat, 3, CHAT_ASSISTANT, "b");
    add(chat, -1, CHAT_USER, "q edited");
    add(chat, 5, CHAT_ASSISTANT, "c");
    return chat;
}

static void chat_new__is_empty_and_unique(void **state)
{
    (void)state;
    struct chat *a = chat_new(), *b = chat_new();
    assert_int_equal(a->head, -1);
    assert_string_equal(a->title, "");
    assert_memory_not_equal(a->uid, b->uid, CHAT_UID_BYTES);
    assert_int_equal(chat_path(a, a->head, NULL, 0), 0);
    chat_free(a);
    chat_free(b);
    chat_free(NULL);
}

static void chat_renew__names_all_anew(void **state)
{
    (void)state;
    unsigned char old[CHAT_UID_BYTES];
    struct chat *chat = branched();
    int64_t ids[7];
    chat->id = 7;
    chat->msgs[2].copied_from = 5;
    memcpy(old, chat->uid, sizeof old);
    for (int i = 0; i < 7; i++)
        ids[i] = chat->msgs[i].id;
    chat_renew(chat);
    assert_memory_not_equal(old, chat->uid, CHAT_UID_BYTES);
    assert_int_equal(chat->id, 0);
    assert_int_equal(chat->n_msgs, 7);
    for (int i = 0; i < 7; i++) {
        for (int k = 0; k < 7; k++)
            assert_int_not_equal(chat->msgs[i].id, ids[k]);
        assert_true(i == 0 || chat->msgs[i].id > chat->msgs[i - 1].id);
        assert_int_equal(chat->msgs[i].copied_from, i == 2 ? 5 : ids[i]);
    }
    chat_free(chat);
}

/* Two programs with one chat, and a clock that was set back since its last message. */
static void chat_add__behind_a_message_of_the_future__steps_at_random(void **state)
{
    (void)state;
    int n_same = 0;
    for (int i = 0; i < 8; i++) {
        struct chat *a = chat_new(), *b = chat_new();
        add(a, -1, CHAT_USER, "q");
        add(b, -1, CHAT_USER, "q");
        a->msgs[0].id = b->msgs[0].id = INT64_C(1) << 52;
        add(a, 0, CHAT_ASSISTANT, "a");
        add(b, 0, CHAT_ASSISTANT, "b");
        assert_true(a->msgs[1].id > a->msgs[0].id);
        n_same += a->msgs[1].id == b->msgs[1].id;
        chat_free(a);
        chat_free(b);
    }
    assert_true(n_same < 4);
}

static void chat_add__behind_the_last_id__does_not_overflow(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    add(chat, -1, CHAT_USER, "q");
    chat->msgs[0].id = INT64_MAX;
    add(chat, 0, CHAT_ASSISTANT, "a");
    assert_true(chat->msgs[1].id > 0);
    chat_free(chat);
}

static void chat_add__moves_the_head_and_orders_ids(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(chat_add(chat, i - 1, CHAT_USER, NULL, 0), i);
        assert_int_equal(chat->head, i);
        assert_true(chat->msgs[i].id > (i ? chat->msgs[i - 1].id : 0));
        assert_string_equal(buf_text(&chat->msgs[i].text), "");
    }
    chat_free(chat);
}

static void chat_path__runs_from_the_root_and_counts_beyond_max(void **state)
{
    (void)state;
    struct chat *chat = branched();
    int path[8] = {-7, -7, -7, -7};
    assert_int_equal(chat_path(chat, 4, path, 8), 4);
    assert_memory_equal(path, ((int[]){0, 2, 3, 4}), 4 * sizeof(int));
    int two[3] = {-7, -7, -7};
    assert_int_equal(chat_path(chat, 4, two, 2), 4);
    assert_memory_equal(two, ((int[]){0, 2, -7}), sizeof two);
    chat_free(chat);
}

static void chat_siblings__counts_regenerated_and_edited(void **state)
{
    (void)state;
    struct chat *chat = branched();
    int position, count;
    chat_siblings(chat, 2, &position, &count);
    assert_true(position == 2 && count == 2);
    chat_siblings(chat, 0, &position, &count);
    assert_true(position == 1 && count == 2);
    chat_siblings(chat, 4, &position, &count);
    assert_true(position == 1 && count == 1);
    chat_free(chat);
}

static void chat_newest_leaf__lands_on_the_newest_descendant(void **state)
{
    (void)state;
    struct chat *chat = branched();
    assert_int_equal(chat_newest_leaf(chat, 0), 4);
    assert_int_equal(chat_newest_leaf(chat, 1), 1);
    assert_int_equal(chat_newest_leaf(chat, 2), 4);
    assert_int_equal(chat_newest_leaf(chat, 4), 4);
    assert_int_equal(chat_newest_leaf(chat, 5), 6);
    add(chat, 1, CHAT_USER, "back on the first answer");
    assert_int_equal(chat_newest_leaf(chat, 0), 7);
    assert_int_equal(chat_newest_leaf(chat, 2), 4);
    chat_free(chat);
}

static void chat_msg_add_tokens__appends(void **state)
{
    (void)state;
    struct chat *chat = branched();
    struct chat_msg *msg = &chat->msgs[1];
    for (int32_t i = 0; i < 300; i++)
        chat_msg_add_tokens(msg, (int32_t[]){i, -i}, 2);
    chat_msg_add_tokens(msg, NULL, 0);
    assert_int_equal(msg->n_tokens, 600);
    assert_true(msg->tokens[598] == 299 && msg->tokens[599] == -299);
    chat_free(chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_new__is_empty_and_unique),
        cmocka_unit_test(chat_renew__names_all_anew),
        cmocka_unit_test(chat_add__behind_a_message_of_the_future__steps_at_random),
        cmocka_unit_test(chat_add__behind_the_last_id__does_not_overflow),
        cmocka_unit_test(chat_add__moves_the_head_and_orders_ids),
        cmocka_unit_test(chat_path__runs_from_the_root_and_counts_beyond_max),
        cmocka_unit_test(chat_siblings__counts_regenerated_and_edited),
        cmocka_unit_test(chat_newest_leaf__lands_on_the_newest_descendant),
        cmocka_unit_test(chat_msg_add_tokens__appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
