"""The command line: usage errors, exit codes, JSON lines, standard input, saved chats, signals."""
import array
import errno
import json
import os
import resource
import shutil
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
import unittest

from harness import CHATML, LONG, PROGRAM, QWEN, SMALL, STORIES, WORK, ProgramTest, main, make_model, patched_copy

TURN = ('--temp', '0', '-n', '8')
MOE = make_model('moe.gguf', '--ctx', '256', '--seed', '3', arch='qwen2moe')


def signals_as_usual():
    """For a child that is to be interrupted, even when these tests run in the background."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Usage(ProgramTest):
    def test_wrong_options_exit_2_and_say_why(self):
        for args, words in [
            ((LONG, '--tmep', '1'), ['--temp']),
            ((LONG, '--temp', 'warm', '-p', 'x'), ['warm', 'expected a number']),
            ((LONG, '--top-p', '1.5', '-p', 'x'), ['1.5', 'from 0 to 1']),
            ((LONG, '-n', '3x', '-p', 'x'), ['3x', 'whole number']),
            ((LONG, '-n'), ['needs a value']),
            ((LONG, '--raw=1', '-p', 'x'), ['takes no value']),
            ((LONG, '--backend', 'cuda', '-p', 'x'), ['auto|cpu|opencl']),
            ((LONG, '--kv-type', 'q8_0', '-p', 'x'), ['f16|f32|int8']),
            ((LONG, '--think', 'maybe', '-p', 'x'), ['on|off|auto']),
            ((LONG, '--private', '--continue', '-p', 'x'), ['--private']),
            ((LONG, '--private', '--session', 'a', '-p', 'x'), ['--private']),
            ((LONG, '--session', 'a', '--continue', '-p', 'x'), ['one of them']),
            ((LONG, CHATML, '-p', 'x'), ['expected one model']),
            ((LONG, '-p', ''), ['empty']),
            (('render', '--messages', 'x'), ['no model file']),
            (('devices', 'x'), ['takes no words']),
            (('sessions', 'show'), ['one ID']),
            (('sessions', 'rename', '1'), ['list, show, export, delete or search']),
            (('sessions', 'search'), ['search with words']),
            (('logits', LONG), ['--tokens']),
            (('logits', LONG, '--tokens', '1,x', '--out', '/dev/null'), ['separated by commas']),
            (('logits', LONG, '--tokens', '999999', '--out', '/dev/null'), ['outside the vocabulary']),
            (('bench',), ['no model']),
        ]:
            with self.subTest(args=args):
                self.check(2, *args, words=words)

    def test_options_may_stand_anywhere(self):
        a = self.check(0, '--raw', LONG, *TURN, '-p', 'hi')
        b = self.check(0, '-p', 'hi', '-n8', '--temp=0', LONG, '--raw')
        c = self.check(0, '-p', 'hi', *TURN, '--raw', '--', LONG)
        self.assertEqual(a, b)
        self.assertEqual(a, c)

    def test_help_and_version(self):
        self.assertIn(b'--repeat-penalty', self.check(0, '--help'))
        self.assertIn(b'--depth', self.check(0, 'bench', '--help'))
        self.assertRegex(self.check(0, '--version'), rb'ferrum-chat \S+\ncommit .*\ncompiler .*\nfeatures .*')

    def test_config_file_errors_name_the_line(self):
        path = os.path.join(self.home, '.config/ferrum-chat/config')
        os.makedirs(os.path.dirname(path))
        for text, words in [('# ok\ntop-k = many\n', [path + ':2: top-k: many: ']),
                            ('topk = 3\n', [path + ':1: topk: 3: ', 'top-k']),
                            ('nonsense\n', [path + ':1: ']),
                            ('prompt = x\n', ['command line'])]:
            with open(path, 'w') as f:
                f.write(text)
            with self.subTest(text=text):
                self.check(2, LONG, '-p', 'x', words=words)

    def test_config_file_is_used_and_the_command_line_wins(self):
        path = os.path.join(self.home, '.config/ferrum-chat/config')
        os.makedirs(os.path.dirname(path))
        with open(path, 'w') as f:
            f.write('n-predict = 3\ntemp = 0\n')
        self.assertEqual(self.lines(LONG, '-p', 'hi')[-2]['completion_tokens'], 3)
        self.assertEqual(self.lines(LONG, '-p', 'hi', '-n', '5')[-2]['completion_tokens'], 5)


    def config(self):
        path = os.path.join(self.home, '.config/ferrum-chat/config')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def test_a_config_file_that_is_no_text_file_is_refused_at_once(self):
        path = self.config()
        os.mkfifo(path)
        self.check(2, LONG, '-p', 'x', words=[path, 'special file', 'regular file'])
        os.unlink(path)
        os.symlink('/dev/zero', path)
        self.check(2, LONG, '-p', 'x', words=[path, 'special file'])
        os.unlink(path)
        os.mkdir(path)
        self.check(2, LONG, '-p', 'x', words=[path, 'directory'])
        os.rmdir(path)
        for content, words in [(b'temp = 0\ntop\0-k = 3\n', [path + ':2: ', 'NUL']),
                               (b'# ' + b'x' * 70000, ['64 KiB'])]:
            with open(path, 'wb') as f:
                f.write(content)
            with self.subTest(content=content[:20]):
                self.check(2, LONG, '-p', 'x', words=words)

    def test_a_directory_in_the_config_file_is_not_that_of_the_start(self):
        for line, words in [('data-dir = chats', ':1: data-dir: chats: expected a whole path, from / or ~/ on'),
                            ('temp', ':1: temp: expected a line'), ('= 3', ':1: 3: unknown setting'),
                            ('temq = 3', 'did you mean temp?')]:
            with open(self.config(), 'w') as f:
                f.write(line + '\n')
            with self.subTest(line=line):
                self.check(2, LONG, '-p', 'x', words=[words])
        with open(self.config(), 'w') as f:
            f.write('data-dir = ~/chats\n')
        self.check(0, LONG, *TURN, '-p', 'x')
        self.assertTrue(os.path.exists(os.path.join(self.home, 'chats/chat.db')))

    def test_a_subcommand_with_a_slip_is_no_model(self):
        for word, meant in [('session', 'sessions'), ('benc', 'bench'), ('help', '--help'), ('version', '--version')]:
            with self.subTest(word=word):
                self.check(2, word, words=['there is no file "%s"' % word, '`ferrum-chat %s`?' % meant])
        self.check(3, 'sessio.gguf', '-p', 'x', words=['cannot be opened'])

    def test_a_byte_order_mark_in_the_config_file_is_skipped(self):
        with open(self.config(), 'wb') as f:
            f.write(b'\xef\xbb\xbfn-predict = 3\n')
        self.assertEqual(self.lines(LONG, '--temp', '0', '-p', 'hi')[-2]['completion_tokens'], 3)

    def test_every_failure_under_json_is_told_in_json_too(self):
        def last(code, *args):
            r = self.run_program(*args)
            self.assertEqual(r.returncode, code, r.stderr)
            self.assertEqual(r.stderr.count(b'\n'), 1)
            lines = [json.loads(line) for line in r.stdout.splitlines()]
            self.assertEqual([x['type'] for x in lines], ['error', 'exit'])
            self.assertEqual([x['code'] for x in lines], [code, code])
            self.assertIn(lines[0]['message'], r.stderr.decode())
        last(2, LONG, '-p', 'x', '--temp', 'hot', '--json')
        last(2, LONG, '--json', '--tmep', '1', '-p', 'x')
        last(6, LONG, '-p', 'x', '--data-dir', '/dev/null/x', '--json')
        last(1, 'sessions', 'show', '1', '--json')
        last(3, 'inspect', os.path.join(self.home, 'absent.gguf'), '--json')
        with open(self.config(), 'w') as f:
            f.write('temp = hot\n')
        last(2, LONG, '-p', 'x', '--json')
        self.assertEqual(self.check(2, LONG, '-p', '--', '--temp', 'hot'), b'')

    def test_an_empty_model_name_is_named(self):
        self.check(2, '', '-p', 'hi', words=["the model's name is empty"])
        self.check(2, 'bench', '', words=["the model's name is empty"])

    def test_names_of_chats_are_one_line_of_text(self):
        for name, words in [('', '0 bytes'), ('a\nb', 'control'), ('a\x1b[2J', 'control'), ('a\u0085', 'control'),
                            ('n' * 201, '201 bytes'), (b'\xff', 'UTF-8')]:
            with self.subTest(name=name):
                self.check(2, LONG, *TURN, '-p', 'x', '--session', name, words=['--session', words])
        self.check(0, LONG, *TURN, '-p', 'x', '--session', 'ä' * 100)


class BadFiles(ProgramTest):
    def test_models_that_cannot_be_loaded_exit_3(self):
        junk = os.path.join(self.home, 'junk.gguf')
        cut = os.path.join(self.home, 'cut.gguf')
        with open(junk, 'wb') as f:
            f.write(b'no model at all' * 100)
        with open(LONG, 'rb') as f, open(cut, 'wb') as g:
            g.write(f.read()[:-1000])
        for path in (junk, cut, self.home, os.path.join(self.home, 'absent.gguf')):
            with self.subTest(path=path):
                self.check(3, path, '-p', 'x', words=[os.path.basename(path)])
                lines = self.lines(path, '-p', 'x', code=3)
                self.assertEqual([x['type'] for x in lines], ['error', 'exit'])
                self.assertEqual(lines[-1]['code'], 3)

    def test_a_damaged_database_is_named_and_kept(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        with open(self.database(), 'wb') as f:
            f.write(b'this is no database' * 1000)
        self.check(6, LONG, *TURN, '-p', 'hi', words=['chat.db'])
        self.check(6, 'sessions', 'list', words=['chat.db'])
        with open(self.database(), 'rb') as f:
            self.assertTrue(f.read().startswith(b'this is no database'))

    def test_a_data_directory_that_cannot_be_made_is_an_error(self):
        self.check(6, LONG, '-p', 'x', '--data-dir', '/dev/null/x', words=['/dev/null', '--data-dir'])

    def test_a_chat_goes_on_without_its_state_directory(self):
        os.makedirs(os.path.join(self.home, '.local'))
        state = os.path.join(self.home, '.local/state')
        open(state, 'w').close()
        r = self.run_program(LONG, *TURN, '--json', '-p', 'hi')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(r.stderr.count(b'\n'), 1, r.stderr)
        self.assertIn(state.encode(), r.stderr)
        self.assertEqual(self.sessions()[0]['messages'], 2)


class OneTurn(ProgramTest):
    def test_json_lines_have_the_documented_fields(self):
        lines = self.lines(LONG, *TURN, '-p', 'hi', '--seed', '7')
        self.assertEqual(lines[0]['type'], 'ready')
        self.assertEqual(list(lines[0]),
                         ['type', 'model', 'arch', 'quant', 'backend', 'threads', 'ctx', 'seed', 'load_ms'])
        self.assertEqual(lines[0]['seed'], 7)
        self.assertEqual(lines[1], {'type': 'user', 'text': 'hi'})
        tokens, answer, end = lines[2:-2], lines[-2], lines[-1]
        self.assertTrue(all(list(t) == ['type', 'id', 'text'] and t['type'] == 'token' for t in tokens))
        fields = ['type', 'text', 'reasoning', 'finish_reason', 'prompt_tokens', 'reused_tokens', 'prefilled_tokens',
                  'completion_tokens', 'ttft_ms', 'prefill_ms', 'decode_ms', 'guessed_tokens', 'right_guesses']
        self.assertEqual(list(answer), fields + ['reused_memory', 'reused_disk', 'kv_written_bytes',
                                                  'damaged_blocks', 'saved_ms'])
        self.assertEqual(list(self.lines(LONG, *TURN, '-p', 'hi', '--no-kv-store')[-2]), fields)
        self.assertEqual(''.join(t['text'] for t in tokens), answer['text'])
        self.assertEqual(answer['finish_reason'], 'length')
        self.assertEqual(answer['completion_tokens'], 8)
        self.assertEqual(answer['prompt_tokens'], answer['reused_tokens'] + answer['prefilled_tokens'])
        self.assertEqual(end, {'type': 'exit', 'code': 0})

    def test_stdout_is_the_answer_and_one_newline(self):
        answer = self.lines(LONG, *TURN, '-p', 'hi')[-2]['text']
        self.assertEqual(self.check(0, LONG, *TURN, '-p', 'hi').decode(), answer + '\n')

    def test_prompt_is_stdin_then_p(self):
        def user(*args, stdin):
            return self.lines(LONG, *TURN, *args, stdin=stdin)[1]['text']
        self.assertEqual(user(stdin=b'a'), 'a\n')
        self.assertEqual(user(stdin=b'a\n'), 'a\n')
        self.assertEqual(user('-p', 'b', stdin=b'a'), 'a\nb')
        self.assertEqual(user('--raw', '-p', 'b', stdin=b'a'), 'ab')
        self.assertEqual(user('-p', 'b', stdin=b''), 'b')
        self.check(2, LONG, stdin=b'', words=['empty'])

    def test_invalid_utf8_is_replaced_with_one_warning(self):
        r = self.run_program(LONG, *TURN, '--json', stdin=b'a\xff\xfe b\xc3')
        self.assertEqual(json.loads(r.stdout.splitlines()[1])['text'], 'a\ufffd\ufffd b\ufffd\n')
        self.assertEqual(r.stderr.count(b'UTF-8'), 1)

    def test_an_invalid_system_message_is_replaced_with_one_warning(self):
        r = self.run_program(CHATML, *TURN, '-p', 'hi', '--system', b'be \xff kind')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(r.stderr.count(b'UTF-8'), 1)
        self.assertEqual(self.export(1)['messages'][0]['text'], 'be \ufffd kind')

    def test_a_context_beyond_the_trained_one_is_warned_of(self):
        self.check(0, SMALL, *TURN, '-p', 'hi', '--ctx', '256', words=['trained at 64 tokens'])
        self.assertNotIn(b'trained at', self.run_program(SMALL, *TURN, '-p', 'hi', '--ctx', '64').stderr)

    def start_and_lock(self):
        """A program in the middle of its answer, and the lock that keeps it from saving the end."""
        for n in (100, 200, 400, 800, 1600, 3200, 6400, 12800, 20000): # the lock must not outlast its waiting
            shutil.rmtree(os.path.join(self.home, '.local'), ignore_errors=True)
            p = subprocess.Popen([PROGRAM, LONG, '--temp', '0', '-n', str(n), '-p', 'hi', '--json'], env=self.env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self.addCleanup(p.stdout.close)
            self.addCleanup(p.wait)
            self.addCleanup(p.kill)
            while b'"token"' not in p.stdout.readline():
                pass
            lock = sqlite3.connect(self.database(), isolation_level=None)
            self.addCleanup(lock.close)
            lock.execute('BEGIN IMMEDIATE')
            if lock.execute('SELECT status FROM msg WHERE role = 2').fetchall() != [(0,)]:
                return p, lock
            p.kill()
        self.fail('every answer ended before it could be held up')

    def test_an_answer_is_saved_before_it_is_said_to_be_finished(self):
        p, lock = self.start_and_lock()
        os.set_blocking(p.stdout.fileno(), False)
        seen, n_silent = b'', 0
        while n_silent < 30: # the answer is over, all but its last line
            more = p.stdout.read() or b''
            seen += more
            n_silent = 0 if more else n_silent + 1
            time.sleep(0.01)
        self.assertNotIn(b'"assistant"', seen)
        lock.execute('ROLLBACK')
        while b'"assistant"' not in seen and p.poll() is None:
            seen += p.stdout.read() or b''
            time.sleep(0.001)
        p.kill()
        p.wait()
        self.assertEqual(self.export(1)['messages'][1]['status'], 'done')

    def test_seed_decides_the_answer(self):
        a = self.check(0, LONG, '-p', 'hi', '-n', '20', '--seed', '5')
        self.assertEqual(a, self.check(0, LONG, '-p', 'hi', '-n', '20', '--seed', '5'))
        self.assertNotEqual(a, self.check(0, LONG, '-p', 'hi', '-n', '20', '--seed', '6'))

    def test_stop_text_is_not_part_of_the_answer(self):
        whole = self.lines(LONG, '--temp', '0', '-n', '40', '-p', 'hi')[-2]['text']
        stop = whole[10:13]
        cut = self.lines(LONG, '--temp', '0', '-n', '40', '-p', 'hi', '--stop', stop)[-2]
        self.assertEqual(cut['finish_reason'], 'stop')
        self.assertEqual(cut['text'], whole[:whole.index(stop)])

    def test_a_prompt_that_does_not_fit_exits_5(self):
        lines = self.lines(SMALL, '-p', 'word ' * 200, code=5)
        self.assertEqual([x['type'] for x in lines[-2:]], ['error', 'exit'])
        self.assertEqual(lines[-2]['code'], 5)

    def test_a_full_context_ends_the_answer_with_exit_0(self):
        self.assertEqual(self.lines(SMALL, '--temp', '0', '-p', 'hi', '--ctx', '64')[-2]['finish_reason'], 'context')

    def test_profile_is_written_as_json(self):
        path = os.path.join(self.home, 'p.json')
        self.check(0, LONG, *TURN, '-p', 'hi', '--profile', path)
        with open(path) as f:
            self.assertGreater(json.load(f)['decode']['tokens'], 0)

    @unittest.skipUnless(os.path.exists(STORIES), 'SKIP: FERRUM_SHARED has no models/stories260K.gguf')
    def test_a_trained_model_tells_its_story(self):
        out = self.check(0, STORIES, '--raw', '-p', 'Once upon a time', '-n', '60', '--temp', '0').decode()
        self.assertTrue(out.startswith(
            ', there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, '
            'red ball. She wanted to play with it, but it was too high.'), out)


class Subcommands(ProgramTest):
    def test_tokenize(self):
        self.assertEqual(self.check(0, 'tokenize', LONG, stdin=b''), b'\n')
        ids = self.check(0, 'tokenize', LONG, stdin=b'hello')
        self.assertRegex(ids, rb'^\d+( \d+)*\n$')
        self.assertEqual(self.check(0, 'tokenize', LONG, '--bos', stdin=b'hello').split()[1:], ids.split())
        plain = self.check(0, 'tokenize', CHATML, stdin=b'<|im_end|>').split()
        special = self.check(0, 'tokenize', CHATML, '--special', stdin=b'<|im_end|>').split()
        self.assertGreater(len(plain), len(special))

    def test_logits_has_a_row_per_token(self):
        out = os.path.join(self.home, 'l.f32')
        self.check(0, 'logits', LONG, '--tokens', '1,2,3', '--out', out)
        n_vocab = json.loads(self.check(0, 'inspect', LONG, '--json'))['config']['n_vocab']
        self.assertEqual(os.path.getsize(out), 3 * n_vocab * 4)
        self.check(5, 'logits', LONG, '--tokens', '1,2,3', '--out', out, '--ctx', '2')
        self.check(1, 'logits', LONG, '--tokens', '1,2,3', '--out', '/dev/full', words=['/dev/full'])

    def test_every_type_of_the_kv_cache_is_taken(self):
        logits = {}
        for kv in ['f32', 'f16', 'int8']:
            out = os.path.join(self.home, f'{kv}.f32')
            self.check(0, 'logits', LONG, '--tokens', '3,40,77,8,120,9', '--out', out, '--kv-type', kv)
            with open(out, 'rb') as f:
                logits[kv] = array.array('f', f.read())
            self.check(0, CHATML, '--kv-type', kv, '-p', 'hello', '-n', '5', '--private')
        for kv, bound in [('f16', 1e-5), ('int8', 1e-3)]:
            off = sum((a - b) ** 2 for a, b in zip(logits[kv], logits['f32']))
            self.assertTrue(0 < off < bound * sum(b * b for b in logits['f32']), (kv, off))

    def test_a_logits_file_is_whole_or_not_there(self):
        out = os.path.join(self.home, 'l.f32')
        ids = ','.join('1' for _ in range(20000))
        for number in (signal.SIGINT, signal.SIGTERM):
            p = subprocess.Popen([PROGRAM, 'logits', LONG, '--tokens', ids, '--out', out], env=self.env,
                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=signals_as_usual)
            self.addCleanup(p.wait)
            self.addCleanup(p.kill)
            until = time.monotonic() + 30
            while not os.listdir(self.home) and time.monotonic() < until:
                time.sleep(0.002)
            self.assertNotEqual(os.listdir(self.home), ['l.f32'])
            p.send_signal(number)
            self.assertEqual(p.wait(30), -number)
            self.assertEqual(os.listdir(self.home), [])

    def test_logits_replace_a_file_and_keep_its_mode_and_links(self):
        real, link = os.path.join(self.home, 'real'), os.path.join(self.home, 'link')
        with open(real, 'wb') as f:
            f.write(b'old')
        os.chmod(real, 0o640)
        os.symlink('real', link)
        self.check(0, 'logits', LONG, '--tokens', '1,2', '--out', link)
        self.assertTrue(os.path.islink(link))
        self.assertEqual(stat.S_IMODE(os.stat(real).st_mode), 0o640)
        self.assertGreater(os.path.getsize(real), 3)
        self.assertEqual(sorted(os.listdir(self.home)), ['link', 'real'])

    def test_bench_json(self):
        report = json.loads(self.check(0, 'bench', LONG, '-p', '8', '-n', '4', '-r', '2', '-d', '3', '--json'))
        report.pop('bf16_gmac_s', None)  # only where there are dot products of bf16
        self.assertEqual(list(report), ['model', 'arch', 'quant', 'backend', 'threads', 'read_gb_s', 'int8_gmac_s',
                                        'f32_gmac_s', 'tests'])
        self.assertEqual([t['name'] for t in report['tests']], ['pp8', 'tg4'])
        for t in report['tests']:
            self.assertEqual(list(t), ['name', 'tok_s', 'min', 'max', 'gb_s', 'read_share', 'gmac_s', 'peak_share'])
            self.assertTrue(0 < t['min'] <= t['tok_s'] <= t['max'])
            self.assertTrue(t['peak_share'] > 0 and t['read_share'] > 0, t)
        self.assertTrue(report['f32_gmac_s'] > 0 and report['int8_gmac_s'] > 0)

    def test_bench_counts_multiply_adds_and_bytes(self):
        """An f32 matrix has a multiply-add for every four bytes; a prompt reads the weights once, and its head once."""
        c = json.loads(self.check(0, 'inspect', LONG, '--json'))['config']
        report = json.loads(self.check(0, 'bench', LONG, '-p', '16', '-n', '8', '-r', '1', '--json'))
        prefill, decode = report['tests']
        per_token = decode['gmac_s'] / decode['tok_s'] * 1e9
        self.assertLess(per_token, c['token_weight_bytes'] / 4)
        self.assertGreater(per_token, c['token_weight_bytes'] / 4 * 0.9)  # without norms and the row of the embedding
        self.assertLess(prefill['gmac_s'] / prefill['tok_s'] * 1e9, per_token)
        for t in report['tests']:
            self.assertAlmostEqual(t['peak_share'], t['gmac_s'] / report['f32_gmac_s'], delta=1e-3 * t['peak_share'])
            self.assertAlmostEqual(t['gb_s'], t['read_share'] * report['read_gb_s'], delta=1e-3 * t['gb_s'])
        read = {t['name']: t['gb_s'] / t['tok_s'] for t in report['tests']}
        self.assertGreater(read['tg8'] * 1e9, c['token_weight_bytes'] * 0.99)  # without the embedding's row
        self.assertLess(read['pp16'], read['tg8'] / 10)

    def test_guesses_change_no_answer(self):
        """Tried wherever there are any, or never: the same tokens, greedy and sampled; a word that is none is refused."""
        for more in (('--temp', '0'), ('--temp', '0.9', '--seed', '5')):
            answers = {}
            for mode in ('off', 'always', ''):
                self.env['FERRUM_SPECULATE'] = mode
                lines = self.lines(LONG, '--private', '--raw', '-n', '200', '-p', 'abc abc abc abc', *more)
                answers[mode] = ([line for line in lines if line['type'] == 'token'],
                                 next(line for line in lines if line['type'] == 'assistant'))
            self.assertEqual(answers['off'][0], answers['always'][0])
            self.assertEqual(answers['off'][0], answers[''][0])
            self.assertEqual([answers['off'][1][k] for k in ('guessed_tokens', 'right_guesses')], [0, 0])
            self.assertGreater(answers['always'][1]['guessed_tokens'], 0)
        self.env['FERRUM_SPECULATE'] = 'perhaps'
        self.check(2, LONG, '--private', '-p', 'x', words=['FERRUM_SPECULATE', 'perhaps', 'always'])

    def test_a_name_with_escapes_does_not_reach_the_terminal(self):
        path = patched_copy(LONG, 'escape.gguf', b'tiny random', b'ti\x1b]0;\x07 dom')
        self.assertNotIn(b'\x1b', self.check(0, 'bench', path, '-p', '8', '-n', '4', '-r', '1'))

    def test_inspect_text_and_json(self):
        self.assertIn(b'general.architecture', self.check(0, 'inspect', LONG))
        report = json.loads(self.check(0, 'inspect', LONG, '--json'))
        self.assertEqual(report['config']['arch'], 'llama')
        self.assertTrue(report['tensors'])

    def test_inspect_shows_experts(self):
        config = json.loads(self.check(0, 'inspect', MOE, '--json'))['config']
        self.assertEqual([config[k] for k in ('n_expert', 'n_expert_used', 'n_ff_expert', 'n_ff_shared')],
                         [8, 2, 32, 96])
        self.assertLess(config['token_weight_bytes'], config['weight_bytes'])
        self.assertRegex(self.check(0, 'inspect', MOE), rb'n_expert_used +2\n')
        self.assertNotIn('n_expert', json.loads(self.check(0, 'inspect', LONG, '--json'))['config'])

    def test_bench_counts_the_experts_used(self):
        config = json.loads(self.check(0, 'inspect', MOE, '--json'))['config']
        report = json.loads(self.check(0, 'bench', MOE, '-p', '0', '-n', '8', '-r', '1', '--json'))
        decode = report['tests'][0]
        read = decode['gb_s'] * 1e9 / decode['tok_s']  # weights and a few rows of KV
        self.assertGreater(read, config['token_weight_bytes'] * 0.99)
        self.assertLess(read, config['token_weight_bytes'] * 1.1)

    def test_a_profile_names_the_experts_operations(self):
        path = os.path.join(self.home, 'p.json')
        self.check(0, MOE, *TURN, '-p', 'hi', '--profile', path)
        with open(path) as f:
            text = f.read()
        for name in ('router', 'gate_up', 'down', 'weighted_sum', 'attention'):
            self.assertIn('"%s"' % name, text)

    def test_a_subcommand_into_a_full_device_exits_1(self):
        with open('/dev/full', 'wb') as full:
            r = subprocess.run([PROGRAM, 'inspect', LONG], stdout=full, stderr=subprocess.PIPE, env=self.env)
        self.assertEqual(r.returncode, 1)


class Sessions(ProgramTest):
    def test_a_named_chat_goes_on(self):
        first = self.lines(CHATML, *TURN, '--session', 'a', '-p', 'one')[-2]
        second = self.lines(CHATML, *TURN, '--session', 'a', '-p', 'two')[-2]
        self.assertGreater(second['prompt_tokens'], first['prompt_tokens'] + first['completion_tokens'])
        chats = self.sessions()
        self.assertEqual(len(chats), 1)
        self.assertEqual((chats[0]['name'], chats[0]['title'], chats[0]['messages']), ('a', 'one', 4))

    def test_stored_ids_are_what_the_model_saw(self):
        first = self.lines(CHATML, *TURN, '--session', 'a', '-p', 'one')
        second = self.lines(CHATML, *TURN, '--session', 'a', '-p', 'two')
        chat = self.export(1)
        n = [len(m['tokens']) for m in chat['messages']]
        self.assertEqual(first[-2]['prompt_tokens'], n[0])
        self.assertEqual(second[-2]['prompt_tokens'], sum(n[:3]))
        sampled = [t['id'] for t in second if t['type'] == 'token' and t['id'] >= 0]
        self.assertEqual(chat['messages'][3]['tokens'][:len(sampled)], sampled)

    def test_continue_needs_no_model_and_takes_the_latest(self):
        self.check(1, '--continue', '-p', 'x', words=['no chat'])
        self.check(0, LONG, *TURN, '-p', 'first')
        self.check(0, CHATML, *TURN, '-p', 'second')
        self.check(0, '--continue', *TURN, '-p', 'more')
        chats = self.sessions()
        self.assertEqual([c['messages'] for c in chats], [4, 2])
        self.assertEqual(chats[0]['title'], 'second')
        self.check(0, '--resume', str(chats[1]['id']), *TURN, '-p', 'more')
        self.check(1, '--resume', '77', '-p', 'x', words=['77'])

    def test_continue_refuses_a_changed_model_file(self):
        path = os.path.join(self.home, 'm.gguf')
        with open(LONG, 'rb') as f, open(path, 'wb') as g:
            g.write(f.read())
        self.check(0, path, *TURN, '-p', 'hi')
        with open(CHATML, 'rb') as f, open(path, 'wb') as g:
            g.write(f.read())
        self.check(3, '--continue', '-p', 'x', words=['changed'])
        self.check(0, path, '--continue', *TURN, '-p', 'x')

    def test_a_stored_model_that_is_gone_is_named_with_the_way_out(self):
        path, moved = os.path.join(self.home, 'm.gguf'), os.path.join(self.home, 'moved.gguf')
        os.symlink(LONG, moved)
        shutil.copy(LONG, path)
        self.check(0, path, *TURN, '-p', 'hi')
        os.unlink(path)
        for args in (('--continue',), ('--resume', '1')):
            self.check(3, *args, '-p', 'x',
                       words=[path, 'this chat was last used with', 'ferrum-chat MODEL.gguf --resume 1'])
        self.check(0, moved, '--resume', '1', *TURN, '-p', 'x')

    def test_system_message_belongs_to_a_new_chat(self):
        self.check(0, CHATML, *TURN, '--session', 'a', '--system', 'Be kind.', '-p', 'hi')
        roles = [m['role'] for m in self.export(1)['messages']]
        self.assertEqual(roles, ['system', 'user', 'assistant'])
        self.check(2, CHATML, *TURN, '--session', 'a', '--system', 'Be rude.', '-p', 'hi', words=['--system'])

    def test_sampling_settings_are_kept_with_the_chat(self):
        self.check(0, LONG, '--session', 'a', '-n', '4', '--temp', '0', '--top-k', '7', '-p', 'hi')
        self.check(0, LONG, '--session', 'a', '-n', '4', '-p', 'more')
        params = self.export(1)['messages'][3]['params']
        self.assertEqual((params['temp'], params['top_k']), (0.0, 7))

    def test_search_finds_words_of_any_chat(self):
        self.assertEqual(self.check(0, 'sessions', 'search', 'anything'), b'')
        self.check(0, LONG, *TURN, '-p', 'Where does the Amazon begin?')
        self.check(0, LONG, *TURN, '-p', 'say "hello" twice')
        hits = json.loads(self.check(0, 'sessions', 'search', 'amazon', 'beg', '--json'))
        self.assertEqual([(h['id'], h['role']) for h in hits], [(1, 'user')])
        self.assertIn(b'Amazon', self.check(0, 'sessions', 'search', 'AMAZON'))
        self.assertEqual(json.loads(self.check(0, 'sessions', 'search', '"hello', '--json'))[0]['id'], 2)
        self.assertEqual(json.loads(self.check(0, 'sessions', 'search', 'nowhere', '--json')), [])
        self.check(0, 'sessions', 'delete', '1')
        self.assertEqual(self.check(0, 'sessions', 'search', 'amazon'), b'')

    def test_raw_appends_to_the_stored_ids(self):
        a = self.lines(LONG, '--raw', *TURN, '--session', 'r', '-p', 'hi')[-2]
        b = self.lines(LONG, '--raw', *TURN, '--session', 'r', '-p', 'xy')[-2]
        added = len(self.check(0, 'tokenize', LONG, stdin=b'xy').split())
        self.assertLessEqual(abs(b['prompt_tokens'] - a['prompt_tokens'] - a['completion_tokens'] - added), 1)

    def test_show_and_delete(self):
        self.check(0, LONG, *TURN, '-p', 'hello there')
        self.assertIn(b'hello there', self.check(0, 'sessions', 'show', '1'))
        self.assertEqual(json.loads(self.check(0, 'sessions', 'show', '1', '--json'))['messages'][0]['text'],
                         'hello there')
        self.check(0, 'sessions', 'delete', '1')
        self.assertEqual(self.sessions(), [])
        self.check(1, 'sessions', 'delete', '1')

    def test_show_hides_no_message(self):
        self.check(0, SMALL, '--temp', '0', '-n', '4', '--session', 'a', '-p', 'first')
        self.check(5, SMALL, '--session', 'a', '-p', 'word ' * 200)
        self.assertIn(b'[user #3] (other branch)\nword word', self.check(0, 'sessions', 'show', '1').replace(b'    ', b''))
        self.check(0, SMALL, '--temp', '0', '-n', '4', '--session', 'a', '-p', 'hi')
        shown = self.check(0, 'sessions', 'show', '1')
        self.assertIn(b'    [user #3, 1 of 2] (other branch)\n    word word', shown)
        self.assertIn(b'\n[user #4, 2 of 2]\nhi\n', shown)
        messages = json.loads(self.check(0, 'sessions', 'show', '1', '--json'))['messages']
        self.assertEqual(len(messages), self.sessions()[0]['messages'])
        self.assertEqual([m['on_path'] for m in messages], [True, True, False, True, True])

    def test_a_list_has_one_row_per_chat(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        self.sql("UPDATE conv SET title = 'two' || char(10) || 'lines', name = 'a' || char(10) || 'b'")
        self.assertEqual(self.check(0, 'sessions', 'list').count(b'\n'), 1)

    def test_a_refused_prompt_does_not_spoil_the_chat(self):
        self.check(0, SMALL, '--temp', '0', '-n', '4', '--session', 'a', '-p', 'hi')
        self.check(5, SMALL, '--session', 'a', '-p', 'word ' * 200)
        self.check(0, SMALL, '--temp', '0', '-n', '4', '--session', 'a', '-p', 'hi')

    def test_private_touches_no_file(self):
        self.check(0, LONG, *TURN, '--private', '-p', 'hi')
        self.assertEqual(os.listdir(self.home), [])

    def test_files_are_for_the_user_alone(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        self.assertEqual(stat.S_IMODE(os.stat(self.database()).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.database())).st_mode), 0o700)

    def test_data_dir_holds_every_written_file(self):
        there = os.path.join(self.home, 'data')
        self.check(0, LONG, *TURN, '-p', 'hi', '--data-dir', there)
        self.assertEqual(os.listdir(self.home), ['data'])
        self.assertIn('chat.db', os.listdir(there))


class Signals(ProgramTest):
    def start(self, *args, preexec_fn=signals_as_usual):
        p = subprocess.Popen([PROGRAM, LONG, '--temp', '0', '-p', 'hi', *args], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, preexec_fn=preexec_fn)
        self.addCleanup(p.kill)
        return p

    def stop(self, number, code):
        p = self.start()
        first = os.read(p.stdout.fileno(), 100) # the answer has begun
        p.send_signal(number)
        rest, _ = p.communicate(timeout=30)
        self.assertEqual(p.returncode, code)
        message = self.export(1)['messages'][1]
        self.assertEqual(message['status'], 'interrupted')
        self.assertEqual((first + rest).decode(), message['text'] + '\n')

    def test_interrupt_prints_and_saves_the_partial_answer(self):
        self.stop(signal.SIGINT, 130)

    def test_terminate(self):
        self.stop(signal.SIGTERM, 143)

    def test_hang_up(self):
        self.stop(signal.SIGHUP, 129)

    def test_signals_ignored_at_the_start_stay_ignored(self):
        def nohup():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        p = self.start('-n', '300', preexec_fn=nohup)
        os.read(p.stdout.fileno(), 100)
        p.send_signal(signal.SIGHUP)
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, 0)
        self.assertEqual(self.export(1)['messages'][1]['status'], 'done')

    def test_a_signal_while_reading_stdin(self):
        p = subprocess.Popen([PROGRAM, LONG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=self.env)
        self.addCleanup(p.kill)
        time.sleep(0.3)
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(30), 143)
        p.communicate()

    def test_a_closed_reader_exits_141_and_saves(self):
        p = self.start()
        os.read(p.stdout.fileno(), 10)
        p.stdout.close()
        self.assertEqual(p.wait(30), 141)
        p.stderr.close()
        self.assertEqual(self.export(1)['messages'][1]['status'], 'interrupted')

    def test_a_full_disk_under_stdout_exits_1(self):
        with open('/dev/full', 'wb') as full:
            r = subprocess.run([PROGRAM, LONG, '--temp', '0', '-p', 'hi'], stdin=subprocess.DEVNULL, stdout=full,
                               stderr=subprocess.PIPE, env=self.env, timeout=60)
        self.assertEqual(r.returncode, 1)
        self.assertIn(os.strerror(errno.ENOSPC), r.stderr.decode())

    def test_stdout_closed_from_the_start(self):
        r = subprocess.run(['sh', '-c', 'exec "$0" "$@" >&-', PROGRAM, LONG, *TURN, '-p', 'hi'], stderr=subprocess.PIPE,
                           stdin=subprocess.DEVNULL, env=self.env, timeout=60)
        self.assertEqual(r.returncode, 141)


class Locked(ProgramTest):
    def test_a_locked_database_is_exit_6_and_the_answer_is_still_given(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        with self.locked_database():
            self.check(6, LONG, *TURN, '-p', 'again', words=['chat.db'])

    def start_turn(self):
        p = subprocess.Popen([PROGRAM, LONG, *TURN, '-p', 'again'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=self.env)
        self.addCleanup(p.kill)
        return p

    def test_waiting_for_it_is_said_and_ends_with_a_signal(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        with self.locked_database():
            p = self.start_turn()
            self.assertIn(b'waiting for ' + self.database().encode(), p.stderr.readline())
            p.send_signal(signal.SIGINT)
            p.communicate(timeout=30)
            self.assertEqual(p.returncode, 130)

    def test_a_lock_that_comes_free_was_only_a_wait(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        with self.locked_database():
            p = self.start_turn()
            self.assertIn(b'Ctrl-C', p.stderr.readline())
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, 0)
        self.assertEqual(len(self.sessions()), 2)

    def test_what_is_not_saved_is_named(self):
        p = subprocess.Popen([PROGRAM, LONG, '--temp', '0', '-p', 'remember me'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)
        self.addCleanup(p.kill)
        os.read(p.stdout.fileno(), 100)
        self.wait_until(lambda: self.sql('SELECT 1 FROM msg WHERE role = 2'))
        with self.locked_database():
            p.send_signal(signal.SIGTERM)
            time.sleep(1.5) # longer than it waits in silence
            p.send_signal(signal.SIGINT)
            _, errors = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 143)
        self.assertIn(b'waiting for', errors)
        self.assertIn(b'"remember me"', errors)


class AnotherModel(ProgramTest):
    def test_ids_of_one_model_never_reach_another(self):
        for first, second in [(QWEN, CHATML), (CHATML, QWEN)]:
            with self.subTest(first=first):
                self.setUp()
                self.check(0, first, *TURN, '--session', 'a', '-p', 'one')
                self.check(5, second, '--session', 'a', '--ctx', '64', '-p', 'word ' * 300)
                kept = self.home
                self.home = os.path.join(kept, 'copy')
                self.env['HOME'] = self.home
                shutil.copytree(os.path.join(kept, '.local'), os.path.join(self.home, '.local'))
                self.sql('DELETE FROM seg') # a chat whose every text is rendered afresh
                fresh = self.lines(second, *TURN, '--session', 'a', '-p', 'two')[-2]
                self.home = self.env['HOME'] = kept
                after = self.lines(second, *TURN, '--session', 'a', '-p', 'two')[-2]
                self.assertEqual(after['prompt_tokens'], fresh['prompt_tokens'])
                self.assertEqual(after['text'], fresh['text'])


class NothingIsLost(ProgramTest):
    def leave_unanswered(self, text):
        """What kill -9 before the answer leaves behind."""
        self.check(0, LONG, *TURN, '--session', 'a', '-p', 'hi')
        self.sql('INSERT INTO msg(id, conv, parent, role, status, text, created) '
                 'SELECT head + 1, id, head, 1, 0, ?, created FROM conv', (text,))
        self.sql('UPDATE conv SET head = head + 1')

    def test_an_unanswered_message_becomes_the_draft(self):
        self.leave_unanswered('never answered')
        self.check(0, LONG, *TURN, '--continue', '-p', 'another')
        self.assertEqual(self.sql('SELECT text FROM draft'), [('never answered',)])
        texts = [m['text'] for m in self.export(1)['messages']]
        self.assertIn('another', texts)

    def test_an_unanswered_message_and_a_draft_are_both_kept(self):
        for draft, joined in [('typed', 'never answered\ntyped'), ('never', 'never answered\nnever'),
                              ('never answered', 'never answered'),
                              ('never answered\ntyped', 'never answered\ntyped')]:
            with self.subTest(draft=draft):
                self.setUp()
                self.leave_unanswered('never answered')
                self.sql("INSERT INTO draft SELECT id, ?, 0 FROM conv", (draft,))
                self.check(0, LONG, *TURN, '--continue', '-p', 'another')
                self.assertEqual(self.sql('SELECT text FROM draft'), [(joined,)])

    def test_a_turn_from_the_command_line_leaves_drafts_alone(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        self.sql("INSERT INTO draft VALUES(0, 'of no chat', 0), (1, 'of this chat', 0)")
        self.check(0, LONG, *TURN, '--continue', '-p', 'more')
        self.check(0, LONG, *TURN, '-p', 'new')
        self.assertEqual(self.sql('SELECT text FROM draft ORDER BY conv'), [('of no chat',), ('of this chat',)])

    def test_a_refused_first_message_leaves_no_chat(self):
        self.check(0, SMALL, *TURN, '-p', 'good one')
        for more in [], ['--session', 'a'], ['--ctx', '2147483647'], ['--system', 'be brief']:
            with self.subTest(more=more):
                r = self.run_program(SMALL, *more, '-p', 'word ' * 200)
                self.assertIn(r.returncode, (4, 5), r.stderr)
                self.assertEqual([c['title'] for c in self.sessions()], ['good one'])
        self.assertEqual(self.sql('SELECT (SELECT count(*) FROM forgotten), (SELECT count(*) FROM draft)'), [(0, 0)])
        self.check(0, SMALL, *TURN, '--continue', '-p', 'more')
        self.assertEqual([m['text'] for m in self.export(1)['messages']][::2], ['good one', 'more'])
        self.check(0, SMALL, *TURN, '--session', 'a', '-p', 'hi')
        self.assertEqual(self.sessions()[0]['title'], 'hi')

    def test_a_refused_first_line_becomes_the_draft_of_no_chat(self):
        """In a terminal without a screen, where there is one already; the next line that is answered begins a chat."""
        self.check(0, SMALL, *TURN, '-p', 'good one')
        self.sql("INSERT INTO draft VALUES(0, 'typed before', 0)")
        pid, fd = self.on_terminal(PROGRAM, SMALL, *TURN, '--plain')
        os.write(fd, b'word ' * 100 + b'\n')
        self.drain(fd, 0.5)
        self.wait_until(lambda: self.sql("SELECT 1 FROM draft WHERE text LIKE 'word %'"))
        self.wait_until(lambda: len(self.sessions()) == 1)
        self.assertEqual(self.sql('SELECT conv, text FROM draft'), [(0, 'word ' * 100 + '\ntyped before')])
        os.write(fd, b'hi\n')
        self.wait_until(lambda: self.sql("SELECT 1 FROM msg JOIN conv ON head=msg.id WHERE title='hi' AND status=0"))
        self.wait_until(lambda: self.sql('SELECT text FROM draft') == [('typed before',)])
        self.drain(fd, 0.2)
        self.end(pid, fd, signal.SIGTERM)
        self.assertEqual([c['title'] for c in self.sessions()], ['hi', 'good one'])

    def test_a_model_file_cut_short_is_a_sentence(self):
        path = make_model('cut.gguf', '--ctx', '65536', '--seed', '1')
        p = subprocess.Popen([PROGRAM, path, '--temp', '0', '--private', '-p', 'go on'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)
        self.addCleanup(p.kill)
        self.assertTrue(os.read(p.stdout.fileno(), 1))
        os.truncate(path, 4096)
        _, errors = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 3)
        self.assertIn(b'cut short', errors)

    def test_a_chat_deleted_meanwhile_is_stored_again(self):
        p = subprocess.Popen([PROGRAM, LONG, '--temp', '0', '-p', 'keep this'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)
        self.addCleanup(p.kill)
        first = os.read(p.stdout.fileno(), 100)
        self.wait_until(lambda: os.path.exists(self.database()) and self.sessions())
        self.check(0, 'sessions', 'delete', '1')
        p.send_signal(signal.SIGTERM)
        rest, _ = p.communicate(timeout=30)
        out = first + rest
        self.assertEqual(p.returncode, 143)
        messages = self.export(self.sessions()[0]['id'])['messages']
        self.assertEqual(messages[0]['text'], 'keep this')
        self.assertTrue(out.decode().rstrip('\n').endswith(messages[1]['text'][-10:]))


class FullDisk(ProgramTest):
    def test_an_answer_that_cannot_be_saved_is_given_and_exits_6(self):
        self.check(0, LONG, *TURN, '-p', 'hi')
        limit = os.path.getsize(self.database()) + 8192

        def small_files_only():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        r = self.run_program(LONG, *TURN, '--ctx', '16384', stdin=b'word ' * 1500, preexec_fn=small_files_only)
        self.assertEqual(r.returncode, 6, r.stderr)
        self.assertGreater(len(r.stdout), 1)
        self.assertIn(b'chat.db', r.stderr)
        self.check(0, LONG, *TURN, '-p', 'hi')


if __name__ == '__main__':
    main()
