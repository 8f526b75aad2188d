"""kill -9 at random moments of a chat: what was saved stays saved, the file stays sound, the chat goes on."""
import os
import random
import signal
import subprocess

from harness import CHATML, PROGRAM, ProgramTest, main

ROUNDS = 20


class Kill(ProgramTest):
    def saved(self):
        """(text of the question, status of the answer, its text) of every stored answer."""
        if not os.path.exists(self.database()):
            return []
        self.assertEqual(self.sql('PRAGMA integrity_check'), [('ok',)])
        return self.sql('SELECT p.text, a.status, a.text FROM msg a JOIN msg p ON p.id = a.parent WHERE a.role = 2')

    def wait_saved(self, question):
        return self.wait_until(lambda: [row for row in self.saved() if row[:2] == (question, 0)])[0]

    def test_no_finished_turn_is_lost(self):
        chance = random.Random(20261121)
        finished = []
        for i in range(ROUNDS):
            pid, fd = self.on_terminal(PROGRAM, CHATML, '--plain', '--temp', '0', '-n', '5', '--ctx', '16384',
                                       '--session', 's')
            os.write(fd, b'finished %d\n' % i)
            self.drain(fd, 0.05)
            finished.append(self.wait_saved('finished %d' % i))
            os.write(fd, b'killed %d\n' % i)
            self.drain(fd, chance.random() * 0.06)
            self.end(pid, fd, signal.SIGKILL)
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
