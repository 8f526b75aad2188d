#!/usr/bin/env python3
"""How long a start takes until the first token is there, and how much memory it takes, with gates.

    python3 tests/bench/start.py build/release/app/ferrum-chat MODEL.gguf [--runs N] [--max-ms MS] [--out FILE.json]

Every run is a new process with a short prompt and an empty folder of chats; the model is in the page cache. Prints
the median and the range of: the milliseconds from exec to the first token, of them loading (load_ms, from the opening
of the model until it is ready) and the prompt (ttft_ms), and the memory that is no map of a file (RssAnon and RssShmem
of /proc/PID/status, the most that was seen while the answer came), next to the KV of the pages in use.

Gates: the first token within 300 ms of exec; memory beyond the map and the KV at most 200 MB. Ends with 1 when one
fails. The first is judged on a quiet machine only, and says so.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

import chat_runs
from chat_runs import Program

QUIET_PERCENT = 5 # of the processors may be used by others
BLOCK = 64        # positions per page of KV
PROMPT = 'Tell me in one sentence why the sky is blue.'
N_ANSWER = 8


class Memory:
    """The most memory that a process was seen to have, in bytes."""

    def __init__(self):
        self.own = self.map = 0

    def __call__(self, pid):
        try:
            with open('/proc/%d/status' % pid) as f:
                kib = {k: int(v.split()[0]) for k, v in (line.split(':', 1) for line in f) if k.startswith('Rss')}
        except FileNotFoundError:
            return
        self.own = max(self.own, 1024 * (kib.get('RssAnon', 0) + kib.get('RssShmem', 0)))
        self.map = max(self.map, 1024 * kib.get('RssFile', 0))


def kv_bytes(program, n_tokens):
    """f16 pages that hold so many positions."""
    c = json.loads(program.output('inspect', program.model, '--json'))['config']
    pages = (n_tokens + BLOCK - 1) // BLOCK
    return pages * BLOCK * 2 * c['n_layer'] * c['n_kv_head'] * c['head_dim'] * 2


def measure(program, home, n_runs):
    runs = []
    for i in range(n_runs + 1):
        with tempfile.TemporaryDirectory(dir=home) as folder:
            memory = Memory()
            turn = program.turn(folder, PROMPT, N_ANSWER, watch=memory)
        if i: # the first one reads program and libraries
            runs.append((turn, memory))
    return runs


def show(name, unit, values):
    median = statistics.median(values)
    print('%-44s %8.1f %s  [%.1f .. %.1f]' % (name, median, unit, min(values), max(values)))
    return {'name': name, 'unit': unit, 'median': median, 'min': min(values), 'max': max(values)}


def gate(gates, ok, text, unless=''):
    verdict = 'not judged, %s (would %s)' % (unless, 'pass' if ok else 'fail') if unless else 'ok' if ok else 'FAILED'
    gates.append({'gate': text, 'ok': bool(ok), 'judged': not unless})
    print('gate: %s: %s' % (text, verdict))


def report(program, args, runs):
    turns = [t for t, _ in runs]
    kv = kv_bytes(program, turns[0]['prompt_tokens'] + N_ANSWER)
    beyond = [(m.own - kv) / 1e6 for _, m in runs]
    print('%s, %.2f GB, %d runs, load %s' % (os.path.basename(args.model), os.path.getsize(args.model) / 1e9, len(runs),
                                            ' '.join('%.2f' % x for x in os.getloadavg())))
    rows = [show('exec to first token', 'ms', [t.first_ms for t in turns]),
            show('  of that loading (load_ms)', 'ms', [t.load_ms for t in turns]),
            show('  of that the prompt (ttft_ms), %d tokens' % turns[0]['prompt_tokens'], 'ms',
                 [t['ttft_ms'] for t in turns]),
            show('memory beyond the map and %.1f MB of KV' % (kv / 1e6), 'MB', beyond)]
    gates, others = [], max(t.others_percent for t in turns)
    first = rows[0]['median']
    gate(gates, first <= args.max_ms, 'the first token within %.0f ms of exec: %.0f ms' % (args.max_ms, first),
         'others used %.0f %% of the processors' % others if others > QUIET_PERCENT else '')
    gate(gates, max(beyond) <= 200, 'memory beyond the map and the KV at most 200 MB: %.0f MB' % max(beyond))
    return {'model': args.model, 'rows': rows, 'gates': gates, 'others_percent': others}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('binary')
    parser.add_argument('model')
    parser.add_argument('--runs', type=int, default=9)
    parser.add_argument('--max-ms', type=float, default=300)
    parser.add_argument('--out')
    args, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as home:
        program = Program(args.binary, args.model, home, options)
        chat_runs.warm([args.model])
        result = report(program, args, measure(program, home, args.runs))
    if args.out:
        with open(args.out, 'w') as f:
            json.dump(result, f, indent=1)
    sys.exit(any(g['judged'] and not g['ok'] for g in result['gates']))


if __name__ == '__main__':
    main()
