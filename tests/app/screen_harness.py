"""What tests of the full screen share: ferrum-chat in a real terminal (tmux), keys in, the screen out."""
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import PROGRAM, ProgramTest


@unittest.skipUnless(shutil.which('tmux'), 'SKIP: tmux is not installed')
class ScreenTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.socket = os.path.join(self.home, 'tmux')
        self.env.pop('TMUX', None)
        self.addCleanup(self.tmux, 'kill-server', check=False)

    def tmux(self, *args, check=True, stdin=None):
        r = subprocess.run(['tmux', '-S', self.socket, '-f', '/dev/null', *args], input=stdin, capture_output=True,
                           env=self.env, timeout=30)
        if check:
            self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout.decode()

    def start(self, *args, term=''):
        """Runs ferrum-chat in a new terminal; its exit code is printed behind it."""
        self.tmux('kill-server', check=False)
        self.socket = os.path.join(tempfile.mkdtemp(dir=self.home), 'tmux') # a server that ends may still hold the old
        words = ' '.join("'%s'" % a for a in (PROGRAM, *args))
        self.tmux('new-session', '-d', '-x', '80', '-y', '24', "%s %s; echo exit=$?; exec sleep 1000" % (term, words))

    def screen(self):
        return self.tmux('capture-pane', '-p')

    def wait_for(self, pattern):
        """Until the screen matches; a generous limit, so that a slow machine is no failure."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            text = self.screen()
            if re.search(pattern, text):
                return text
            time.sleep(0.05)
        self.fail('%r never came; the screen:\n%s' % (pattern, self.screen()))

    def scroll_back_to(self, words):
        for _ in range(1000):
            if words in self.screen():
                return
            self.keys('PPage')
        self.fail('%r is not in the transcript:\n%s' % (words, self.screen()))

    def keys(self, *keys):
        self.tmux('send-keys', *keys)

    def type(self, text):
        self.tmux('send-keys', '-l', text)

    def pid(self):
        pane = self.tmux('display-message', '-p', '#{pane_pid}').strip()
        with open('/proc/%s/task/%s/children' % (pane, pane)) as f:
            return int(f.read().split()[0])

    def wait_exit(self, code):
        self.assertIn('exit=%d' % code, self.wait_for(r'exit=\d+'))

    def wait_saved(self, n_messages):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            chats = self.sessions()
            if chats and chats[0]['messages'] >= n_messages and not self.sql('SELECT 1 FROM msg WHERE status=1'):
                return  # and no answer is being written
            time.sleep(0.1)
        self.fail('not saved: %r' % self.sessions())

    def command(self, text, pattern):
        self.type(text)
        self.keys('Enter')
        self.wait_for(pattern)

    def resize(self, columns, rows):
        self.tmux('resize-window', '-x', str(columns), '-y', str(rows))
