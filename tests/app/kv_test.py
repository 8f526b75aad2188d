"""The KV cache on disk as its users meet it: chats resume in a new process, whatever happens to the file.

With --rounds N the test of kill -9 becomes a benchmark of N kills, and runs alone.
"""
import concurrent.futures
import contextlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

ROUNDS = 20
if '--rounds' in sys.argv:
    at = sys.argv.index('--rounds')
    ROUNDS = int(sys.argv[at + 1])
    sys.argv[at:at + 2] = ['Kill']

from harness import PROGRAM, WORK, ProgramTest, main, make_model, patched_copy  # noqa: E402 (reads sys.argv)

MODEL = make_model('kv.gguf', '--chatml', '--ctx', '8192', '--seed', '1')
SISTER = make_model('kv-sister.gguf', '--chatml', '--ctx', '8192', '--seed', '2')  # the same shape, other weights
GREEDY = ('--temp', '0')
# Not greedy: the ids drawn with one seed are the same only when the logits are.
DRAWN = ('--temp', '1', '--top-k', '0', '--top-p', '1', '--min-p', '0', '--seed', '7')
LONG_TEXT = ' '.join('%d green bottles hang on the wall.' % i for i in range(30))  # about 1,000 tokens


def signals_as_usual(number):
    """For a child that is to be ended, even when these tests run in the background."""
    signal.signal(number, signal.SIG_DFL)


class KvTest(ProgramTest):
    def kv_path(self, name='kv.db'):
        return os.path.join(self.home, '.cache/ferrum-chat', name)

    def kv_sql(self, *statement):
        return self.sql(*statement, path=self.kv_path())

    def forget_rates(self):
        """Blocks of a tiny model may cost more to read than to compute: what was measured must not decide here."""
        if not os.path.exists(self.kv_path()):
            return
        try:
            self.kv_sql('UPDATE kv_space SET prefill_ns=0, fetch_ns=0')
        except sqlite3.DatabaseError:
            pass  # damaged: that is what some tests are about

    def turn(self, text, *args, model=MODEL, session='s', n='12', code=0):
        """One turn in a process of its own: its assistant line."""
        self.forget_rates()
        lines = self.lines(model, '--session', session, '-n', n, *args, '-p', text, code=code)
        return [line for line in lines if line['type'] == 'assistant'][0]

    def kv(self, action, code=0):
        return json.loads(self.check(code, 'kv', action, '--json').splitlines()[0]
                          if code else self.check(code, 'kv', action, '--json'))

    def ids(self, session='s'):
        """(role, ids) of the messages of a chat, in the order of writing."""
        chat = [c['id'] for c in self.sessions() if c['name'] == session][0]
        return [(m['role'], m['tokens']) for m in self.export(chat)['messages']]

    def in_copy(self, run):
        """Runs in a copy of the home directory, which is thrown away."""
        home, env = self.home, self.env
        self.home = tempfile.mkdtemp(dir=WORK)
        shutil.copytree(home, self.home, dirs_exist_ok=True)
        self.env = dict(env, HOME=self.home)
        try:
            return run()
        finally:
            shutil.rmtree(self.home)
            self.home, self.env = home, env

    def assert_resumes(self, before, after):
        """after, a turn in a new process, computed only what is new since before (an assistant line)."""
        new = after['prompt_tokens'] - before['prompt_tokens'] - before['completion_tokens']
        self.assertLessEqual(after['prefilled_tokens'], new + 1)
        self.assertEqual(after['reused_tokens'], after['reused_disk'])
        self.assertEqual(after['reused_tokens'] + after['prefilled_tokens'], after['prompt_tokens'])

    def assert_like_computed(self, text, *args, **more):
        """The next turn says what it would say without any cache. Returns its line."""
        expected = self.in_copy(lambda: self.turn(text, *args, '--no-kv-store', **more))
        self.assertNotIn('reused_disk', expected)
        got = self.turn(text, *args, **more)
        self.assertEqual(got['text'], expected['text'])
        return got


class PlainTest(KvTest):
    def chat(self, texts, *args, model=MODEL, session='s'):
        """Lines to one process, at the prompt of the plain loop; each line but a command gets its answer. A number
        among them is seconds to wait."""
        pid, fd = self.on_terminal(PROGRAM, model, '--plain', '-n', '12', '--session', session, *args)
        n = self.n_answers()
        for text in texts:
            if not isinstance(text, str):
                time.sleep(text)
                continue
            n += text[0] != '/' or text.split()[0] in ('/edit', '/regen')
            os.write(fd, text.encode() + b'\n')
            self.wait_for_answers(fd, n)
        os.write(fd, b'\x04')
        while True:
            try:
                if not os.read(fd, 65536):
                    break
            except OSError:
                break
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        os.close(fd)

    def n_answers(self):
        if not os.path.exists(self.database()):
            return 0
        try:
            return self.sql('SELECT count(*) FROM msg WHERE role=2 AND status=0')[0][0]
        except sqlite3.OperationalError:  # the tables are being made
            return 0

    def wait_for_answers(self, fd, n):
        def drained():
            os.set_blocking(fd, False)
            try:
                while os.read(fd, 65536):
                    pass
            except (BlockingIOError, OSError):
                pass
            return self.n_answers() >= n
        self.wait_until(drained)


class Receipts(PlainTest):
    RECEIPT = re.compile(r'(?:resumed|reused|prefilled|wrote) \d.*')

    def talk(self, lines, *args, session='s', model=MODEL):
        """What the plain loop shows; after each line it gets the time to warm and to write."""
        pid, fd = self.on_terminal(PROGRAM, model, '--plain', *GREEDY, '-n', '12', '--session', session, *args)
        shown = b''
        for line in ['', *lines]:
            os.write(fd, line.encode() + b'\n')
            until = time.monotonic() + 0.7
            while time.monotonic() < until:
                if select.select([fd], [], [], 0.05)[0]:
                    shown += os.read(fd, 65536)
                    until = max(until, time.monotonic() + 0.4)
        self.end(pid, fd, signal.SIGTERM)
        return shown.decode(errors='replace')

    @staticmethod
    def n_bytes(text, what='wrote|prepared'):
        sizes = re.findall(r'(?:' + what + r') ([\d.]+) (bytes?|KiB|MiB)', text)
        return sum(float(n) * {'K': 1024, 'M': 1024 * 1024}.get(unit[0], 1) for n, unit in sizes)

    def test_each_turn_has_one_with_its_own_numbers(self):
        text = self.talk(['hi ' * 100, 'and now?', '/regen', '/kv'])
        receipts = self.RECEIPT.findall(text.split('KV blocks on disk')[0])
        self.assertEqual(len(receipts), 3, text)
        self.assertIn('prefilled', receipts[0])
        self.assertRegex(receipts[2], r'reused \d+ of \d+ tokens')
        self.assertRegex(receipts[2], r'prefilled 1\b')
        total, unit = re.search(r'program began: ([\d.]+) (\w+)', text).groups()
        self.assertAlmostEqual(self.n_bytes(''.join(receipts)) / float(total) / {'K': 1024, 'M': 2**20}[unit[0]], 1,
                               delta=0.05)

    def test_what_is_prepared_for_the_next_turn_is_told_apart(self):
        model = make_model('kv-prepares.gguf', '--think', '--ctx', '4096', '--script',
                           '<think>\n' + 'first this, then that; ' * 10 + '\n</think>\n\n' + 'A long answer. ' * 30,
                           arch='qwen3')
        text = self.talk(['hello', 'a second question', '', '/kv'], '-n', '300', model=model)
        receipts = self.RECEIPT.findall(text.split('KV blocks on disk')[0])
        self.assertIn('prepared', ''.join(receipts), text)
        token_bytes = self.kv_sql('SELECT token_bytes FROM kv_space')[0][0]
        answers = [m for m in self.export(1)['messages'] if m['role'] == 'assistant']
        n_new = [a['stats']['prefilled_tokens'] + a['stats']['completion_tokens'] for a in answers]
        self.assertEqual(len(receipts), 2, text)
        for receipt, n in zip(receipts, n_new):  # and the rest of a block that was begun before
            self.assertLessEqual(self.n_bytes(receipt, 'wrote'), (n + 64) * token_bytes * 1.01, text)

    def test_going_back_to_a_branch_computes_and_writes_nothing(self):
        self.turn('hi ' * 100, *GREEDY)
        self.turn('a second question', *GREEDY)
        self.talk(['/edit ' + 'something else ' * 20])
        self.forget_rates()
        text = self.talk(['/branch next', '/branch prev', '/branch next'])
        self.assertIn('resumed', text)
        receipts = self.RECEIPT.findall(text)
        self.assertLessEqual(len(receipts), 4)
        for receipt in receipts:
            self.assertNotRegex(receipt, 'wrote|prefilled', text)

    def test_opening_a_chat_has_one_and_no_turn_is_without(self):
        self.turn('hi ' * 200, *GREEDY)
        self.forget_rates()
        receipts = self.RECEIPT.findall(self.talk(['and now?']))
        self.assertEqual(len(receipts), 2)
        self.assertRegex(receipts[0], r'^resumed ([\d,]+) of [\d,]+ tokens from disk in')
        self.assertRegex(receipts[1], r'^reused .* prefilled \d+')


class Gone(PlainTest):
    def test_a_file_deleted_under_an_open_chat_is_said_and_begun_anew(self):
        pid, fd = self.on_terminal(PROGRAM, MODEL, '--plain', *GREEDY, '-n', '12', '--session', 's')
        shown = b''

        def say(text, n):
            nonlocal shown
            os.write(fd, text.encode() + b'\n')

            def answered():
                nonlocal shown
                while select.select([fd], [], [], 0.2)[0]:
                    shown += os.read(fd, 65536)
                return self.n_answers() >= n
            self.wait_until(answered)
        say('hi ' * 200, 1)
        self.wait_until(lambda: self.kv('stat')['blocks'] > 2)
        shutil.rmtree(os.path.dirname(self.kv_path()))
        say('and now?', 2)
        say('once more', 3)
        self.end(pid, fd, signal.SIGTERM)
        text = shown.decode(errors='replace')
        self.assertEqual(text.count('was deleted or moved away while it was in use; a new one is begun'), 1, text)
        self.assertNotIn('does not answer', text)
        got = self.assert_like_computed('after all', *GREEDY)
        self.assertLessEqual(got['prefilled_tokens'], 60)  # all of it was kept again, its beginning too
        self.assertEqual(self.kv('verify')['damaged'], 0)


class Resume(PlainTest):

    def test_a_new_process_computes_only_what_is_new(self):
        texts = ['hi ' * 200, 'and now?', 'once more']
        first = self.turn(texts[0], *DRAWN)
        self.assertEqual(first['reused_tokens'], 0)
        self.assertGreater(first['kv_written_bytes'], 0)
        second = self.turn(texts[1], *DRAWN)
        self.assert_resumes(first, second)
        third = self.turn(texts[2], *DRAWN)
        self.assert_resumes(second, third)
        resumed = self.ids()
        for home_name in ('uninterrupted', 'recomputed'):
            self.home = tempfile.mkdtemp(dir=WORK)
            self.env['HOME'] = self.home
            if home_name == 'uninterrupted':
                self.chat(texts, *DRAWN)
            else:
                for text in texts:
                    self.turn(text, *DRAWN, '--no-kv-store')
                self.assertFalse(os.path.exists(self.kv_path()))
            with self.subTest(home_name):
                self.assertEqual(self.ids(), resumed)

    def test_the_receipt_is_told_to_people(self):
        self.turn('hi ' * 200, *GREEDY)
        self.forget_rates()
        r = self.run_program(MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', 'go on')
        self.assertRegex(r.stderr.decode(), r'resumed [\d,]+ of [\d,]+ tokens from disk in [\d.]+ m?s')
        self.assertRegex(r.stderr.decode(), r'prefilled \d+')
        self.assertRegex(r.stderr.decode(), r'wrote [\d.]+ KiB')

    def test_chats_share_what_begins_alike(self):
        system = ('--system', LONG_TEXT)
        a = self.turn('hi', *GREEDY, *system, session='a')
        n_blocks = self.kv('stat')['blocks']
        b = self.turn('hi', *GREEDY, *system, session='b')
        self.assertGreaterEqual(b['reused_disk'], a['prompt_tokens'] - 1)
        self.assertEqual(self.kv('stat')['blocks'], n_blocks)

    def test_types_of_the_cache_never_meet(self):
        self.turn('hi ' * 200, *GREEDY)
        for kv_type in ('f32', 'int8'):
            with self.subTest(kv_type):
                first = self.assert_like_computed('and now?', *GREEDY, '--kv-type', kv_type)
                self.assertEqual(first['reused_disk'], 0)
                again = self.assert_like_computed('once more', *GREEDY, '--kv-type', kv_type)
                self.assert_resumes(first, again)
        self.assertEqual(sorted(s['kv_type'] for s in self.kv('stat')['spaces']), ['f16', 'f32', 'int8'])

    def test_blocks_of_other_kernels_are_named_or_refused(self):
        self.turn('hi ' * 200, *GREEDY)
        self.env['FERRUM_CPU'] = 'scalar'
        exact = self.in_copy(lambda: self.turn('and now?', *GREEDY, '--kv-exact'))
        self.assertEqual(exact['reused_disk'], 0)
        self.forget_rates()
        r = self.run_program(MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', 'and now?')
        self.assertRegex(r.stderr.decode(), r'resumed .* computed by other kernels \(cpu [a-z0-9]+ r[0-9]+\)')
        second = self.turn('once more', *GREEDY, '--kv-exact')
        self.assertLess(second['reused_disk'], 100)

    def test_the_limit_is_kept(self):
        for i in range(3):
            self.turn('%d ' % i + LONG_TEXT, *GREEDY, '--kv-limit', '0.001', session='s%d' % i)
        stat = self.kv('stat')
        self.assertLessEqual(stat['bytes'], 0.001 * 2**30)
        self.assertGreater(stat['bytes'], 0.0003 * 2**30)

    def test_looking_at_the_cache_evicts_nothing(self):
        self.turn(LONG_TEXT, *GREEDY)
        self.turn('and ' + LONG_TEXT * 4, *GREEDY, session='more')
        stat = self.kv('stat')
        self.assertGreater(stat['bytes'], 2**30 // 1000)
        looked = json.loads(self.check(0, 'kv', 'stat', '--json', '--kv-limit', '0.001'))
        self.assertEqual((looked['blocks'], looked['limit_bytes']), (stat['blocks'], 2**30 // 1000))

    def test_the_limit_in_force_is_told(self):
        self.turn('hi', *GREEDY, '--kv-limit', '0.5')
        self.assertEqual(self.kv('stat')['limit_bytes'], 2**29)
        self.assertIn(b'limit 512.0 MiB', self.check(0, 'kv', 'stat'))

    def test_a_terminated_program_leaves_its_blocks(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with self.subTest(number):
                session = 'of-%d' % number
                p = subprocess.Popen([PROGRAM, MODEL, '--session', session, *GREEDY, '--json', '-p', 'hi ' * 100],
                                     env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, preexec_fn=lambda: signals_as_usual(number))
                for _ in range(80):
                    p.stdout.readline()
                p.send_signal(number)
                p.communicate()
                self.assertEqual(p.returncode, 128 + number)
                messages = [m for c in self.sessions() if c['name'] == session
                            for m in self.export(c['id'])['messages']]
                n_kept = sum(len(m['tokens']) for m in messages)
                self.assertGreater(n_kept, 150)
                after = self.turn('and now?', *GREEDY, session=session)
                self.assertGreaterEqual(after['reused_disk'], n_kept - 2)

    def test_private_touches_no_file(self):
        before = sorted(os.walk(self.home))
        r = self.run_program(MODEL, '--private', *GREEDY, '-n', '5', '-p', 'hi ' * 100)
        self.assertEqual(r.returncode, 0)
        self.assertEqual(sorted(os.walk(self.home)), before)
        line = [x for x in self.lines(MODEL, '--private', '-n', '5', '-p', 'hi') if x['type'] == 'assistant'][0]
        self.assertNotIn('reused_disk', line)
        self.assertEqual(sorted(os.walk(self.home)), before)

    @unittest.skipUnless(shutil.which('strace'), 'strace is not installed')
    def test_private_opens_no_file_for_writing(self):
        trace = os.path.join(WORK, 'trace')
        env = dict(self.env, ASAN_OPTIONS='detect_leaks=0')  # which cannot be looked for under strace
        subprocess.run(['strace', '-f', '-o', trace, '-e', 'trace=open,openat,creat,mkdir,rename,unlink', PROGRAM,
                        MODEL, '--private', '-n', '5', '-p', 'hi'], env=env, stdin=subprocess.DEVNULL,
                       capture_output=True, check=True)
        with open(trace) as f:
            writes = [line for line in f if any(w in line for w in ('O_WRONLY', 'O_RDWR', 'O_CREAT', 'mkdir(',
                                                                    'creat(', 'rename(', 'unlink('))
                      and '/dev/' not in line]
        self.assertEqual(writes, [])


class Tree(PlainTest):
    def n_sealed(self):
        """Full blocks. A program that stays may have time to prepare its next turn, which may fill its last one."""
        return self.kv_sql('SELECT count(*) FROM kv_block WHERE n_tokens=64')[0][0]

    def messages(self, chat_id=1):
        return self.export(chat_id)['messages']

    def head(self):
        return self.export(1)['head']

    def test_an_edit_computes_the_edited_message_alone(self):
        self.turn('hi ' * 200, *GREEDY)
        self.turn('a second question', *GREEDY)
        n_tokens = len(self.messages()[2]['tokens'])
        self.forget_rates()
        self.chat(['/edit the second question in other words'], *GREEDY)
        messages = self.messages()
        self.assertEqual([m['role'] for m in messages], ['user', 'assistant'] * 3)
        self.assertEqual(messages[4]['parent'], messages[1]['id'])
        self.assertEqual(messages[4]['text'], 'the second question in other words')
        self.assertLessEqual(messages[5]['stats']['prefilled_tokens'], n_tokens + 40)
        self.assertLess(messages[5]['stats']['prefilled_tokens'], messages[5]['stats']['prompt_tokens'] / 4)

    def test_branches_are_kept_shared_and_resumed(self):
        first = self.turn('hi ' * 200, *GREEDY)
        second = self.turn('a second question', *GREEDY)
        old_head = self.head()
        self.chat(['/edit something else', '/regen'], *DRAWN)
        self.assertNotEqual(self.head(), old_head)
        self.assertRegex(self.check(0, 'sessions', 'show', '1').decode(),
                         r'\n    \[assistant #\d+, 1 of 2\] \(other branch\)\n    ')
        n_sealed = self.n_sealed()
        self.chat(['/branch', '/branch'], *GREEDY)  # the other answer, and back
        self.sql('UPDATE conv SET head=?', (old_head,))
        third = self.turn('on the first branch', *GREEDY)
        self.assert_resumes(second, third)
        self.assertLessEqual(self.n_sealed(), n_sealed + 1)
        self.assertGreater(first['prompt_tokens'], 200)

    def test_a_fork_is_a_chat_of_its_own_and_shares_all_blocks(self):
        first = self.turn('hi ' * 200, *GREEDY)
        n_sealed = self.n_sealed()
        self.assertGreater(n_sealed, 3)
        self.chat(['/fork'], *GREEDY)
        self.assertEqual(len(self.sessions()), 2)
        self.assertLessEqual(self.n_sealed(), n_sealed + 1)
        fork = [c for c in self.sessions() if c['name'] is None][0]
        self.assertIn('(fork)', fork['title'])
        self.assertNotIn(b'branch', self.check(0, 'sessions', 'show', str(fork['id'])))
        self.assertEqual([m['tokens'] for m in self.messages(fork['id'])], [m['tokens'] for m in self.messages()])
        self.forget_rates()
        lines = self.lines(MODEL, '--resume', str(fork['id']), *GREEDY, '-n', '12', '-p', 'and now?')
        self.assert_resumes(first, [line for line in lines if line['type'] == 'assistant'][0])
        self.assertEqual(len(self.messages()), 2)
        self.check(0, 'sessions', 'delete', '1')
        self.assertGreater(self.kv('stat')['blocks'], 0)

    def test_history_without_reasoning_is_computed_while_nobody_waits(self):
        model = make_model('kv-thinks.gguf', '--think', '--ctx', '4096', '--script',
                           '<think>\n' + 'first this, then that; ' * 10 + '\n</think>\n\n' + 'A long answer. ' * 30,
                           arch='qwen3')
        self.chat(['hello', 1, 'a second question', 1], *GREEDY, '-n', '300', model=model)
        answers = [m for m in self.messages() if m['role'] == 'assistant']
        self.assertIn('then that', answers[0]['reasoning'])
        self.assertGreater(len(answers[0]['tokens']), 100)
        # All that is new is the question: the first answer was computed again, without its reasoning, before.
        self.assertLessEqual(answers[1]['stats']['prefilled_tokens'], 40)
        got = self.turn('a third question', *GREEDY, '-n', '300', model=model)
        self.assertLessEqual(got['prefilled_tokens'], 40)
        cold = self.turn('a fourth question', *GREEDY, '-n', '300', model=model)  # nothing was warmed before it
        self.assertGreater(cold['prefilled_tokens'], 60)


class Damage(KvTest):
    def setUp(self):
        super().setUp()
        self.first = self.turn('hi ' * 300, *GREEDY)
        self.texts = [m for m in self.ids()]

    def check_text_is_there(self):
        self.assertEqual(self.ids()[:len(self.texts)], self.texts)
        self.assertEqual(self.sql('PRAGMA integrity_check'), [('ok',)])

    def test_a_flipped_bit_costs_the_blocks_behind_it(self):
        block, data = self.kv_sql('SELECT d.id, d.bytes FROM kv_data d JOIN kv_block b ON b.id=d.id '
                                  'WHERE b.depth=3')[0]
        damaged = bytearray(data)
        damaged[len(data) // 2] ^= 4
        self.kv_sql('UPDATE kv_data SET bytes=? WHERE id=?', (bytes(damaged), block))
        got = self.assert_like_computed('and now?', *GREEDY)
        self.assertEqual((got['reused_disk'], got['damaged_blocks']), (3 * 64, 1))
        again = self.assert_like_computed('once more', *GREEDY)
        self.assert_resumes(got, again)
        self.check_text_is_there()

    def test_verify_finds_a_flipped_bit(self):
        self.assertEqual(self.kv('verify')['damaged'], 0)
        self.assertIn(b'all sound', self.check(0, 'kv', 'verify'))
        block, data = self.kv_sql('SELECT id, bytes FROM kv_data LIMIT 1')[0]
        self.kv_sql('UPDATE kv_data SET bytes=? WHERE id=?', (bytes([data[0] ^ 1]) + data[1:], block))
        out = self.check(6, 'kv', 'verify', words=['damaged', 'dropped'])
        self.assertNotIn(b'all sound', out)
        self.assertEqual(self.kv('verify')['damaged'], 0)

    def test_a_truncated_file_is_put_aside(self):
        os.truncate(self.kv_path(), os.path.getsize(self.kv_path()) // 2)
        got = self.assert_like_computed('and now?', *GREEDY)
        self.assert_resumes(got, self.assert_like_computed('once more', *GREEDY))
        self.check_text_is_there()

    def test_rubbish_is_put_aside_and_said(self):
        with open(self.kv_path(), 'r+b') as f:
            f.write(os.urandom(65536))
        self.check(0, MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', 'and now?', words=['kv.db'])
        self.assertTrue(os.path.exists(self.kv_path('kv.db.bad')))
        self.check_text_is_there()

    def test_other_schemas_are_put_aside(self):
        for version in (0, 2, 99):
            with self.subTest(version):
                self.kv_sql('PRAGMA user_version=%d' % version)
                got = self.assert_like_computed('now %d?' % version, *GREEDY)
                self.assertEqual(got['reused_disk'], 0)
                self.assert_resumes(got, self.turn('after %d' % version, *GREEDY))
        self.check_text_is_there()

    def test_a_deleted_file_costs_time_only(self):
        os.unlink(self.kv_path())
        got = self.assert_like_computed('and now?', *GREEDY)
        self.assertEqual(got['reused_disk'], 0)
        self.check_text_is_there()

    def test_other_weights_of_the_same_shape_reuse_nothing(self):
        self.assertEqual(self.assert_like_computed('hi ' * 300, *GREEDY, model=SISTER)['reused_disk'], 0)
        got = self.turn('hi ' * 300, *GREEDY, model=SISTER, session='other')
        self.assertGreater(got['reused_disk'], 0)  # its own, of the turn before
        self.assertEqual(len(self.kv('stat')['spaces']), 2)

    def test_one_tensor_trained_further_reuses_nothing(self):
        with open(MODEL, 'rb') as f:
            data = bytearray(f.read())
        tuned = os.path.join(WORK, 'tuned.gguf')
        data[-2000] ^= 1  # in the last tensor
        with open(tuned, 'wb') as f:
            f.write(data)
        self.assertEqual(self.turn('hi ' * 300, *GREEDY, model=tuned, session='other')['reused_disk'], 0)

    def test_another_template_reuses_what_is_the_same(self):
        other = patched_copy(MODEL, 'kv-template.gguf', b"'<|im_start|>'", b"'<|im_start|>'.strip()"[:14])
        self.assertGreater(self.assert_like_computed('and now?', *GREEDY, model=other)['reused_disk'], 0)

    def test_a_full_disk_does_not_stop_a_chat(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (400 << 10, 400 << 10))
        shutil.rmtree(os.path.dirname(self.kv_path()))
        r = self.run_program(MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', 'and now?', preexec_fn=limit)
        self.assertEqual(r.returncode, 0)
        self.assertIn('kv.db', r.stderr.decode())
        self.check_text_is_there()
        self.assertEqual(self.ids()[-1][0], 'assistant')

    def test_a_disk_that_fills_up_does_not_stop_a_chat(self):
        size = os.path.getsize(self.kv_path())

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        self.forget_rates()
        r = self.run_program(MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', LONG_TEXT, preexec_fn=limit)
        self.assertEqual(r.returncode, 0)
        self.assertIn('kv.db', r.stderr.decode())
        self.check_text_is_there()
        self.assertEqual(self.kv('verify')['damaged'], 0)
        self.assert_like_computed('and now?', *GREEDY)

    def test_a_full_file_system_does_not_stop_a_chat(self):
        where = os.path.join(self.home, 'small')
        os.mkdir(where)
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', where], capture_output=True).returncode:
            self.skipTest('a small file system cannot be mounted here')
        try:
            self.env['XDG_CACHE_HOME'] = where
            self.check(0, MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', LONG_TEXT * 4, words=['kv.db', 'full'])
            self.check(0, MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', 'and now?')
            self.assertEqual(self.kv('verify')['damaged'], 0)
            self.turn('hi ' * 200, *GREEDY, session='t')
            self.forget_rates()
            with open(os.path.join(where, 'fill'), 'wb', buffering=0) as f, contextlib.suppress(OSError):
                while f.write(b'0' * 4096):
                    pass
            lines = self.lines(MODEL, '--session', 't', *GREEDY, '-n', '5', '-p', 'the disk is full')
            self.assertGreater([x for x in lines if x['type'] == 'assistant'][0]['reused_disk'], 100)
            self.check(0, 'kv', 'clear')
            self.assertEqual(self.kv('stat')['blocks'], 0)
        finally:
            subprocess.run(['umount', where], check=True)
        self.check_text_is_there()

    def test_a_cache_directory_that_cannot_be_written(self):
        self.env['XDG_CACHE_HOME'] = '/proc/self'
        got = self.assert_like_computed('and now?', *GREEDY)
        self.assertEqual(got['reused_tokens'], 0)
        self.check(0, MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', 'x', words=['/proc/self/ferrum-chat'])
        self.check_text_is_there()


class Kill(KvTest):
    def finished(self):
        """The ids of the finished answers; none where the kill came before the tables were there."""
        if not os.path.exists(self.database()) or not self.sql("SELECT 1 FROM sqlite_master WHERE name='seg'"):
            return {}
        rows = self.sql('SELECT m.id, s.tok FROM msg m LEFT JOIN seg s ON s.msg=m.id WHERE m.role=2 AND m.status=0')
        return dict(rows)

    def test_kill_9_at_any_moment(self):
        chance = random.Random(20261121)
        n_resumed = 0
        for i in range(ROUNDS):
            if i % 10 == 0:  # a new chat before the context is full
                shutil.rmtree(os.path.dirname(self.database()), ignore_errors=True)
                before = {}
            self.forget_rates()
            pid, fd = self.on_terminal(PROGRAM, MODEL, '--plain', *GREEDY, '-n', '70', '--session', 's')
            for k in range(3):
                os.write(fd, b'round %d, question %d\n' % (i, k))
                self.drain(fd, 0.05)
            self.drain(fd, chance.random() * 0.3)
            self.end(pid, fd, signal.SIGKILL)
            now = self.finished()
            self.assertEqual({k: v for k, v in now.items() if k in before}, before)
            self.assertEqual(self.sql('PRAGMA integrity_check'), [('ok',)])
            got = self.assert_like_computed('after the kill', *DRAWN, n='20')
            n_resumed += got['reused_disk'] > 0
            before = self.finished()
        self.assertEqual(self.kv('verify')['damaged'], 0)
        self.assertGreater(n_resumed, ROUNDS // 2)


class Together(KvTest):
    def test_two_programs_at_once_on_one_database(self):
        def talk(session, model):
            lines = [self.lines(model, '--session', session, *GREEDY, '-n', '12', '-p', '%d ' % i + LONG_TEXT[:400])
                     for i in range(4)]
            return [line['text'] for turn in lines for line in turn if line['type'] == 'assistant']
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(talk, name, model)
                    for name, model in [('a', MODEL), ('b', MODEL), ('c', SISTER)]]
            texts = [run.result() for run in runs]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(self.kv('verify')['damaged'], 0)
        self.assertEqual(len(self.kv('stat')['spaces']), 2)
        self.assert_like_computed('and now?', *GREEDY, session='a')
        self.assert_like_computed('and now?', *GREEDY, session='c', model=SISTER)


    def test_a_program_that_holds_the_file_costs_a_line(self):
        self.turn('hi ' * 200, *GREEDY)
        lock = sqlite3.connect(self.kv_path(), isolation_level=None, timeout=30)
        lock.execute('BEGIN EXCLUSIVE')
        r = self.run_program(MODEL, '--session', 's', *GREEDY, '-n', '5', '-p', LONG_TEXT)
        lock.execute('ROLLBACK')
        lock.close()
        self.assertEqual(r.returncode, 0)
        self.assertEqual(r.stderr.decode().count('the KV cache is not fully saved'), 1)
        self.assertEqual(self.ids()[-1][0], 'assistant')

    def test_a_program_that_reads_the_file_costs_no_block(self):
        first = self.turn('hi ' * 200, *GREEDY)
        self.forget_rates()
        reader = sqlite3.connect(self.kv_path(), isolation_level=None)
        reader.execute('BEGIN')
        reader.execute('SELECT count(*) FROM kv_block').fetchall()
        lines = self.lines(MODEL, '--session', 's', *GREEDY, '-n', '12', '-p', 'and now?')
        reader.execute('ROLLBACK')
        reader.close()
        self.assert_resumes(first, [line for line in lines if line['type'] == 'assistant'][0])
        self.assertGreater(self.turn('once more', *GREEDY)['reused_disk'], first['prompt_tokens'])

    def test_what_an_earlier_program_did_not_forget_is_forgotten(self):
        self.turn('hi ' * 200, *GREEDY, session='a')
        self.sql('INSERT INTO forgotten(uid) SELECT uid FROM conv')
        self.sql('DELETE FROM conv')
        n_blocks = self.kv('stat')['blocks']
        self.turn('x', *GREEDY, '--no-kv-store', session='b')
        self.assertEqual(self.sql('SELECT count(*) FROM forgotten'), [(1,)])
        for _ in range(5):  # the second at the latest tells chat.db what the first has done
            self.turn('y', *GREEDY, session='c')
        self.assertEqual(self.sql('SELECT count(*) FROM forgotten'), [(0,)])
        self.assertLess(self.kv('stat')['blocks'], n_blocks)


class Command(KvTest):
    def test_without_a_file(self):
        self.assertIn(b'no blocks are kept yet', self.check(0, 'kv', 'stat'))
        self.assertEqual(self.kv('stat')['blocks'], 0)
        self.assertEqual(self.kv('verify')['blocks'], 0)
        self.assertEqual(self.kv('clear')['freed_bytes'], 0)
        self.assertFalse(os.path.exists(self.kv_path()))

    def test_stat_verify_clear(self):
        self.turn('hi ' * 200, *GREEDY)
        stat = self.kv('stat')
        self.assertEqual(stat['bytes'], sum(s['bytes'] for s in stat['spaces']))
        self.assertEqual(stat['tokens'], stat['spaces'][0]['tokens'])
        self.assertIn(b'kv.db', self.check(0, 'kv', 'stat'))
        self.assertEqual(self.kv('verify')['blocks'], stat['blocks'])
        self.assertIn(b'freed', self.check(0, 'kv', 'clear'))
        self.assertEqual(self.kv('stat')['blocks'], 0)
        self.assertIn(b'nothing to drop', self.check(0, 'kv', 'clear'))

    def test_data_dir(self):
        where = os.path.join(self.home, 'here')
        self.lines(MODEL, '--data-dir', where, *GREEDY, '-n', '5', '-p', 'hi ' * 100)
        self.assertTrue(os.path.exists(os.path.join(where, 'kv.db')))
        self.assertFalse(os.path.exists(self.kv_path()))
        self.assertGreater(json.loads(self.check(0, 'kv', 'stat', '--json', '--data-dir', where))['blocks'], 0)

    def test_files_are_for_their_owner_alone(self):
        self.turn('hi', *GREEDY)
        self.assertEqual(os.stat(self.kv_path()).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(self.kv_path())).st_mode & 0o777, 0o700)

    def test_usage(self):
        self.check(2, 'kv', words=['stat, verify or clear'])
        self.check(2, 'kv', 'drop', words=['stat, verify or clear'])
        self.check(2, 'kv', 'stat', 'more', words=['nothing more'])

    def test_deleting_a_chat_deletes_what_only_it_used(self):
        self.turn('hi ' * 100, *GREEDY, '--system', LONG_TEXT, session='a')
        n_a = self.kv('stat')['blocks']
        self.turn('ho ' * 200, *GREEDY, '--system', LONG_TEXT, session='b')
        n_both = self.kv('stat')['blocks']
        ids = {c['name']: c['id'] for c in self.sessions()}
        self.assertIn(b'KV blocks', self.check(0, 'sessions', 'delete', str(ids['b'])))
        self.assertLessEqual(self.kv('stat')['blocks'], n_a)
        freed = json.loads(self.check(0, 'sessions', 'delete', str(ids['a']), '--json'))['kv_blocks']
        self.assertGreater(freed, 0)
        self.assertLess(freed, n_both)
        self.assertEqual(self.kv('stat')['blocks'], 0)

    def test_a_deletion_that_a_lock_cut_short_is_finished_by_the_next(self):
        self.turn('hi ' * 100, *GREEDY, session='a')
        self.turn('ho ' * 100, *GREEDY, session='b')
        ids = {c['name']: str(c['id']) for c in self.sessions()}
        other = sqlite3.connect(self.kv_path(), isolation_level=None)
        other.execute('BEGIN EXCLUSIVE')
        self.check(0, 'sessions', 'delete', ids['a'], words=['kv.db', 'may be left', 'next'])
        other.close()
        n_blocks = self.kv('stat')['blocks']
        self.assertEqual(len(self.sql('SELECT uid FROM forgotten')), 1)
        of_b = json.loads(self.check(0, 'sessions', 'delete', ids['b'], '--json'))['kv_blocks']
        self.assertLess(of_b, n_blocks)
        self.assertEqual(self.kv('stat')['blocks'], 0)
        self.assertEqual(self.sql('SELECT uid FROM forgotten'), [])

    def test_what_was_put_aside_goes_with_clear_and_with_a_deletion(self):
        bad = self.kv_path('kv.db.bad')
        for how in ('clear', 'clear without a cache', 'delete', 'delete without a cache'):
            self.turn('hi ' * 100, *GREEDY)
            shutil.copy(self.kv_path(), bad)
            shutil.copy(self.kv_path(), bad + '-journal')
            if how.endswith('without a cache'):
                os.unlink(self.kv_path())
            with self.subTest(how):
                if how.startswith('clear'):
                    self.assertRegex(self.check(0, 'kv', 'clear'), rb'kv\.db\.bad.*freed')
                else:
                    self.check(0, 'sessions', 'delete', str(self.sessions()[0]['id']))
                self.assertFalse(os.path.exists(bad) or os.path.exists(bad + '-journal'))


if __name__ == '__main__':
    main()
