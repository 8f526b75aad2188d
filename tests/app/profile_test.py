"""What a profile says about a run: --profile, --trace, the table of FERRUM_MOE_PROFILE, FERRUM_MOE_LOAD_TRACE."""
import json
import math
import os
import stat

from harness import LONG, ProgramTest, main, make_model

MOE = make_model('moe.gguf', '--ctx', '256', '--seed', '3', arch='qwen2moe')
N_LAYERS, N_EXPERTS, N_USED = 2, 8, 2
TURN = ('--temp', '0', '-n', '8', '-p', 'What is where?', '--private')


class ProfileTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.env['FERRUM_SPECULATE'] = 'off'  # a step for each token, so that calls can be counted


class Profiles(ProfileTest):
    def profile(self, model, *args):
        path = os.path.join(self.home, 'p.json')
        self.check(0, model, *(args or TURN), '--profile', path)
        with open(path) as f:
            return json.load(f)

    def assert_adds_up(self, p):
        for name in ('prefill', 'decode'):
            phase = p[name]
            self.assertGreater(phase['tokens'], 0)
            self.assertGreater(phase['wall_ms'], 0)
            self.assertLessEqual(phase['timed_ms'], phase['wall_ms'])
            self.assertAlmostEqual(sum(op['ms'] for op in phase['ops']), phase['timed_ms'], places=4)
            self.assertEqual([x['layer'] for x in phase['by_layer']], [*range(p['layers']), None])
            for op in phase['ops']:
                for field in ('calls', 'bytes'):
                    self.assertEqual(op[field], sum(o[field] for x in phase['by_layer'] for o in x['ops']
                                                    if o['op'] == op['op']), op)

    def test_numbers_add_up(self):
        p = self.profile(MOE)
        self.assert_adds_up(p)
        self.assertEqual([p[k] for k in ('layers', 'experts', 'experts_used')], [N_LAYERS, N_EXPERTS, N_USED])
        self.assertGreater(p['timer_ns'], 0)
        self.assertEqual(p['decode']['tokens'], 7)
        self.assertEqual(len(p['decode']['recent_ms']), 7)
        calls = {op['op']: op['calls'] for op in p['decode']['ops']}
        self.assertEqual([calls[op] for op in ('router', 'gate_up', 'down', 'lm_head', 'sample')],
                         [7 * N_LAYERS] * 3 + [7, 8])
        self.assertEqual((calls['sync'], calls['silu']), (0, 0))  # the CPU waits for nothing, and fuses

    def test_experts_are_counted_and_described(self):
        p = self.profile(MOE)
        for name in ('prefill', 'decode'):
            phase = p[name]
            for layer in phase['by_layer'][:-1]:
                pairs, n = layer['pairs'], phase['tokens'] * N_USED
                self.assertEqual((len(pairs), sum(pairs)), (N_EXPERTS, n))
                self.assertEqual(layer['asked'], sum(c > 0 for c in pairs))
                self.assertEqual(layer['busiest'], pairs.index(max(pairs)))
                self.assertAlmostEqual(layer['balance'], n / (N_EXPERTS * max(pairs)))
                self.assertAlmostEqual(layer['entropy'], -sum(c / n * math.log2(c / n) for c in pairs if c))
            self.assertAlmostEqual(phase['experts']['balance'],
                                   sum(x['balance'] for x in phase['by_layer'][:-1]) / N_LAYERS)
        for layer in p['decode']['by_layer'][:-1]:
            self.assertTrue(0 <= layer['overlap'] <= 1)
        self.assertNotIn('overlap', p['prefill']['experts'])

    def test_a_dense_model_has_no_experts(self):
        p = self.profile(LONG)
        self.assert_adds_up(p)
        self.assertEqual(p['experts'], 0)
        self.assertIsNone(p['decode']['experts'])
        self.assertNotIn('pairs', p['decode']['by_layer'][0])

    def test_what_is_not_known_is_null(self):
        p = self.profile(MOE, '--temp', '0', '-n', '1', '-p', 'hello', '--private')
        self.assertEqual((p['decode']['tokens'], p['decode']['experts'], p['decode']['recent_ms']), (0, None, []))
        self.assertEqual([p['decode']['by_layer'][0][k] for k in ('entropy', 'balance', 'busiest', 'overlap')],
                         [None] * 4)

    def test_a_file_is_whole_or_as_it_was(self):
        for option in ('--profile', '--trace'):
            path = os.path.join(self.home, 'old' + option)
            with open(path, 'w') as f:
                f.write('old')
            os.chmod(path, 0o640)
            self.check(0, LONG, *TURN, option, path)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
            with open(path) as f:
                json.load(f)
            self.check(1, LONG, *TURN, option, '/dev/full', words=[option + ' /dev/full', 'cannot be written'])
            for place, why in (('no/such', 'No such file'), ('', 'directory')):  # heard before the model is asked
                place = os.path.join(self.home, place)
                self.assertEqual(self.check(1, LONG, *TURN, option, place, words=[option, why]), b'')
            self.assertEqual(self.check(1, LONG, *TURN, option, '', words=[option, 'cannot be written']), b'')
        self.assertEqual(sorted(os.listdir(self.home)), ['old--profile', 'old--trace'])

    def test_two_options_do_not_write_one_file(self):
        path = os.path.join(self.home, 'both')
        self.check(2, LONG, *TURN, '--profile', path, '--trace', path, words=['--profile and --trace', path])
        self.assertFalse(os.path.exists(path))


class Traces(ProfileTest):
    def trace(self, *args):
        path = os.path.join(self.home, 't.json')
        self.check(0, *args, '--trace', path)
        with open(path) as f:
            events = json.load(f)['traceEvents']
        for e in events:
            self.assertIn(e['ph'], 'XM')
            if e['ph'] == 'X':  # in nanoseconds, which is what was written
                e['begin'] = round(e['ts'] * 1000)
                e['end'] = e['begin'] + round(e['dur'] * 1000)
        tracks = {e['tid']: e['args']['name'] for e in events if e['ph'] == 'M'}
        return [[e for e in events if e['ph'] == 'X' and tracks[e['tid']] == name] for name in ('tokens', 'operations')]

    def test_operations_lie_in_their_steps_and_beside_each_other(self):
        steps, ops = self.trace(MOE, *TURN)
        self.assertEqual([s['name'] for s in sorted(steps, key=lambda s: s['begin'])], ['prefill'] + ['token'] * 7)
        self.assertEqual(min(s['begin'] for s in steps), 0)
        for track in (steps, ops):
            track.sort(key=lambda e: e['begin'])
            for a, b in zip(track, track[1:]):
                self.assertLessEqual(a['end'], b['begin'])
        for op in ops:
            inside = [s for s in steps if s['begin'] <= op['begin'] and op['end'] <= s['end']]
            self.assertEqual([s['cat'] for s in inside], [op['cat']])
            self.assertGreaterEqual(op['args']['bytes'], 0)
        positions = [s['args']['position'] for s in steps]
        self.assertEqual(positions[1:], [*range(steps[0]['args']['tokens'], steps[0]['args']['tokens'] + 7)])
        gate_up = [op['args']['layer'] for op in ops if op['name'] == 'gate_up']
        self.assertEqual(gate_up, [*range(N_LAYERS)] * 8)
        self.assertNotIn('layer', next(op for op in ops if op['name'] == 'lm_head')['args'])

    def test_as_many_tokens_as_asked_for(self):
        turn = (LONG, '--temp', '0', '-n', '80', '-p', 'hi', '--private')
        for args, n in [((), 64), (('--trace-tokens', '3'), 3), (('--trace-tokens', '100'), 79)]:
            steps, _ = self.trace(*turn, *args)
            tokens = [s['args']['position'] for s in steps if s['name'] == 'token']
            self.assertEqual(len(tokens), n)
            self.assertEqual(tokens, [*range(tokens[0], tokens[0] + n)])

    def test_wrong_use_is_a_usage_error(self):
        path = os.path.join(self.home, 't.json')
        self.check(2, LONG, *TURN, '--trace-tokens', '3', words=['--trace FILE'])
        for n in ('0', '4097', 'x'):
            self.check(2, LONG, *TURN, '--trace', path, '--trace-tokens', n, words=[n])
        self.assertEqual(os.listdir(self.home), [])


class Environment(ProfileTest):
    def stderr(self, *args, **env):
        self.env.update(env)
        r = self.run_program(*args)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stderr.decode(), r.stdout

    def test_a_table_at_the_end_of_a_turn(self):
        plain, answer = self.stderr(MOE, *TURN)
        for value, is_on in [('0', False), ('', False), ('1', True), ('yes', True)]:
            text, same = self.stderr(MOE, *TURN, FERRUM_MOE_PROFILE=value)
            self.assertEqual(same, answer)
            self.assertEqual('ms/token' in text, is_on)
        self.assertNotIn('ms/token', plain)
        lines = text.splitlines()
        self.assertEqual([line.split(':')[0] for line in lines if line.startswith(('prefill:', 'decode:'))],
                         ['prefill', 'decode'])
        decode = lines[next(i for i, line in enumerate(lines) if line.startswith('decode:')):]
        self.assertRegex(decode[0], r'^decode: 7 tokens in [\d.]+ ms, [\d.]+ ms/token; operations [\d.]+ % of it')
        rows = {line.split()[0]: line.split() for line in decode[2:] if line.startswith('  ')}
        self.assertEqual(rows['gate_up'][1], str(7 * N_LAYERS))
        self.assertNotIn('sync', rows)  # nothing to say about
        shares = [float(line.split()[4 if not line.startswith('  not timed') else 5])
                  for line in decode[2:] if line.rstrip().count('%') == 1 and line.startswith('  ')]
        self.assertAlmostEqual(sum(shares), 100, delta=0.1)
        heads = next(line.split() for line in decode if line.split()[:1] == ['layer'])
        self.assertEqual(heads, ['layer', 'router', 'gate_up', 'down', 'weighted_sum', 'balance', 'entropy',
                                 'overlap', 'busiest'])
        self.assertEqual([line.split()[0] for line in decode[-N_LAYERS:]], [str(i) for i in range(N_LAYERS)])
        self.assertEqual({len(line) for line in decode[-N_LAYERS - 1:]}, {len(decode[-1])})

    def test_a_dense_model_has_a_table_without_experts(self):
        text, _ = self.stderr(LONG, *TURN, FERRUM_MOE_PROFILE='1')
        self.assertIn('ms/token', text)
        self.assertNotIn('experts', text)

    def test_json_lines_stay_alone_on_stdout(self):
        self.env['FERRUM_MOE_PROFILE'] = '1'
        self.assertEqual(self.lines(MOE, *TURN)[-1]['type'], 'exit')

    def test_how_the_experts_of_each_layer_are_computed(self):
        for i, value in enumerate(('0', '1')):
            text, _ = self.stderr(MOE, *TURN, FERRUM_MOE_LOAD_TRACE=value)
            lines = [line for line in text.splitlines() if 'experts of layer' in line]
            self.assertEqual(len(lines), i * N_LAYERS)
        self.assertEqual(lines[1], 'ferrum-chat: experts of layer 1: blk.1.ffn_gate_exps.weight f32, packed; '
                                   'blk.1.ffn_up_exps.weight f32, packed; blk.1.ffn_down_exps.weight f32, packed')
        text, _ = self.stderr(LONG, *TURN, FERRUM_MOE_LOAD_TRACE='1')
        self.assertNotIn('experts', text)
        text, _ = self.stderr('bench', MOE, '-p', '0', '-n', '2', '-r', '1')
        self.assertIn('experts of layer 0', text)


if __name__ == '__main__':
    main()
