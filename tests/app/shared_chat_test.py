"""One chat in two programs, and what becomes of their texts when others meddle with it.

Run as: python3 shared_chat_test.py FERRUM_CHAT MKTINY
"""
import os
import select
import shutil
import time

from harness import CHATML, PROGRAM, QWEN, ProgramTest, main

OPTIONS = ['--temp', '0', '-n', '5', '--session', 's']


class Terminal:
    """ferrum-chat --plain on a terminal of its own."""

    def __init__(self, test):
        self.test, self.text = test, ''
        self.pid, self.fd = test.on_terminal(PROGRAM, CHATML, '--plain', *OPTIONS)
        self.wait('> ')

    def wait(self, words, seconds=30):
        until = time.monotonic() + seconds
        while words not in self.text:
            self.test.assertLess(time.monotonic(), until, 'no %r in %r' % (words, self.text))
            if select.select([self.fd], [], [], 0.05)[0]:
                self.text += os.read(self.fd, 65536).decode(errors='replace').replace('\r', '')

    def say(self, line):
        self.text = ''
        os.write(self.fd, line.encode() + b'\n')

    def quit(self):
        """Ctrl-D; the exit code."""
        os.write(self.fd, b'\x04')
        self.test.drain(self.fd, 0.2)
        until = time.monotonic() + 30
        while True:
            self.test.drain(self.fd, 0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            self.test.assertLess(time.monotonic(), until)


class TwoPrograms(ProgramTest):
    def setUp(self):
        super().setUp()
        self.check(0, CHATML, *OPTIONS, '-p', 'hello')
        self.a, self.b = Terminal(self), Terminal(self)

    def has(self, text):
        return lambda: self.sql('SELECT count(*) FROM msg WHERE role=1 AND text=?', (text,))[0][0] > 0

    def say(self, terminal, text, expected=None):
        terminal.say(text)
        if expected:
            terminal.wait(expected)
        self.wait_until(self.has(text))
        # The answer is stored too before the next is said.
        self.wait_until(lambda: self.sql('SELECT count(*) FROM msg a JOIN msg q ON a.parent=q.id AND a.conv=q.conv'
                                         ' WHERE q.text=? AND a.status=0', (text,))[0][0] > 0)

    def texts(self):
        """The messages of people on each chat's path."""
        return sorted([m['text'] for m in self.export(chat['id'])['messages'] if m['role'] == 'user']
                      for chat in self.sessions())

    def orphans(self):
        return self.sql('SELECT id FROM msg m WHERE parent IS NOT NULL AND NOT EXISTS'
                        ' (SELECT 1 FROM msg p WHERE p.id=m.parent AND p.conv=m.conv)')

    def test_a_chat_deleted_by_a_third_is_kept_by_both(self):
        self.check(0, 'sessions', 'delete', '1')
        self.say(self.b, 'from b', 'was deleted by another program')
        self.say(self.a, 'from a', 'was deleted by another program')
        self.say(self.a, 'from a again')
        self.say(self.b, 'from b again')
        self.assertEqual([self.a.quit(), self.b.quit()], [0, 0])
        self.assertEqual(self.texts(), [['hello', 'from a', 'from a again'], ['hello', 'from b', 'from b again']])
        self.assertEqual(self.orphans(), [])

    def let_go(self, terminal, text):
        """What is said is refused for good, by a trigger: with the next turn the whole chat is stored again."""
        self.sql("CREATE TRIGGER no BEFORE INSERT ON msg BEGIN SELECT RAISE(ABORT, 'refused for a test'); END")
        terminal.say(text)
        terminal.wait('the next turn tries again')
        terminal.wait('\n> ')
        self.sql('DROP TRIGGER no')

    def test_an_id_in_use_makes_it_a_new_chat(self):
        """As if another program's message had come to the id of one of A's."""
        self.say(self.a, 'one')
        self.let_go(self.a, 'two')
        self.sql("UPDATE msg SET created=created+1 WHERE text='one'")
        self.say(self.a, 'three', 'it is kept, whole, as a new chat')
        self.assertEqual([self.a.quit(), self.b.quit()], [0, 0])
        self.assertIn(['hello', 'one', 'two', 'three'], self.texts())
        self.assertEqual(self.orphans(), [])

    def test_an_answer_that_another_finished_stays(self):
        """A program opens the chat in the midst of an answer, and stores it when its writer has finished."""
        answer_id, answer = self.sql('SELECT id, text FROM msg WHERE role=2')[0]
        self.assertGreater(len(answer), 1)
        self.sql('UPDATE msg SET text=?, status=1 WHERE id=?', (answer[:1], answer_id))
        late = Terminal(self)
        self.sql('UPDATE msg SET text=?, status=0 WHERE id=?', (answer, answer_id))
        self.let_go(late, 'one')
        self.say(late, 'two', 'it is kept, whole, as a new chat')
        self.assertEqual([late.quit(), self.a.quit(), self.b.quit()], [0, 0, 0])
        self.assertEqual(self.sql('SELECT text, status FROM msg WHERE id=?', (answer_id,)), [(answer, 0)])
        self.assertIn(['hello', 'one', 'two'], self.texts())
        self.assertEqual(self.orphans(), [])

    def test_ids_of_a_model_that_the_chat_has_left_are_not_stored(self):
        self.check(0, QWEN, *OPTIONS, '-p', 'from another model')
        self.say(self.a, 'from a')
        self.assertEqual([self.a.quit(), self.b.quit()], [0, 0])
        with_ids = [row[0] for row in self.sql('SELECT text FROM msg JOIN seg ON msg=id WHERE role=1')]
        self.assertIn('from another model', with_ids)
        self.assertNotIn('from a', with_ids)

    def test_a_save_let_go_is_made_up_for(self):
        """A trigger refuses for a while what A writes, for good each time: SQLite's constraint error."""
        self.sql("CREATE TRIGGER no BEFORE INSERT ON msg BEGIN SELECT RAISE(ABORT, 'refused for a test'); END")
        self.a.say('first')
        self.a.wait('refused for a test')
        self.a.wait('the next turn tries again')
        self.sql('DROP TRIGGER no')
        self.say(self.a, 'second')
        self.assertEqual([self.a.quit(), self.b.quit()], [0, 0])
        self.assertEqual(self.texts(), [['hello', 'first', 'second']])
        self.assertEqual(self.orphans(), [])

    def test_a_save_let_go_is_made_up_for_at_the_end(self):
        self.let_go(self.a, 'first')
        self.assertEqual(self.a.quit(), 0)
        self.assertEqual(self.texts(), [['hello', 'first']])

    def test_a_save_let_go_for_ever_is_an_error_at_the_end(self):
        self.sql("CREATE TRIGGER no BEFORE INSERT ON msg BEGIN SELECT RAISE(ABORT, 'refused for a test'); END")
        self.a.say('first')
        self.a.wait('the next turn tries again')
        self.assertEqual(self.a.quit(), 6)


class FileGone(ProgramTest):
    """chat.db is deleted or replaced while a chat is open: the chat is in memory, and is stored again whole."""

    def setUp(self):
        super().setUp()
        self.check(0, CHATML, *OPTIONS, '-p', 'hello')
        self.a = Terminal(self)
        self.say('one')

    def say(self, text, expected='\n> '):
        self.a.say(text)
        self.a.wait(expected)

    def texts(self):
        return [[m['text'] for m in self.export(chat['id'])['messages'] if m['role'] == 'user']
                for chat in self.sessions()]

    def test_deleted_it_is_begun_anew(self):
        os.remove(self.database())
        self.say('two', 'a new one is begun, with the whole of this chat')
        self.assertNotIn('another program', self.a.text)
        self.assertEqual(self.a.quit(), 0)
        self.assertEqual(self.texts(), [['hello', 'one', 'two']])
        self.assertEqual(self.sessions()[0]['name'], 's')

    def test_deleted_it_is_begun_anew_at_the_end(self):
        os.remove(self.database())
        self.assertEqual(self.a.quit(), 0)
        self.assertEqual(self.texts(), [['hello', 'one']])

    def test_an_older_copy_gets_what_it_lacks(self):
        self.wait_until(lambda: not self.sql('SELECT 1 FROM msg WHERE status=1'))
        shutil.copy(self.database(), self.home + '/copy')
        self.say('two')
        os.replace(self.home + '/copy', self.database())
        self.say('three', 'was replaced while it was in use')
        self.assertEqual(self.a.quit(), 0)
        self.assertEqual(self.texts(), [['hello', 'one', 'two', 'three']])

    def test_where_no_new_one_can_be_every_turn_is_named(self):
        os.remove(self.database())
        os.mkdir(self.database())
        self.say('two', 'was deleted or moved away while it was in use, and there is no new one')
        self.say('three')
        os.write(self.a.fd, b'\x04')
        self.a.wait('the last 4 turns are not saved')
        self.assertIn('not saved: "hello", "one", "two", "three"', self.a.text)
        self.assertNotIn('readonly', self.a.text)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(self.a.pid, 0)[1]), 6)
        os.close(self.a.fd)


if __name__ == '__main__':
    main()
