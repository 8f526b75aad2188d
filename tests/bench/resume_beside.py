#!/usr/bin/env python3
"""Resuming a conversation beside llama.cpp with its prompt-cache file, alternated in one run.

    python3 tests/bench/resume_beside.py build/release/app/ferrum-chat MODEL.gguf --peer PATH/llama-completion \\
            --work DIR-ON-A-REAL-DISK [--tokens 4096] [--rounds 5]

The peer is a ready binary; nothing is built here. Both get the same text, the same context and threads, page cache warm:
  make     a new process reads a text of N tokens, writes one token, and keeps what it computed
  resume   a new process goes on with a message of at most 16 tokens, until the first token of the answer
  turn     a new process goes on with another message and an answer of 484 tokens, and keeps what is new
  off      the same turn, keeping nothing (ours then reads nothing either, and computes the text again)
The stall of saving is the time from the last token to the end of the process, with and without keeping: a turn's own time
scatters by more than what is looked for. What saving costs while tokens come is resume.py's to measure.
Other times are from exec: to the end of the process; for `resume` to the first token on stdout, where the peer's file is
left as it is. Bytes are what the kernel counted as written.
The table has medians; what differs by less than the spread says nothing. Nothing here is a gate.
"""
import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import chat_runs
from chat_runs import Program
from resume import message_of, text_of

ANSWER_TOKENS = 484


class Run:
    def __init__(self, ms, evaluated, wrote_bytes, first_ms, after_ms):
        self.ms, self.evaluated, self.wrote_bytes = ms, evaluated, wrote_bytes
        self.first_ms, self.after_ms = first_ms, after_ms


class Ours:
    name = 'ferrum-chat'

    def __init__(self, args, home):
        self.folder = os.path.join(home, 'ours')
        options = ['--ctx', str(args.ctx), '--threads', str(args.threads)]
        self.program = Program(args.program, os.path.abspath(args.model), home, options)

    def turn(self, text, n, *more):
        start = time.monotonic()
        turn = self.program.turn(self.folder, text, n, *more)
        return Run((time.monotonic() - start) * 1e3, turn['prefilled_tokens'], turn.wrote_bytes, turn.first_ms,
                   turn.after_ms)

    def make(self, text):
        shutil.rmtree(self.folder, ignore_errors=True)
        run = self.turn(text, 1)
        chat_runs.keep_chat(self.folder, 'first.db')
        return run

    def resume(self, message):
        chat_runs.restore_chat(self.folder, 'first.db')
        return self.turn(message, 1)

    def long_turn(self, message, keeps):
        chat_runs.restore_chat(self.folder, 'first.db')
        return self.turn(message, ANSWER_TOKENS, *([] if keeps else ['--no-kv-store']))


class Peer:
    name = 'llama.cpp'

    def __init__(self, args, home):
        self.file, self.first = os.path.join(home, 'peer.bin'), os.path.join(home, 'peer-first.bin')
        self.prompt = os.path.join(home, 'peer-prompt')
        self.command = [os.path.abspath(args.peer), '-m', os.path.abspath(args.model), '-f', self.prompt, '-no-cnv',
                        '--temp', '0', '--ignore-eos', '--no-warmup', '--perf', '--simple-io', '--no-display-prompt',
                        '-c', str(args.ctx), '-t', str(args.threads), '-fa', 'on', '--prompt-cache', self.file]
        self.text = ''

    def turn(self, text, n, *more):
        with open(self.prompt, 'w') as f:
            f.write(text)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock, time.monotonic()
        with open(self.prompt + '.stderr', 'w+b') as errors:
            p = subprocess.Popen([*self.command, '-n', str(n), *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=errors)
            at = []
            while piece := os.read(p.stdout.fileno(), 1 << 16):
                if piece != b'\n\n':  # which it writes behind the last token, when all is saved
                    at.append(time.monotonic())
            p.wait()
            end, wrote = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock - before
            errors.seek(0)
            said = errors.read().decode(errors='replace')
        evaluated = re.search(r'prompt eval time =.*?/\s*(\d+) tokens', said)
        if p.returncode or not evaluated or not at:
            raise chat_runs.RunFailed('%s: exit %d: %s' % (self.command[0], p.returncode, said[-800:]))
        return Run((end - start) * 1e3, int(evaluated.group(1)), wrote * 512, (at[0] - start) * 1e3, (end - at[-1]) * 1e3)

    def make(self, text):
        self.text = text
        if os.path.exists(self.file):
            os.remove(self.file)
        run = self.turn(text, 1, '--prompt-cache-all')
        shutil.copyfile(self.file, self.first)
        return run

    def resume(self, message):
        shutil.copyfile(self.first, self.file)
        os.sync()
        return self.turn(self.text + message, 1, '--prompt-cache-ro')

    def long_turn(self, message, keeps):
        shutil.copyfile(self.first, self.file)
        os.sync()
        return self.turn(self.text + message, ANSWER_TOKENS, '--prompt-cache-all' if keeps else '--prompt-cache-ro')


def run_all(engines, rounds):
    runs = {}
    text, number = text_of(engines[0].program, ARGS.tokens, 1), 0
    print('%s rounds, text of %d tokens' % (rounds, engines[0].program.count_tokens(text)), flush=True)
    for i in range(rounds):
        order = engines if i % 2 == 0 else engines[::-1]
        number += 2
        messages = [' ' + message_of(engines[0].program, number + k) for k in (0, 1)]
        for kind, work in (('make', lambda e: e.make(text)), ('resume', lambda e: e.resume(messages[0])),
                           ('turn', lambda e: e.long_turn(messages[1], True)),
                           ('off', lambda e: e.long_turn(messages[1], False))):
            for e in order:
                runs.setdefault((kind, e.name), []).append(work(e))
    return runs


def report(engines, runs):
    print('| | %s |' % ' | '.join(e.name for e in engines))
    print('|---|%s' % ('---|' * len(engines)))

    def row(title, form, kind, get):
        cells = []
        for e in engines:
            values = [get(r) for r in runs[kind, e.name]]
            cells.append('%s (%s to %s)' % tuple(form % f(values) for f in (statistics.median, min, max)))
        print('| %s | %s |' % (title, ' | '.join(cells)))

    row('making it: MiB written', '%.1f', 'make', lambda r: r.wrote_bytes / 2**20)
    row('making it: ms', '%.0f', 'make', lambda r: r.ms)
    row('resume: tokens computed', '%.0f', 'resume', lambda r: r.evaluated)
    row('resume: ms to the first token', '%.0f', 'resume', lambda r: r.first_ms)
    row('turn of 500 tokens: MiB written', '%.1f', 'turn', lambda r: r.wrote_bytes / 2**20)
    row('turn of 500 tokens: ms', '%.0f', 'turn', lambda r: r.ms)
    row('its first token, from exec: ms', '%.0f', 'turn', lambda r: r.first_ms)
    row('its last token to the end: ms', '%.0f', 'turn', lambda r: r.after_ms)
    row('the same, keeping nothing: ms', '%.0f', 'off', lambda r: r.after_ms)
    stall = {e.name: statistics.median(a.after_ms - b.after_ms for a, b in zip(runs['turn', e.name], runs['off', e.name]))
             for e in engines}
    print('| stall of saving: ms, median of differences | %s |' % ' | '.join('%.0f' % stall[e.name] for e in engines))


def main():
    print('load average before: %.2f %.2f %.2f' % os.getloadavg())
    home = tempfile.mkdtemp(prefix='ferrum-beside-', dir=ARGS.work)
    try:
        engines = [Ours(ARGS, home), Peer(ARGS, home)]
        report(engines, run_all(engines, ARGS.rounds))
    except chat_runs.RunFailed as failure:
        sys.exit(str(failure))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print('load average after: %.2f %.2f %.2f' % os.getloadavg())


def parse():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('program', help='the ferrum-chat to measure')
    p.add_argument('model', help='a GGUF file')
    p.add_argument('--peer', required=True, help='a ready llama-completion')
    p.add_argument('--tokens', type=int, default=4096)
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument('--work', help='where files go (default: a temporary directory; give a real disk)')
    args = p.parse_args()
    args.ctx = args.tokens + 1024
    return args


if __name__ == '__main__':
    ARGS = parse()
    main()
