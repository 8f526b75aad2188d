#!/usr/bin/env python3
"""What the open profiler panel costs: tokens per second of the whole program, in a terminal, with the panel against without.

One process, one chat: the same question is answered again and again (/regen: from the same KV cache, at temperature 0, so
with the same tokens), with the panel open and closed in turns (on, off, off, on, ...). Times are the program's own, as it
stores them with each answer. Ends with 1 when the open panel leaves less than 98 % of the tokens per second.

    python3 tests/bench/panel.py build/release/app/ferrum-chat MODEL.gguf
"""
import argparse
import fcntl
import json
import os
import pty
import shutil
import sqlite3
import statistics
import struct
import sys
import tempfile
import termios
import threading
import time

from chat_runs import Others

GATE = 0.98
LEAST_TOKENS = 16
F2 = '\033OQ'
DONE = 'SELECT stats FROM msg WHERE role = 2 AND status != 1 ORDER BY id'


class Terminal:
    """The program on a terminal of its own; what it draws is counted and forgotten."""

    def __init__(self, args, home):
        env = {k: v for k, v in os.environ.items() if not k.startswith('XDG_') and k != 'NO_COLOR'}
        env.update(HOME=home, LANG='C.UTF-8', LC_ALL='C.UTF-8', TERM='xterm-256color')
        command = [os.path.abspath(args.program), args.model, '--data-dir', home, '--temp', '0', '-n', str(args.tokens),
                   *(['--threads', str(args.threads)] if args.threads else [])]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, env)
        self.resize(args.columns, args.rows)
        self.drawn, self.text = 0, b''
        threading.Thread(target=self.read, daemon=True).start()

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def read(self):
        while True:
            try:
                piece = os.read(self.fd, 1 << 16)
            except OSError: # its end is closed
                return
            self.drawn += len(piece)
            self.text = (self.text + piece)[-(1 << 16):]

    def cpu_seconds(self):
        """What the program has used: it is still running, so nobody else's count has it."""
        with open('/proc/%d/stat' % self.pid) as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def wait_for(self, word, seconds):
        until = time.monotonic() + seconds
        while word not in self.text:
            if time.monotonic() > until:
                sys.exit('panel.py: %r never came; the end of the screen: %r' % (word, self.text[-2000:]))
            time.sleep(0.05)


class Bench:
    def __init__(self, args, home):
        self.args, self.home, self.n_answers = args, home, 0
        self.terminal = Terminal(args, home)
        self.terminal.wait_for(b'ready', 600)

    def answers(self):
        try:
            db = sqlite3.connect('file:%s?mode=ro' % os.path.join(self.home, 'chat.db'), uri=True, timeout=10)
            rows = db.execute(DONE).fetchall()
            db.close()
            return [row[0] for row in rows if row[0]]
        except sqlite3.OperationalError: # not there yet, or being written
            return []

    def answer(self, keys):
        """Tokens per second of the next answer, and what was drawn for each token."""
        drawn = self.terminal.drawn
        self.terminal.type(keys)
        until = time.monotonic() + 600
        while len(self.answers()) <= self.n_answers:
            if time.monotonic() > until:
                sys.exit('panel.py: no answer came')
            time.sleep(0.2)
        self.n_answers += 1
        stats = json.loads(self.answers()[-1])
        n = stats['completion_tokens']
        if n < LEAST_TOKENS:
            sys.exit('panel.py: the answer has %d tokens only; ask something else (--say)' % n)
        time.sleep(0.3) # the receipt, and the processors' rest
        return n / stats['decode_ms'] * 1e3, (self.terminal.drawn - drawn) / n

    def run(self):
        speeds, bytes_per_token, is_open = {True: [], False: []}, {True: [], False: []}, False
        self.answer(self.args.say + '\r')
        for i in range(2 * self.args.rounds):
            wants = i % 4 in (0, 3)
            if wants != is_open:
                self.terminal.type(F2)
                time.sleep(0.6) # memory is measured once, when the panel is first open
            is_open = wants
            others, start, cpu = Others(), time.monotonic(), self.terminal.cpu_seconds()
            speed, drawn = self.answer('/regen\r')
            span = (time.monotonic() - start) * os.cpu_count()
            rest = max(0.0, others.percent() - 100 * (self.terminal.cpu_seconds() - cpu) / span)
            speeds[wants].append(speed)
            bytes_per_token[wants].append(drawn)
            print('%-6s %8.2f tokens/s  %6.0f bytes drawn per token  others %2.0f%%' % (
                'open' if wants else 'closed', speed, drawn, rest), flush=True)
        self.terminal.type('/quit\r')
        return speeds


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('program', help='the ferrum-chat to measure')
    p.add_argument('model', help='a GGUF file')
    p.add_argument('--rounds', type=int, default=8, help='answers with the panel, and as many without (default 8)')
    p.add_argument('--tokens', type=int, default=96, help='tokens per answer (default 96)')
    p.add_argument('--columns', type=int, default=120)
    p.add_argument('--rows', type=int, default=40)
    p.add_argument('--threads', type=int, help='as of ferrum-chat')
    p.add_argument('--say', default='Tell me a long story about a lighthouse.', help='the question')
    args = p.parse_args()
    args.model = os.path.abspath(args.model)
    home = tempfile.mkdtemp(prefix='ferrum-panel-')
    try:
        speeds = Bench(args, home).run()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    opened, closed = statistics.median(speeds[True]), statistics.median(speeds[False])
    ok = opened / closed >= GATE
    print('%dx%d, medians of %d: open %.2f, closed %.2f tokens/s; ratio %.4f, at least %.2f: %s' % (
        args.columns, args.rows, args.rounds, opened, closed, opened / closed, GATE, 'ok' if ok else 'FAILED'))
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
