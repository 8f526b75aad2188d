"""What the program tests of this folder share: a scratch home, tiny models, a way to run ferrum-chat.

Run as: python3 X_test.py FERRUM_CHAT MKTINY
"""
import atexit
import contextlib
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM, MKTINY = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SHARED = os.environ.get('FERRUM_SHARED', '')
STORIES = os.path.join(SHARED, 'models', 'stories260K.gguf')

WORK = tempfile.mkdtemp(prefix='ferrum-test-')
atexit.register(shutil.rmtree, WORK, ignore_errors=True)


def make_model(name, *args, arch='llama'):
    path = os.path.join(WORK, name)
    subprocess.run([MKTINY, arch, path, *args], check=True)
    return path


def patched_copy(path, name, old, new):
    """A copy of a model file with some bytes exchanged for as many others."""
    assert len(old) == len(new)
    with open(path, 'rb') as f:
        data = f.read()
    assert old in data
    out = os.path.join(WORK, name)
    with open(out, 'wb') as f:
        f.write(data.replace(old, new))
    return out


# Greedy, this model answers "hi" with thousands of tokens: long enough to be stopped at any moment.
LONG = make_model('long.gguf', '--ctx', '65536', '--seed', '1')
CHATML = make_model('chatml.gguf', '--chatml', '--ctx', '2048', '--seed', '1')
QWEN = make_model('qwen.gguf', '--chatml', '--ctx', '256', '--seed', '2', arch='qwen3')
SMALL = make_model('small.gguf', '--ctx', '64', '--seed', '1')


class ProgramTest(unittest.TestCase):
    """Each test has its own home directory."""

    def setUp(self):
        self.home = tempfile.mkdtemp(dir=WORK)
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith('XDG_') and k not in ('NO_COLOR', 'ESCDELAY')}
        self.env.update(HOME=self.home, TERM='xterm-256color', LANG='C.UTF-8', LC_ALL='C.UTF-8')

    def run_program(self, *args, stdin=b'', **more):
        return subprocess.run([PROGRAM, *args], input=stdin, capture_output=True, env=self.env, timeout=60, **more)

    def check(self, code, *args, stdin=b'', words=(), **more):
        """Runs, compares the exit code, looks for words on stderr; returns stdout."""
        r = self.run_program(*args, stdin=stdin, **more)
        self.assertEqual(r.returncode, code, r.stderr.decode(errors='replace'))
        for word in words:
            self.assertIn(word, r.stderr.decode(errors='replace'))
        return r.stdout

    def lines(self, *args, code=0, **more):
        """The JSON lines of a run."""
        return [json.loads(line) for line in self.check(code, *args, '--json', **more).decode().splitlines()]

    def sessions(self):
        return json.loads(self.check(0, 'sessions', 'list', '--json'))

    def export(self, chat_id):
        return json.loads(self.check(0, 'sessions', 'export', str(chat_id)))

    def on_terminal(self, *command):
        """Starts a command on a terminal of its own: its process, and our end."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe(command[0], command, self.env)
        return pid, fd

    def drain(self, fd, seconds):
        """Reads what comes from a terminal, so that the program never waits for us."""
        until = time.monotonic() + seconds
        os.set_blocking(fd, False)
        while time.monotonic() < until:
            try:
                os.read(fd, 65536)
            except BlockingIOError:
                time.sleep(0.002)
            except OSError:
                return

    def end(self, pid, fd, number):
        """Ends with this signal what runs on a terminal."""
        os.kill(pid, number)
        os.waitpid(pid, 0)
        os.close(fd)

    def sql(self, *statement, path=None):
        db = sqlite3.connect(path or self.database())
        try:
            rows = db.execute(*statement).fetchall()
            db.commit()
            return rows
        finally:
            db.close()

    @contextlib.contextmanager
    def locked_database(self):
        lock = sqlite3.connect(self.database(), isolation_level=None, timeout=30)
        try:
            lock.execute('BEGIN EXCLUSIVE')
            yield
            lock.execute('ROLLBACK')
        finally:
            lock.close()

    def wait_until(self, what):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            result = what()
            if result:
                return result
            time.sleep(0.05)
        self.fail('it never came true')

    def database(self):
        return os.path.join(self.home, '.local/share/ferrum-chat/chat.db')


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
