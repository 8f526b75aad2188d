"""What the benchmarks that drive the whole program share: runs of ferrum-chat, measured from outside.

A run is a process: its lines are stamped as they arrive, its bytes and processor time are what the kernel counted.
"""
import ctypes
import json
import mmap
import os
import pty
import select
import shutil
import sqlite3
import subprocess
import time
import tty

PAGE = mmap.PAGESIZE


class RunFailed(Exception):
    pass


def cpu_ticks_busy():
    """Seconds all processors of the machine were busy since it started."""
    with open('/proc/stat') as f:
        ticks = [int(x) for x in f.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf('SC_CLK_TCK')


class Others:
    """The share of the machine's processors that other programs used meanwhile."""

    def __init__(self):
        self.start, self.busy, self.own = time.monotonic(), cpu_ticks_busy(), self.own_seconds()

    @staticmethod
    def own_seconds():
        t = os.times()
        return t.user + t.system + t.children_user + t.children_system

    def percent(self):
        span = (time.monotonic() - self.start) * os.cpu_count()
        busy = cpu_ticks_busy() - self.busy - (self.own_seconds() - self.own)
        return max(0.0, 100 * busy / span) if span > 0.2 else 0.0


class Turn:
    """One turn of one process. Times in milliseconds, from the start of the process where not said otherwise."""

    def __init__(self, lines, usage, others):
        token_at = [at for at, line in lines if line['type'] == 'token']
        by_type = {line['type']: line for _, line in lines}
        self.answer = by_type['assistant']
        self.load_ms = by_type['ready']['load_ms']
        self.ids = [line['id'] for _, line in lines if line['type'] == 'token']
        self.first_ms = token_at[0] * 1e3 if token_at else float('nan')
        self.gaps_ms = [(b - a) * 1e3 for a, b in zip(token_at, token_at[1:])]
        span_ms = sum(self.gaps_ms)
        self.tokens_s = 1e3 * len(self.gaps_ms) / span_ms if span_ms else 0.0
        # The last token is seen before the turn is on disk; the last line comes after everything is.
        self.after_ms = (lines[-1][0] - token_at[-1]) * 1e3 if token_at else float('nan')
        self.wrote_bytes = usage.ru_oublock * 512
        self.others_percent = others

    def __getitem__(self, field):
        return self.answer.get(field, 0)


class Program:
    def __init__(self, binary, model, home, options):
        self.binary, self.model, self.home, self.options = os.path.abspath(binary), model, home, options
        self.env = {k: v for k, v in os.environ.items() if not k.startswith('XDG_')}
        self.env.update(HOME=home, LANG='C.UTF-8', LC_ALL='C.UTF-8', TERM='dumb')

    def output(self, *args, text=''):
        r = subprocess.run([self.binary, *args], input=text.encode(), capture_output=True, env=self.env)
        if r.returncode:
            raise RunFailed('ferrum-chat %s: exit %d: %s' % (' '.join(args), r.returncode, r.stderr.decode()))
        return r.stdout.decode()

    def count_tokens(self, text):
        return len(self.output('tokenize', self.model, text=text).split())

    def chat_args(self, folder, n, *more):
        return [self.binary, self.model, '--data-dir', folder, '--session', 'bench', '--raw', '--temp', '0', '-n',
                str(n), *self.options, *more]

    def turn(self, folder, text, n, *more, watch=None):
        """A new process says text and hears at most n tokens; watch(pid) is called whenever it has said something."""
        with open(os.path.join(self.home, 'prompt'), 'w+b') as prompt:
            prompt.write(text.encode())
            prompt.seek(0)
            others, start = Others(), time.monotonic()
            p = subprocess.Popen([*self.chat_args(folder, n, *more), '--json'], stdin=prompt, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=self.env)
        lines = self.stamped_lines(p.stdout, start, lambda: watch and watch(p.pid))
        said = p.stderr.read().decode(errors='replace')
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        if p.returncode or not any(line['type'] == 'assistant' for _, line in lines):
            raise RunFailed('ferrum-chat: exit %d: %s' % (p.returncode, said))
        return Turn(lines, usage, others.percent())

    @staticmethod
    def stamped_lines(pipe, start, after_each):
        lines, rest = [], b''
        while True:
            piece = os.read(pipe.fileno(), 1 << 16)
            at = time.monotonic() - start
            if not piece:
                return lines
            after_each()
            *whole, rest = (rest + piece).split(b'\n')
            lines += [(at, json.loads(line)) for line in whole]

    def dialogue(self, folder, texts, n, *more):
        """One process says all texts, each after the answer to the one before; a text is one line."""
        master, slave = pty.openpty()
        tty.setraw(slave)
        p = subprocess.Popen([*self.chat_args(folder, n, *more), '--plain'], stdin=slave, stdout=slave,
                             stderr=subprocess.DEVNULL, env=self.env)
        os.close(slave)
        os.set_blocking(master, False)
        left = '\n'.join([*texts, '/quit', '']).encode()
        while p.poll() is None:
            _, may_write, _ = select.select([master], [master] if left else [], [], 0.2)
            try:
                if may_write:
                    left = left[os.write(master, left[:1024]):]
                os.read(master, 1 << 16)
            except BlockingIOError:
                continue
            except OSError: # its end of the terminal is closed
                break
        p.wait()
        os.close(master)
        if p.returncode:
            raise RunFailed('ferrum-chat --plain: exit %d' % p.returncode)

    def kv_stat(self, folder):
        return json.loads(self.output('kv', 'stat', '--json', '--data-dir', folder))

    def answers(self, folder):
        """Token ids of the stored answers on the path, in order."""
        chats = json.loads(self.output('sessions', 'list', '--json', '--data-dir', folder))
        chat = json.loads(self.output('sessions', 'export', str(chats[0]['id']), '--data-dir', folder))
        return [m['tokens'] for m in chat['messages'] if m['role'] == 'assistant' and m['on_path']]


def set_head(folder, n_back):
    """The chat goes on behind the n_back-th message before its newest: another branch begins there."""
    db = sqlite3.connect(os.path.join(folder, 'chat.db'))
    try:
        head, = db.execute('SELECT head FROM conv').fetchone()
        for _ in range(n_back):
            head, = db.execute('SELECT parent FROM msg WHERE id = ?', (head,)).fetchone()
        db.execute('UPDATE conv SET head = ?', (head,))
        db.commit()
    finally:
        db.close()


def keep_chat(folder, name):
    """A copy of the chat alone, without its KV: what is said later is unsaid by restore_chat."""
    shutil.copy2(os.path.join(folder, 'chat.db'), os.path.join(folder, name))


def restore_chat(folder, name):
    shutil.copy2(os.path.join(folder, name), os.path.join(folder, 'chat.db'))


# ---- the page cache ----

def files_of(folder):
    return [os.path.join(folder, f) for f in ('chat.db', 'kv.db') if os.path.exists(os.path.join(folder, f))]


def warm(paths):
    for path in paths:
        with open(path, 'rb', buffering=0) as f:
            while f.read(1 << 22):
                pass


def resident_percent(path):
    """How much of a file is in the page cache (mincore)."""
    size = os.path.getsize(path)
    if not size:
        return 0.0
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, 'rb') as f, mmap.mmap(f.fileno(), size, access=mmap.ACCESS_COPY) as m:
        n = (size + PAGE - 1) // PAGE
        pages = (ctypes.c_ubyte * n)()
        at = ctypes.c_char.from_buffer(m)
        libc.mincore(ctypes.c_void_p(ctypes.addressof(at)), ctypes.c_size_t(size), pages)
        del at
    return 100.0 * sum(p & 1 for p in pages) / n


def evict(paths):
    """Takes files out of the page cache; returns the share that stayed."""
    os.sync()
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    return max(resident_percent(path) for path in paths)


def drop_all():
    os.sync()
    with open('/proc/sys/vm/drop_caches', 'w') as f:
        f.write('3\n')
