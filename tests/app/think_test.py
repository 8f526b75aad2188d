"""Reasoning: kept apart from the answer everywhere, switched off and on, kept with the chat; and the sampling
settings that go with it."""
import json
import os
import re
import signal
import struct
import subprocess
import time

from harness import CHATML, PROGRAM, WORK, ProgramTest, main, make_model

THOUGHT, ANSWER = 'first this, then that', 'The answer.'
SCRIPT = '<think>\n%s\n</think>\n\n%s' % (THOUGHT, ANSWER)
THINK = make_model('think.gguf', '--think', '--script', SCRIPT, '--ctx', '2048', arch='qwen3')
OPENS = make_model('opens.gguf', '--think-opens', '--script', '%s\n</think>\n\n%s' % (THOUGHT, ANSWER), '--ctx', '2048',
                   arch='qwen3')


def gguf_string(text):
    return struct.pack('<Q', len(text)) + text


def with_metadata(path, name, more, *renamed):
    """A copy of a model file with more metadata in front: [(key, type number, bytes)]; and texts exchanged for
    others of the same length."""
    with open(path, 'rb') as f:
        data = f.read()
    magic, version, n_tensors, n_kv = struct.unpack('<IIQQ', data[:24])
    added = b''.join(gguf_string(key) + struct.pack('<I', kind) + value for key, kind, value in more)
    # The data begins at a multiple of 32: what is added keeps it there.
    pad = -(len(added) + 8 + 8 + 4 + 8) % 32
    added += gguf_string(b'test.pad') + struct.pack('<I', 8) + gguf_string(b' ' * pad)
    data = data[24:]
    for old, new in renamed:
        assert len(old) == len(new) and old in data
        data = data.replace(old, new)
    out = os.path.join(WORK, name)
    with open(out, 'wb') as f:
        f.write(struct.pack('<IIQQ', magic, version, n_tensors, n_kv + len(more) + 1) + added + data)
    return out


F32, STRING = 6, 8


class Thinking(ProgramTest):
    def turn(self, *args, code=0):
        """The assistant line of a turn, the token lines, and stderr."""
        r = self.run_program(*args, '--json')
        self.assertEqual(r.returncode, code, r.stderr)
        lines = [json.loads(line) for line in r.stdout.splitlines()]
        tokens = [x for x in lines if x['type'] == 'token']
        return [x for x in lines if x['type'] == 'assistant'][0], tokens, r.stderr.decode()

    def test_json_carries_reasoning_apart(self):
        for model in (THINK, OPENS):
            with self.subTest(model=model):
                answer, tokens, _ = self.turn(model, '-p', 'hi')
                self.assertEqual(answer['reasoning'], THOUGHT)
                self.assertEqual(answer['text'], ANSWER)
                self.assertEqual(''.join(x['text'] for x in tokens), ANSWER)
                self.assertEqual(''.join(x.get('reasoning', '') for x in tokens), THOUGHT)
                for x in tokens:
                    self.assertFalse(x['text'] and x.get('reasoning'))

    def test_one_turn_prints_the_answer_alone(self):
        r = self.run_program(THINK, '-p', 'hi')
        self.assertEqual(r.stdout.decode(), ANSWER + '\n')
        self.assertNotIn('thinking', r.stderr.decode()) # no terminal

    def test_a_line_on_the_terminal_shows_that_it_reasons(self):
        pid, fd = self.on_terminal('sh', '-c', '"$0" "$1" -p hi > "$HOME/out" < /dev/null; echo end', PROGRAM, THINK)
        seen = b''
        while b'end' not in seen:
            seen += os.read(fd, 4096)
        os.waitpid(pid, 0)
        os.close(fd)
        self.assertRegex(seen.decode(), r'thinking… \d+ words?')
        self.assertIn('\r\x1b[K', seen.decode().split('thinking')[-1])

    def test_a_limit_inside_the_reasoning_is_told(self):
        r = self.run_program(THINK, '-p', 'hi', '-n', '3')
        self.assertEqual((r.returncode, r.stdout), (0, b''))
        for words in ('limit of 3 tokens', 'still reasoned', '-n', '--think off'):
            self.assertIn(words, r.stderr.decode())
        answer, _, _ = self.turn(THINK, '-p', 'hi', '-n', '3')
        self.assertEqual((answer['text'], answer['finish_reason']), ('', 'length'))
        self.assertTrue(THOUGHT.startswith(answer['reasoning']) and answer['reasoning'])

    def test_off_changes_the_prompt_and_the_answer(self):
        on, _, _ = self.turn(THINK, '-p', 'hi')
        off, _, said = self.turn(THINK, '-p', 'hi', '--think', 'off')
        self.assertGreater(off['prompt_tokens'], on['prompt_tokens'])
        self.assertEqual((off['reasoning'], off['text']), ('', ANSWER))
        self.assertNotIn('switch', said)
        for mode in ('on', 'auto'):
            self.assertEqual(self.turn(THINK, '-p', 'hi', '--think', mode)[0]['prompt_tokens'], on['prompt_tokens'])

    def test_the_config_file_may_say_it(self):
        path = os.path.join(self.home, '.config/ferrum-chat/config')
        os.makedirs(os.path.dirname(path))
        with open(path, 'w') as f:
            f.write('think = off\n')
        self.assertEqual(self.turn(THINK, '-p', 'hi')[0]['reasoning'], '')
        self.assertEqual(self.turn(THINK, '-p', 'hi', '--think', 'on')[0]['reasoning'], THOUGHT)
        self.assertEqual(self.turn(CHATML, '-p', 'hi', '-n', '3')[2].count('switch'), 0) # nothing to switch off

    def test_a_template_without_a_switch_is_told_once_and_goes_on(self):
        _, _, said = self.turn(CHATML, '-p', 'hi', '-n', '3', '--think', 'on')
        self.assertEqual(said.count('no switch for reasoning'), 1)
        self.check(2, THINK, '--think', 'maybe', '-p', 'hi', words=['on|off|auto'])

    def test_the_chat_keeps_the_switch(self):
        first, _, _ = self.turn(THINK, '--session', 's', '-p', 'hi', '--think', 'off')
        second, _, _ = self.turn(THINK, '--session', 's', '-p', 'more')
        self.assertEqual((first['reasoning'], second['reasoning']), ('', ''))
        third, _, _ = self.turn(THINK, '--session', 's', '-p', 'more', '--think', 'on')
        self.assertEqual(third['reasoning'], THOUGHT)
        self.assertEqual(self.turn(THINK, '--session', 's', '-p', 'more')[0]['reasoning'], THOUGHT)
        params = [m['params'] for m in self.export(1)['messages'] if m['role'] == 'assistant']
        self.assertEqual([p['think'] for p in params], ['off', 'off', 'on', 'on'])
        self.turn(THINK, '--session', 't', '-p', 'hi')
        self.assertNotIn('think', self.export(2)['messages'][-1]['params'])

    def test_saved_chats_show_and_export_it(self):
        self.turn(THINK, '--session', 's', '-p', 'hi')
        message = self.export(1)['messages'][-1]
        self.assertEqual((message['reasoning'], message['text']), (THOUGHT, ANSWER))
        shown = json.loads(self.check(0, 'sessions', 'show', '1', '--json'))['messages'][-1]
        self.assertEqual(shown['reasoning'], THOUGHT)
        self.assertIn('[assistant #2]\n▸ Thought · 4 words\n%s\n' % ANSWER, self.check(0, 'sessions', 'show', '1').decode())
        self.env['LC_ALL'] = 'C'
        self.assertIn(b'[assistant #2]\n> Thought, 4 words\n', self.check(0, 'sessions', 'show', '1'))

    def test_marks_a_user_types_are_text(self):
        mark = self.check(0, 'tokenize', THINK, '--special', stdin=b'<think>').split()
        self.assertEqual(len(mark), 1)
        self.assertNotIn(mark[0], self.check(0, 'tokenize', THINK, stdin=b'<think>').split())
        self.turn(THINK, '--session', 'm', '-p', 'say <think> and </think>')
        user = [m for m in self.export(1)['messages'] if m['role'] == 'user'][0]
        self.assertNotIn(int(mark[0]), user['tokens'])

    def test_the_plain_loop_folds_and_switches(self):
        pid, fd = self.on_terminal(PROGRAM, THINK, '--session', 's', '--plain')
        shown = self.say(fd, 'hi\n', 'The answer[^>]*> ')
        self.assertRegex(shown, r'▸ Thought · 4 words\r?\nThe answer\.\r?\n')
        self.assertNotIn('first this', shown)
        self.assertIn('without reasoning', self.say(fd, '/nothink\n', r'reasoning[^>]*> '))
        shown = self.say(fd, 'more\n', 'The answer[^>]*> ')
        self.assertNotIn('Thought', shown)
        self.assertIn('Expected on, off or auto', self.say(fd, '/think maybe\n', r'changed[^>]*> '))
        self.say(fd, '/think on\n', r'reasons[^>]*> ')
        self.assertIn('without reasoning', self.say(fd, '/think off\n', r'reasoning[^>]*> '))
        self.say(fd, '/think\n', r'reasons[^>]*> ')
        self.assertIn('Thought', self.say(fd, 'more\n', 'The answer[^>]*> '))
        os.write(fd, b'/quit\n')
        os.waitpid(pid, 0)
        os.close(fd)
        answers = [m for m in self.export(1)['messages'] if m['role'] == 'assistant']
        self.assertEqual([m['reasoning'] for m in answers], [THOUGHT, '', THOUGHT])
        self.assertEqual([m['params'].get('think') for m in answers], [None, 'off', 'on'])
        pid, fd = self.on_terminal(PROGRAM, THINK, '--session', 's', '--plain') # what was said before is shown folded, too
        self.assertEqual(self.say(fd, '', r'(?s)(The answer.*){3}> ').count('▸ Thought · 4 words'), 2)
        self.end(pid, fd, signal.SIGTERM)

    def say(self, fd, text, pattern):
        """Types, then reads until the pattern; what came."""
        os.write(fd, text.encode())
        seen = b''
        until = time.monotonic() + 60
        while time.monotonic() < until and not re.search(pattern, seen.decode(errors='replace')):
            seen += os.read(fd, 4096)
        self.assertRegex(seen.decode(errors='replace'), pattern)
        return seen.decode(errors='replace')

    def test_reasoning_is_stored_while_it_streams(self):
        words = ' '.join('w%d' % i for i in range(1500))
        slow = make_model('slow.gguf', '--think', '--script', '<think>\n%s\n</think>\n\nEnd.' % words, '--ctx', '8192',
                          arch='qwen3')
        p = subprocess.Popen([PROGRAM, slow, '--session', 's', '-p', 'hi', '--json'], env=self.env,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            while b'"reasoning"' not in p.stdout.readline():
                pass
            p.send_signal(signal.SIGSTOP) # its database thread has begun; a second later it saves what is there
            time.sleep(1.2)
            p.send_signal(signal.SIGCONT)
            self.wait_until(lambda: [r for r in self.sql('SELECT think FROM msg WHERE role = 2') if r[0]])
        finally:
            p.kill()
            p.wait()
            p.stdout.close()
        stored = self.sql('SELECT think, text FROM msg WHERE role = 2')[0]
        self.assertTrue(words.startswith(stored[0]))
        self.check(0, slow, '--session', 's', '-p', 'go on', '-n', '2') # after it, the chat goes on
        messages = self.export(1)['messages']
        self.assertEqual([m['text'] for m in messages if m['role'] == 'user'], ['hi', 'go on'])
        self.assertEqual(messages[1]['reasoning'], stored[0])


class Settings(ProgramTest):
    def rows(self, model, key):
        report = json.loads(self.check(0, 'inspect', model, '--json'))
        return {row['setting']: (row['value'], row['from']) for row in report[key]}

    def test_a_preset_stands_in_and_follows_the_reasoning(self):
        model = with_metadata(THINK, 'qwen3.gguf', [], (b'tiny random', b'Qwen3  0.6B'))
        thinking, plain = self.rows(model, 'sampling_thinking'), self.rows(model, 'sampling_no_thinking')
        self.assertEqual(thinking['temp'], (0.6, 'preset Qwen3'))
        self.assertEqual(thinking['top-p'], (0.95, 'preset Qwen3'))
        self.assertEqual(plain['temp'], (0.7, 'preset Qwen3'))
        self.assertEqual(plain['typical'], (1.0, 'built in'))
        text = self.check(0, 'inspect', model).decode()
        self.assertRegex(text, r'sampling_no_thinking\n +temp +0\.7 +preset Qwen3\n')
        for mode, temp in (('auto', 0.6), ('off', 0.7), ('on', 0.6)):
            self.check(0, model, '--session', 's', '-p', 'hi', '--think', mode)
            self.assertEqual(self.export(1)['messages'][-1]['params']['temp'], temp)
        self.check(0, model, '--session', 's', '-p', 'hi', '--think', 'off', '--temp', '0.5')
        self.check(0, model, '--session', 's', '-p', 'hi', '--think', 'on')
        params = self.export(1)['messages'][-1]['params']
        self.assertEqual((params['temp'], params['top_k'], params['top_p']), (0.5, 20, 0.95))

    def test_an_unknown_model_has_one_list(self):
        self.assertEqual(self.rows(THINK, 'sampling')['temp'], (0.8, 'built in'))

    def test_wrong_values_of_the_file_are_told(self):
        model = with_metadata(CHATML, 'wrong.gguf', [(b'general.sampling.temp', F32, struct.pack('<f', 500)),
                                                     (b'general.sampling.top_p', F32, struct.pack('<f', 0.5)),
                                                     (b'general.sampling.min_p', STRING, gguf_string(b'much'))])
        self.assertEqual(self.rows(model, 'sampling')['temp'], (0.8, 'built in'))
        self.assertEqual(self.rows(model, 'sampling')['top-p'], (0.5, 'model file'))
        text = self.check(0, 'inspect', model).decode()
        words = ["general.sampling.temp is 500, expected a number from 0 to 100; it is ignored",
                 'general.sampling.min_p is no number, expected a number from 0 to 1; it is ignored']
        for sentence in words:
            self.assertIn(sentence, text)
        self.check(0, model, '-p', 'hi', '-n', '2', words=words)


class Render(ProgramTest):
    def test_the_template_of_a_file(self):
        messages = os.path.join(self.home, 'm.json')
        with open(messages, 'w') as f:
            json.dump([{'role': 'user', 'content': 'hi'}], f)
        out = self.check(0, 'render', THINK, '--messages', messages).decode()
        self.assertEqual(out, '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n')
        out = self.check(0, 'render', THINK, '--messages', messages, '--set', 'enable_thinking=false').decode()
        self.assertTrue(out.endswith('<|im_start|>assistant\n<think>\n\n</think>\n\n'))
        self.assertEqual(self.check(0, 'render', THINK, '--messages', messages, '--no-generation-prompt'),
                         b'<|im_start|>user\nhi<|im_end|>\n')

    def test_the_special_tokens_of_a_file(self):
        template = b'{{ bos_token }}|{{ messages[0].content }}|{{ eos_token }}'
        model = with_metadata(make_model('bare.gguf'), 'template.gguf',
                              [(b'tokenizer.chat_template', STRING, gguf_string(template))])
        messages = os.path.join(self.home, 'm.json')
        with open(messages, 'w') as f:
            json.dump({'messages': [{'role': 'user', 'content': '<s>'}]}, f)
        self.assertEqual(self.check(0, 'render', model, '--messages', messages), b'<s>|<s>|</s>')
        self.assertEqual(self.check(0, 'render', model, '--messages', messages, '--bos', 'B', '--eos', ''), b'B|<s>|')
        self.check(1, 'render', make_model('bare.gguf'), '--messages', messages, words=['no chat template'])


if __name__ == '__main__':
    main()
