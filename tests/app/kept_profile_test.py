"""Profiles kept with answers: every face keeps them, they stay with their answers, and no text depends on one."""
import json
import os
import random
import signal
import subprocess
import time
import unittest

import chat_db_v2
from harness import CHATML, PROGRAM, QWEN, WORK, ProgramTest, main, make_model

MOE = make_model('kept-moe.gguf', '--chatml', '--ctx', '2048', '--seed', '3', arch='qwen3moe')
N_LAYERS, N_EXPERTS, N_USED = 2, 8, 2  # tests/support/tiny_model.h
GREEDY = ('--temp', '0', '-n', '9')


class KeptTest(ProgramTest):
    def turn(self, model, *args, **more):
        """The last answer's JSON line."""
        return [line for line in self.lines(model, *args, **more) if line['type'] == 'assistant'][0]

    def profiles(self, chat=1):
        return json.loads(self.check(0, 'sessions', 'show', str(chat), '--profile', '--json'))

    def rows(self):
        return self.sql('SELECT * FROM prof ORDER BY msg')

    def chat(self, lines, *args, model=CHATML, session='s'):
        """Lines to the plain loop of one process, each but a command that asks nothing gets its answer."""
        pid, fd = self.on_terminal(PROGRAM, model, '--plain', *GREEDY, '--session', session, *args)
        n = self.n_answers()
        for line in lines:
            n += line[0] != '/' or line == '/regen'
            os.write(fd, line.encode() + b'\n')
            self.wait_until(lambda: self.drain(fd, 0.02) or self.n_answers() >= n)
        self.drain(fd, 0.3)
        os.write(fd, b'\x04')
        self.drain(fd, 0.3)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        os.close(fd)

    def n_answers(self):
        if not os.path.exists(self.database()) or not self.sql("SELECT 1 FROM sqlite_schema WHERE name='forgotten'"):
            return 0
        return self.sql('SELECT count(*) FROM msg WHERE role=2 AND status=0')[0][0]


class Kept(KeptTest):
    def test_a_turn_keeps_what_makes_it_comparable(self):
        turn = self.turn(CHATML, *GREEDY, '--threads', '2', '--kv-type', 'int8', '-p', 'hello there')
        p, = self.profiles()
        commit = self.check(0, '--version').decode().split('commit ')[1].split('\n')[0]
        self.assertIn(commit, p['build'])
        self.assertEqual((p['chat'], p['number'], p['threads'], p['kv_type']), (1, 2, 2, 'int8'))
        self.assertEqual(p['pos'], turn['prompt_tokens'])
        self.assertIn('F32', p['model'])
        self.assertIn('cpu', p['backend'])
        self.assertAlmostEqual(p['tok_s'] / (p['decode']['tokens'] / turn['decode_ms'] * 1000), 1, places=3)
        self.assertEqual(p['prefill']['tokens'], turn['prefilled_tokens'])
        self.assertIn(p['decode']['tokens'], (turn['completion_tokens'], turn['completion_tokens'] - 1))
        calls = {op['op']: op['calls'] for op in p['decode']['ops']}
        self.assertEqual(calls['qkv'], N_LAYERS * p['decode']['tokens'])
        self.assertIsNone(p['decode']['experts'])
        text = self.check(0, 'sessions', 'show', '1', '--profile').decode()
        for words in ('#2 ', p['build'], p['model'], 'KV int8', '2 threads', 'prefill: ', 'decode: ', 'qkv', 'sample'):
            self.assertIn(words, text)

    def test_one_token_has_no_speed(self):
        r = self.run_program(CHATML, '--temp', '0', '-n', '1', '-p', 'hello there')
        self.assertIn(b': 1 token (length); ', r.stderr)
        p, = self.profiles()
        self.assertEqual((p['decode']['tokens'], p['tok_s']), (0, None))
        self.assertNotIn(b'tokens/s', self.check(0, 'sessions', 'show', '1', '--profile'))

    def test_experts_are_counted(self):
        turn = self.turn(MOE, *GREEDY, '-p', 'hello there')
        p, = self.profiles()
        lines = self.check(0, 'sessions', 'show', '1', '--csv', '2').decode().splitlines()
        self.assertEqual(lines[0], 'layer,expert,prefill,decode')
        rows = [[int(x) for x in line.split(',')] for line in lines[1:]]
        self.assertEqual([row[:2] for row in rows], [[i, e] for i in range(N_LAYERS) for e in range(N_EXPERTS)])
        for layer in range(N_LAYERS):
            of_layer = [row for row in rows if row[0] == layer]
            self.assertEqual(sum(row[2] for row in of_layer), N_USED * turn['prefilled_tokens'])
            self.assertEqual(sum(row[3] for row in of_layer), N_USED * p['decode']['tokens'])
        busiest = p['decode']['experts']['busiest']
        layer = [row[3] for row in rows if row[0] == busiest['layer']]
        self.assertEqual(layer[busiest['expert']], max(layer))
        self.assertAlmostEqual(busiest['share'], max(layer) / sum(layer))
        for phase in ('prefill', 'decode'):
            self.assertTrue(1 / N_EXPERTS <= p[phase]['experts']['balance'] <= 1)
            self.assertTrue(0 <= p[phase]['experts']['entropy'] <= 3)
        self.assertTrue(0 <= p['decode']['experts']['overlap'] <= 1)
        self.assertIn(b'2 of 8 experts: balance ', self.check(0, 'sessions', 'show', '1', '--profile'))

    def test_two_answers_side_by_side(self):
        self.check(0, CHATML, *GREEDY, '--session', 'a', '-p', 'hi')
        self.check(0, CHATML, *GREEDY, '--session', 'a', '-p', 'and now?')
        self.check(0, MOE, *GREEDY, '--session', 'b', '--threads', '1', '-p', 'hi')
        for pair, numbers, differs in (('2,4', [(1, 2), (1, 4)], False), ('4,2:2', [(1, 4), (2, 2)], True),
                                       ('2:2,1:2', [(2, 2), (1, 2)], True)):
            args = ('sessions', 'show', '1', '--profile', '--compare', pair)
            got = json.loads(self.check(0, *args, '--json'))
            self.assertEqual([(p['chat'], p['number']) for p in (got['a'], got['b'])], numbers)
            ms = [{op['op']: op['ms'] / p['decode']['tokens'] for op in p['decode']['ops']} for p in (got['a'], got['b'])]
            self.assertAlmostEqual(got['ratio']['decode']['ops']['qkv'], ms[1]['qkv'] / ms[0]['qkv'], places=6)
            self.assertGreater(got['ratio']['prefill']['all'], 0)
            text = self.check(0, *args).decode()
            self.assertIn('B / A', text)
            self.assertEqual('not the same: model, backend, threads\n' in text, differs, text)
        gate_up = [line.split() for line in text.splitlines() if line.startswith('gate_up')]
        self.assertEqual([row[2:] for row in gate_up], [['-', '-']] * 2)  # only A has experts

    def test_wrong_questions_are_answered_with_a_sentence(self):
        self.check(0, CHATML, *GREEDY, '--session', 'a', '-p', 'hi')
        self.check(0, CHATML, *GREEDY, '--session', 'b', '-p', 'hi')
        self.sql('DELETE FROM prof WHERE msg=(SELECT max(msg) FROM prof)')
        show = ('sessions', 'show', '1')
        for code, args, words in [
            (2, (*show, '--compare', '2'), ['expected two answers']),
            (2, (*show, '--compare', ''), ['expected two answers']),
            (2, (*show, '--compare', '2,'), ['expected two answers']),
            (2, (*show, '--compare', '2,2,2'), ['expected two answers']),
            (2, (*show, '--compare', '2,-2'), ['expected two answers']),
            (2, (*show, '--compare', '2,0'), ['expected two answers']),
            (2, (*show, '--compare', '2, 2'), ['expected two answers']),
            (2, (*show, '--compare', '2,1:'), ['expected two answers']),
            (2, (*show, '--compare', '2,1:2:3'), ['expected two answers']),
            (2, (*show, '--compare', '2,99999999999999999999'), ['expected two answers']),
            (2, (*show, '--compare'), ['needs a value']),
            (2, (*show, '--csv', '0'), ['whole number from 1']),
            (2, (*show, '--csv', '2', '--json'), ['leave out']),
            (2, (*show, '--csv', '2', '--compare', '2,2'), ['leave out']),
            (2, ('sessions', 'list', '--profile'), ['sessions show ID']),
            (2, ('sessions', 'export', '1', '--csv', '2'), ['sessions show ID']),
            (2, ('sessions', 'show', '--profile'), ['one ID']),
            (1, (*show, '--compare', '2,3'), ['has no message #3']),
            (1, (*show, '--compare', '1,2'), ['message #1 of chat 1 is no answer']),
            (1, (*show, '--compare', '2,7:2'), ['there is no chat 7']),
            (1, (*show, '--compare', '2,2:2'), ['no profile was kept with message #2 of chat 2']),
            (1, (*show, '--csv', '4'), ['has no message #4']),
            (1, (*show, '--csv', '2'), ['without experts']),
            (1, ('sessions', 'show', '7', '--profile'), ['there is no chat 7']),
            (0, ('sessions', 'show', '2', '--profile'), ['no profile was kept']),
        ]:
            with self.subTest(args=args):
                self.check(code, *args, words=words)
        self.assertEqual(self.profiles(2), [])
        os.remove(self.database())
        self.check(1, *show, '--profile', words=['there is no chat 1'])

    def test_a_damaged_profile_hides_nothing_else(self):
        for text in ('hi', 'and now?', 'and then?'):
            self.check(0, CHATML, *GREEDY, '--session', 'a', '-p', text)
        export = self.export(1)
        self.sql("UPDATE prof SET packed=x'01ff', build='x' || char(27) || '[31m' || char(10) || 'y'"
                 " WHERE msg=(SELECT min(msg) FROM prof)")
        self.sql("UPDATE prof SET packed=zeroblob(5) WHERE msg=(SELECT max(msg) FROM prof)")
        shown = self.check(6, 'sessions', 'show', '1', '--profile', words=['#2: ', '#6: ', 'damaged', 'has form 0'])
        self.assertIn(b'#4 ', shown)
        self.assertNotIn(b'#2 ', shown)
        self.check(6, 'sessions', 'show', '1', '--compare', '2,4', words=['damaged'])
        self.check(6, 'sessions', 'show', '1', '--csv', '6', words=['has form 0'])
        self.assertEqual(self.export(1), export)
        self.sql("UPDATE prof SET packed=(SELECT packed FROM prof ORDER BY msg LIMIT 1 OFFSET 1)")
        self.assertIn(b'build x\xe2\x90\x9b[31m y\n', self.check(0, 'sessions', 'show', '1', '--profile'))

    def test_private_keeps_none(self):
        self.check(0, CHATML, *GREEDY, '--private', '-p', 'hi')
        self.assertFalse(os.path.exists(self.database()))

    def test_the_text_goes_first(self):
        self.check(0, CHATML, *GREEDY, '--session', 'a', '-p', 'hi')
        self.sql('DROP TABLE prof')
        self.check(0, CHATML, *GREEDY, '--session', 'a', '-p', 'and now?')
        messages = self.export(1)['messages']
        self.assertEqual([m['status'] for m in messages], ['done'] * 4)
        self.assertTrue(messages[3]['text'])

    def test_an_answer_that_was_stopped_has_one(self):
        p = subprocess.Popen([PROGRAM, make_model('kept-long.gguf', '--ctx', '65536', '--seed', '1'), '--temp', '0',
                              '-p', 'hi'], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        p.stdout.read(100)
        p.send_signal(signal.SIGINT)
        p.stdout.close()
        self.assertEqual(p.wait(), 130)
        self.assertEqual(self.export(1)['messages'][1]['status'], 'interrupted')
        self.assertGreater(self.profiles()[0]['decode']['tokens'], 0)

    def test_export_says_what_it_said(self):
        self.check(0, CHATML, *GREEDY, '-p', 'hi')
        self.assertEqual(set(self.export(1)['messages'][1]), {
            'id', 'parent', 'role', 'status', 'on_path', 'text', 'reasoning', 'created_ms', 'params', 'stats', 'tokens'})
        shown = json.loads(self.check(0, 'sessions', 'show', '1', '--json'))
        self.assertEqual([m['number'] for m in shown['messages']], [1, 2])


class Stays(KeptTest):
    def test_resume_branch_and_fork_keep_each_its_own(self):
        self.chat(['hi', '/regen'])
        self.assertEqual([p['number'] for p in self.profiles()], [2, 3])
        before = self.rows()
        self.chat(['and now?', '/branch', '/regen'])
        self.assertEqual(self.rows()[:2], before)
        self.assertEqual([p['number'] for p in self.profiles()], [2, 3, 5, 6])
        answers = [m['id'] for m in self.export(1)['messages'] if m['role'] == 'assistant']
        self.assertEqual([row[0] for row in self.rows()], answers)
        self.check(0, CHATML, *GREEDY, '--continue', '-p', 'one more')
        self.assertEqual(len(self.profiles()), 5)

        self.chat(['/fork'])
        self.assertEqual(len(self.sessions()), 2)
        fork = max(chat['id'] for chat in self.sessions())
        path = [m['number'] for m in json.loads(self.check(0, 'sessions', 'show', '1', '--json'))['messages']
                if m['on_path'] and m['role'] == 'assistant']

        def without_names(profiles):
            return [{k: v for k, v in p.items() if k not in ('chat', 'number', 'id')} for p in profiles]
        self.assertEqual(without_names(self.profiles(fork)),
                         without_names(p for p in self.profiles() if p['number'] in path))
        self.check(0, 'sessions', 'delete', '1')
        self.assertEqual(len(self.profiles(fork)), len(path))
        self.check(0, 'sessions', 'delete', str(fork))
        self.assertEqual(self.rows(), [])

    def test_another_model_leaves_the_old_ones(self):
        self.check(0, CHATML, *GREEDY, '--session', 'a', '-p', 'hi')
        self.check(0, QWEN, *GREEDY, '--session', 'a', '-p', 'and now?')
        self.check(0, MOE, *GREEDY, '--session', 'a', '-p', 'and then?')
        self.assertEqual([p['decode']['experts'] is None for p in self.profiles()], [True, True, False])

    def test_kill_9_leaves_texts_and_profiles_together(self):
        chance = random.Random(20261130)
        n_finished = 0
        for i in range(20):
            pid, fd = self.on_terminal(PROGRAM, MOE, '--plain', '--temp', '0', '-n', '6', '--session', 's')
            os.write(fd, b'finished %d\n' % i)
            n_finished += 1
            self.wait_until(lambda: self.drain(fd, 0.02) or self.n_answers() >= n_finished)
            os.write(fd, b'killed %d\n' % i)
            self.drain(fd, chance.random() * 0.06)
            self.end(pid, fd, signal.SIGKILL)
            self.assertEqual(self.sql('PRAGMA integrity_check'), [('ok',)])
            n_finished = self.n_answers()
            questions = [row[0] for row in self.sql('SELECT text FROM msg WHERE role=1')]
            self.assertIn('finished %d' % i, questions)
            self.assertEqual(self.sql('SELECT id FROM msg WHERE role=2 AND status=0 ORDER BY id'),
                             self.sql('SELECT msg FROM prof ORDER BY msg'))
        self.assertGreaterEqual(n_finished, 20)
        self.assertEqual(len(self.profiles()), n_finished)


class Older(KeptTest):
    """The file of an earlier version."""

    def setUp(self):
        super().setUp()
        os.makedirs(os.path.dirname(self.database()), mode=0o700)
        with open(self.database(), 'wb') as f:
            f.write(chat_db_v2.DATA)
        os.chmod(self.database(), 0o600)

    def version(self, path=None):
        return self.sql('PRAGMA user_version', path=path)[0][0]

    def test_reading_changes_nothing(self):
        self.assertEqual([m['text'] for m in self.export(1)['messages'] if m['role'] == 'user'],
                         ['an old question', 'another one'])
        self.check(0, 'sessions', 'show', '1', '--profile', words=['earlier versions have none'])
        self.check(1, 'sessions', 'show', '1', '--compare', '2,4', words=['no profile was kept with message #2'])
        with open(self.database(), 'rb') as f:
            self.assertEqual(f.read(), chat_db_v2.DATA)

    def test_the_next_turn_brings_it_up_to_date(self):
        before = self.export(1)
        self.check(0, CHATML, *GREEDY, '--session', 'work', '-p', 'a new question')
        self.assertEqual(self.version(), 3)
        self.assertEqual(self.version(self.database() + '.old'), 2)
        after = self.export(1)
        def forms(chat):
            return [(m['id'], m['parent'], m['text'], m['status'], m['tokens'], m['stats']) for m in chat['messages']]
        self.assertEqual(forms(after)[:5], forms(before))
        self.assertEqual([p['number'] for p in self.profiles()], [7])
        self.assertEqual(self.sql('PRAGMA integrity_check'), [('ok',)])
        self.assertTrue(json.loads(self.check(0, 'sessions', 'search', 'old', '--json')))

    def test_kill_9_in_the_middle_of_that_loses_nothing(self):
        before = self.export(1)
        chance = random.Random(3)
        for _ in range(15):
            for path in (self.database(), self.database() + '.old', self.database() + '-journal'):
                if os.path.exists(path):
                    os.remove(path)
            with open(self.database(), 'wb') as f:
                f.write(chat_db_v2.DATA)
            p = subprocess.Popen([PROGRAM, CHATML, '--session', 'work', '-n', '1', '-p', 'x'], env=self.env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.random() * 0.04)
            p.kill()
            p.wait()
            after = self.export(1)
            self.assertEqual([m['text'] for m in after['messages']][:5], [m['text'] for m in before['messages']])


if __name__ == '__main__':
    main()
