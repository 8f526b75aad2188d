#!/usr/bin/env python3
"""What resuming a chat costs: in tokens, time and bytes, with gates.

    python3 tests/bench/resume.py build/release/app/ferrum-chat MODEL.gguf --work DIR-ON-A-REAL-DISK [--out FILE.json]

A chat of N tokens is made in two turns by two processes. Then, each in a new process:
  resume     a 16-token message; KV and weights warm, KV cold, both cold
  prefill    the same with --no-kv-store
  turn500    a message and an answer of 500 tokens together: bytes written
  edit       another message instead of the second one; back: on with the first branch again
The same two turns and the first message in ONE process without kv.db give the tokens that must come out again.
saving: an answer with saving on and off, alternated: tokens/s and gaps between tokens.

Cold: the files are taken out of the page cache (posix_fadvise, checked with mincore), or with --drop-caches (root)
everything is; program and libraries stay warm, and below a virtual machine the host may still have the file.
The chat is taken back to its first N tokens between runs; kv.db stays, and every message begins differently, so
that nothing but the chat itself can be reused.

Ends with 1 when a gate fails. Gates about milliseconds are judged on a quiet machine only, and say so.
"""
import argparse
import json
import math
import os
import platform
import shutil
import statistics
import sys
import tempfile

import chat_runs
from chat_runs import Program, set_head

N_ANSWER = 64 # tokens that are compared
BLOCK = 64    # positions per block of KV
MESSAGE_TOKENS = 16
TURN_TOKENS = 500
QUIET_PERCENT = 5 # of the processors may be used by others

WORDS = ('the of and a to in he have it that for they with as not on she at by this we you do but from or which one '
         'would all will there say who make when can more if no man out other so what time up go about than into '
         'could state only new year some take come these know see use get like then first any work now may such '
         'give over think most even find day also after way many must look before great back through long where '
         'much should well people down own just because good each those feel seem how high too place little world '
         'very still nation hand old life tell write become here show house both between need mean call develop '
         'under last right move thing general school never same another begin while number part turn real leave '
         'might want point form off child few small since against ask late home interest large person end open '
         'public follow during present without again hold govern around possible head consider word program problem '
         'however lead system set order eye plan run keep face fact group play stand increase early course change '
         'help line').split()


def words(n, seed):
    """n words of fixed text."""
    state, out = seed * 7919 + 1, []
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out.append(WORDS[(state >> 33) % len(WORDS)])
    return ' '.join(out)


def text_of(program, n_tokens, seed):
    sample = program.count_tokens(words(500, seed))
    return words(max(1, int(n_tokens * 500 / sample)), seed)


def message_of(program, number):
    """At most MESSAGE_TOKENS tokens, the first ones unlike those of other numbers."""
    text = '%03d %s' % (number * 377 % 1000, words(MESSAGE_TOKENS, 1000 + number))
    while program.count_tokens(text) > MESSAGE_TOKENS:
        text = text[:-1].rstrip()
    return text


# ---- results ----

class Report:
    def __init__(self):
        self.rows, self.gates, self.saving = [], [], []

    def add(self, n, case, turns, **more):
        """One line of the table: several turns of the same kind."""
        def median(get):
            return statistics.median(get(t) for t in turns)
        first = [t.first_ms for t in turns]
        row = {'tokens': n, 'case': case, 'runs': len(turns), 'prompt': turns[0]['prompt_tokens'],
               'memory': turns[0]['reused_memory'], 'disk': min(t['reused_disk'] for t in turns),
               'prefilled': max(t['prefilled_tokens'] for t in turns), 'load_ms': median(lambda t: t.load_ms),
               'ttft_ms': median(lambda t: t['ttft_ms']), 'first_ms': statistics.median(first),
               'first_min_ms': min(first), 'first_max_ms': max(first), 'saved_ms': median(lambda t: t['saved_ms']),
               'kv_written_bytes': max(t['kv_written_bytes'] for t in turns),
               'wrote_bytes': max(t.wrote_bytes for t in turns), 'after_ms': median(lambda t: t.after_ms),
               'others_percent': max(t.others_percent for t in turns), **more}
        self.rows.append(row)
        print('%6d  %-26s %6d %6d %6d %6d %8.0f %8.0f %8.0f [%.0f..%.0f] %8.1f %8.1f %6.0f %4.0f%%' % (
            n, case, row['prompt'], row['memory'], row['disk'], row['prefilled'], row['load_ms'], row['ttft_ms'],
            row['first_ms'], row['first_min_ms'], row['first_max_ms'], row['kv_written_bytes'] / 2**20,
            row['wrote_bytes'] / 2**20, row['after_ms'], row['others_percent']), flush=True)
        return row

    def head(self):
        print('%6s  %-26s %6s %6s %6s %6s %8s %8s %8s %s %8s %8s %6s %s' % (
            'tokens', 'case', 'prompt', 'memory', 'disk', 'prefil', 'load ms', 'ttft ms', 'exec to first token, ms',
            '[min..max]', 'KV MiB', 'disk MiB', 'after', 'others'), flush=True)

    def gate(self, ok, text, unless=''):
        """unless: why it cannot be judged here."""
        verdict = 'ok' if ok else 'FAILED'
        if unless:
            verdict = 'not judged, %s (would %s)' % (unless, 'pass' if ok else 'fail')
        self.gates.append({'gate': text, 'ok': bool(ok), 'judged': not unless})
        print('        gate: %s: %s' % (text, verdict), flush=True)


# ---- one length ----

class Length:
    """All that is measured with a chat of n tokens."""

    def __init__(self, bench, n):
        self.program, self.report, self.args, self.n = bench.program, bench.report, bench.args, n
        self.folder = os.path.join(bench.home, 'chat%d' % n)
        self.whole = os.path.join(bench.home, 'whole%d' % n)
        self.n_messages = 0
        half = n // 2 - N_ANSWER
        self.texts = [text_of(self.program, half, 1), text_of(self.program, half, 2)]
        self.kept = None

    def message(self):
        self.n_messages += 1
        return message_of(self.program, self.n_messages)

    def new_tokens_gate(self, what, turn, text):
        n_new = self.program.count_tokens(text)
        self.report.gate(turn['prefilled_tokens'] <= n_new + 1, '%s prefills at most the %d new tokens + 1: %d'
                         % (what, n_new, turn['prefilled_tokens']))

    def make(self):
        turns = [self.program.turn(self.folder, text, N_ANSWER) for text in self.texts]
        self.report.add(self.n, 'make, turn 1', turns[:1])
        self.report.add(self.n, 'make, turn 2', turns[1:])
        self.new_tokens_gate('the second turn, a new process,', turns[1], self.texts[1])
        chat_runs.keep_chat(self.folder, 'first.db')
        return turns

    def again(self, text, n, *more, kept='first.db'):
        chat_runs.restore_chat(self.folder, kept)
        return self.program.turn(self.folder, text, n, *more)

    def prepare(self, kv_warm, weights_warm):
        """The page cache as asked for; returns the share of the cold files that stayed in it."""
        model, kept = [self.program.model], chat_runs.files_of(self.folder)
        cold = ([] if kv_warm else kept) + ([] if weights_warm else model)
        if cold and self.args.drop_caches:
            chat_runs.drop_all()
        stayed = chat_runs.evict(cold) if cold else 0.0
        chat_runs.warm((kept if kv_warm else []) + (model if weights_warm else []))
        return stayed

    def resume(self):
        """Returns the turns of each kind; the first of all answers the first message."""
        kinds = {'resume, all warm': (True, True), 'resume, KV cold': (False, True),
                 'resume, KV, weights cold': (False, False)}
        turns, texts, stayed = {kind: [] for kind in kinds}, {kind: [] for kind in kinds}, dict.fromkeys(kinds, 0.0)
        for _ in range(self.args.rounds):
            for kind, (kv_warm, weights_warm) in kinds.items():
                texts[kind].append(self.message())
                chat_runs.restore_chat(self.folder, 'first.db')
                stayed[kind] = max(stayed[kind], self.prepare(kv_warm, weights_warm))
                turns[kind].append(self.program.turn(self.folder, texts[kind][-1], N_ANSWER))
        for kind in kinds:
            self.report.add(self.n, kind, turns[kind], stayed_percent=stayed[kind])
            worst = max(range(self.args.rounds), key=lambda i: turns[kind][i]['prefilled_tokens'])
            self.new_tokens_gate(kind, turns[kind][worst], texts[kind][worst])
            if stayed[kind] > 1:
                print('        note: up to %.0f %% of a cold file stayed in the page cache' % stayed[kind])
        return turns

    def prefill(self, resumed):
        rounds = self.args.rounds if self.n <= 4096 else 1
        self.prepare(True, True)
        turns = [self.again(self.message(), N_ANSWER, '--no-kv-store') for _ in range(rounds)]
        self.report.add(self.n, 'prefill, all warm', turns)
        full = statistics.median(t.first_ms for t in turns)
        for kind, of_kind in resumed.items():
            first = statistics.median(t.first_ms for t in of_kind)
            text = '%s: first token after 1/%.1f of the prefill' % (kind, full / first)
            if self.n >= 16384:
                self.report.gate(first <= full / 20, text + ', at most 1/20')
            else:
                print('        ' + text)

    def same_tokens(self, made, resumed):
        """The first resume answered message 1; one process that never stopped says what is right."""
        self.program.dialogue(self.whole, [*self.texts, message_of(self.program, 1)], N_ANSWER, '--no-kv-store')
        whole = self.program.answers(self.whole)
        parts = [t.ids for t in made] + [resumed['resume, all warm'][0].ids]
        for i, name in enumerate(('turn 1', 'turn 2, resumed', 'the message, resumed')):
            self.report.gate(parts[i] == whole[i], 'greedy tokens of %s equal those of one process: %d of %d, %d '
                             'different ids' % (name, sum(a == b for a, b in zip(parts[i], whole[i])), len(whole[i]),
                                                len(set(whole[i]))))

    def token_bytes(self):
        stat = self.program.kv_stat(self.folder)
        return stat['bytes'] / max(1, stat['tokens'])

    def turn500(self):
        text = self.message()
        n_message = self.program.count_tokens(text)
        turn = self.again(text, TURN_TOKENS - n_message)
        per_token = self.token_bytes()
        new = n_message + turn['completion_tokens']
        limit = 1.1 * per_token * (new + BLOCK)
        self.report.add(self.n, 'turn of %d tokens' % new, [turn], token_bytes=per_token)
        tiny = per_token * BLOCK < 1 << 20 and 'what is written about a block of so small a model outweighs it'
        for name, wrote, unless in (('reported as KV', turn['kv_written_bytes'], ''),
                                    ('by the process', turn.wrote_bytes, tiny)):
            self.report.gate(0 < wrote <= limit, 'bytes written %s: %.1f MiB, at most 1.1 x (KV of %d tokens + one '
                             'block) = %.1f MiB' % (name, wrote / 2**20, new, limit / 2**20), unless)

    def fork(self):
        chat_runs.restore_chat(self.folder, 'first.db')
        before = self.program.kv_stat(self.folder)
        set_head(self.folder, 2)
        edited, back = self.message(), self.message()
        turn = self.program.turn(self.folder, edited, N_ANSWER)
        self.report.add(self.n, 'edit in the middle', [turn])
        self.new_tokens_gate('an edited message in the middle', turn, edited)
        again = self.again(back, N_ANSWER)
        self.report.add(self.n, 'back on the first branch', [again])
        self.new_tokens_gate('going on with the first branch', again, back)
        after = self.program.kv_stat(self.folder)
        new = sum(t['prefilled_tokens'] + t['completion_tokens'] for t in (turn, again))
        # A branch begins within a block: its first block repeats the rows in front.
        limit = new + 2 * (BLOCK - 1)
        self.report.gate(after['tokens'] - before['tokens'] <= limit, 'two branches of %d new tokens store %d, at '
                         'most the new ones and the begun blocks' % (new, after['tokens'] - before['tokens']))

    def run(self):
        made = self.make()
        resumed = self.resume()
        self.fork()
        self.turn500()
        self.same_tokens(made, resumed)
        self.prefill(resumed)
        verdict = json.loads(self.program.output('kv', 'verify', '--json', '--data-dir', self.folder))
        self.report.gate(verdict['damaged'] == 0 < verdict['blocks'], '%d blocks are kept, all sound'
                         % verdict['blocks'])


# ---- saving on and off ----

def percentile(values, p):
    return sorted(values)[min(len(values) - 1, math.ceil(p / 100 * len(values)) - 1)]


class Saving:
    def __init__(self, bench):
        self.bench, self.length = bench, Length(bench, bench.args.saving_at)
        self.length.folder += '-saving'
        bench.program.env['FERRUM_SPECULATE'] = 'off'  # how many guesses are right differs from text to text

    def measure(self, threads):
        turns = {'on': [], 'off': []}
        length = self.length
        for i in range(2 * self.bench.args.saving_rounds):
            mode = ('on', 'off', 'off', 'on')[i % 4]
            more = ['--threads', str(threads)] + (['--no-kv-store'] if mode == 'off' else [])
            turns[mode].append(length.again(length.message(), self.bench.args.saving_tokens, *more))
        return turns

    def compare(self, threads):
        turns, rows = self.measure(threads), {}
        for mode, of_mode in turns.items():
            gaps = [gap for t in of_mode for gap in t.gaps_ms]
            rows[mode] = {'threads': threads, 'saving': mode, 'n_gaps': len(gaps), 'p50_ms': percentile(gaps, 50),
                          'tokens_s': statistics.median(t.tokens_s for t in of_mode), 'p99_ms': percentile(gaps, 99),
                          'max_ms': max(gaps), 'others_percent': max(t.others_percent for t in of_mode)}
            r = rows[mode]
            print('%7d  %-6s %8.2f %8.2f %8.2f %8.2f %6d %5.0f%%' % (threads, mode, r['tokens_s'], r['p50_ms'],
                  r['p99_ms'], r['max_ms'], r['n_gaps'], r['others_percent']), flush=True)
        self.bench.report.saving += rows.values()
        self.judge(rows['on'], rows['off'], threads)

    def judge(self, on, off, threads):
        gate = self.bench.report.gate
        quiet = max(on['others_percent'], off['others_percent']) < QUIET_PERCENT
        unless = '' if quiet else 'the machine was not quiet'
        if threads < len(os.sched_getaffinity(0)):
            share = on['tokens_s'] / off['tokens_s']
            gate(share >= 0.98, 'saving leaves %.1f %% of the tokens/s, at least 98' % (100 * share), unless)
            gate(on['p99_ms'] <= 1.05 * off['p99_ms'], 'a core free: p99 changes by %+.1f %%, at most +5'
                 % (100 * on['p99_ms'] / off['p99_ms'] - 100), unless)
        else:
            for name in ('p99_ms', 'max_ms'):
                gate(on[name] - off[name] <= 8, 'all cores busy: %s grows by %+.1f ms, at most 8'
                     % (name[:-3], on[name] - off[name]), unless)

    def run(self):
        n_cores = len(os.sched_getaffinity(0))
        self.length.make()
        print('\nsaving while %d tokens are written behind %d\n%7s  %-6s %8s %8s %8s %8s %6s %s' % (
            self.bench.args.saving_tokens, self.length.n, 'threads', 'saving', 'tokens/s', 'p50 ms', 'p99 ms', 'max ms',
            'gaps', 'others'))
        for threads in ([n_cores - 1] if n_cores > 1 else []) + [n_cores]:
            self.compare(threads)


# ---- all of it ----

class Bench:
    def __init__(self, args, home):
        self.args, self.home, self.report = args, home, Report()
        longest = max([*args.tokens, args.saving_at])
        options = ['--ctx', str(longest + 2048), *(['--kv-type', args.kv_type] if args.kv_type else []),
                   *(['--threads', str(args.threads)] if args.threads else [])]
        self.program = Program(args.program, os.path.abspath(args.model), home, options)

    def machine(self):
        with open('/proc/cpuinfo') as f:
            cpu = next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')), '?')
        return {'program': self.program.output('--version').split('\n')[0], 'model': self.args.model, 'cpu': cpu,
                'cores': len(os.sched_getaffinity(0)), 'kernel': platform.release(), 'load': os.getloadavg(),
                'cold': 'drop_caches' if self.args.drop_caches else 'posix_fadvise'}

    def run(self):
        machine = self.machine()
        print(', '.join('%s %s' % item for item in machine.items()))
        self.report.head()
        for n in self.args.tokens:
            Length(self, n).run()
        if self.args.saving_rounds:
            Saving(self).run()
        print('load average at the end %.2f %.2f %.2f' % os.getloadavg())
        return {'machine': machine, 'load_at_end': os.getloadavg(), 'rows': self.report.rows,
                'saving': self.report.saving, 'gates': self.report.gates}


def parse():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('program', help='the ferrum-chat to measure')
    p.add_argument('model', help='a GGUF file')
    p.add_argument('--tokens', type=lambda s: [int(x) for x in s.split(',')], default=[1024, 4096, 16384],
                   help='lengths of the chats (default 1024,4096,16384)')
    p.add_argument('--rounds', type=int, default=3, help='runs of each case (default 3; one prefill above 4096)')
    p.add_argument('--saving-rounds', type=int, default=4, help='runs with saving on, and as many off; 0: none')
    p.add_argument('--saving-at', type=int, default=1024, help='tokens of the chat saving is measured with')
    p.add_argument('--saving-tokens', type=int, default=256, help='tokens per answer there')
    p.add_argument('--threads', type=int, help='as of ferrum-chat')
    p.add_argument('--kv-type', help='as of ferrum-chat')
    p.add_argument('--drop-caches', action='store_true', help='cold: empty the whole page cache (root)')
    p.add_argument('--work', help='where the chats go (default: a temporary directory; give a real disk)')
    p.add_argument('--out', help='write everything measured to this file (JSON)')
    return p.parse_args()


def main():
    args = parse()
    if args.work:
        os.makedirs(args.work, exist_ok=True)
    home = tempfile.mkdtemp(prefix='ferrum-resume-', dir=args.work)
    try:
        bench = Bench(args, home)
        result = bench.run()
    except chat_runs.RunFailed as failure:
        sys.exit(str(failure))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if args.out:
        with open(args.out, 'w') as f:
            json.dump(result, f, indent=1)
    failed = [g['gate'] for g in result['gates'] if g['judged'] and not g['ok']]
    n_open = sum(not g['judged'] for g in result['gates'])
    print('%d gates, %d failed, %d not judged' % (len(result['gates']), len(failed), n_open))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
