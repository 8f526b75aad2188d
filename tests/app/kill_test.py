"""kill -9 at random moments of a chat: what was saved stays saved, the file stays sound, the chat goes on."""
import os
import pty
import random
import signal
import sqlite3
import subprocess
import time

from harness import CHATML, PROGRAM, ProgramTest, main

ROUNDS = 20


class Kill(ProgramTest):
    def saved(self):
        """(text of the question, status of the answer) of every stored answer."""
        db = sqlite3.connect(self.database())
        try:
            self.assertEqual(db.execute('PRAGMA integrity_check').fetchone()[0], 'ok')
            return db.execute('SELECT p.text, a.status, a.text FROM msg a JOIN msg p ON p.id = a.parent '
                              'WHERE a.role = 2').fetchall()
        finally:
            db.close()

    def wait_saved(self, question):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for row in self.saved() if os.path.exists(self.database()) else []:
                if row[0] == question and row[1] == 0:
                    return row
            time.sleep(0.02)
        self.fail('%r was never saved' % question)

    def start(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PROGRAM, [PROGRAM, CHATML, '--plain', '--temp', '0', '-n', '5', '--ctx', '16384',
                                '--session', 's'], self.env)
        return pid, fd

    def drain(self, fd, seconds):
        """Reads what comes, so that the program never waits for us."""
        until = time.monotonic() + seconds
        os.set_blocking(fd, False)
        while time.monotonic() < until:
            try:
                os.read(fd, 65536)
            except BlockingIOError:
                time.sleep(0.002)
            except OSError:
                return

    def test_no_finished_turn_is_lost(self):
        chance = random.Random(20261121)
        finished = []
        for i in range(ROUNDS):
            pid, fd = self.start()
            os.write(fd, b'finished %d\n' % i)
            self.drain(fd, 0.05)
            finished.append(self.wait_saved('finished %d' % i))
            os.write(fd, b'killed %d\n' % i)
            self.drain(fd, chance.random() * 0.06)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)
            rows = self.saved()
            for row in finished:
                self.assertIn(row, rows)
        self.check(0, CHATML, '--session', 's', '-n', '3', '--ctx', '16384', '-p', 'still there')

    def test_a_turn_reported_as_finished_is_never_lost(self):
        for i in range(ROUNDS):
            question = 'reported %d' % i
            p = subprocess.Popen([PROGRAM, CHATML, '--temp', '0', '-n', '5', '--ctx', '4096', '--json', '-p', question],
                                 env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL)
            while b'"assistant"' not in p.stdout.readline():
                pass
            p.kill()
            p.wait()
            p.stdout.close()
            self.assertIn((question, 0), [row[:2] for row in self.saved()])


if __name__ == '__main__':
    main()
