"""The screen on a terminal that takes no output (a stalled ssh): whatever ends the program ends it."""
import fcntl
import os
import select
import signal
import struct
import termios
import time
import unittest

from harness import LONG, PROGRAM, ProgramTest, main

REDRAWS = 60 * b'\x1bOQ'  # F2 shows and hides the panel: more output than a terminal holds


class Stall(ProgramTest):
    def stalled(self):
        """A chat with a draft on a terminal that nobody reads any more."""
        pid, fd = self.on_terminal(PROGRAM, LONG, '--temp', '0')
        self.fd = fd
        self.addCleanup(os.close, fd)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 200, 0, 0))
        self.drain(fd, 1.5)
        os.set_blocking(fd, True)
        os.write(fd, b'hi\r')
        self.wait_until(lambda: os.path.exists(self.database()) and self.sql('SELECT 1 FROM msg WHERE role=1'))
        os.write(fd, b'half a thought')
        for at in range(0, len(REDRAWS), 3):
            os.write(fd, REDRAWS[at:at + 3])
            time.sleep(0.03)
        return pid

    def wait_code(self, pid, seconds, key=b''):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if key:
                os.write(self.fd, key)
            time.sleep(0.5 if key else 0.05)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.fail('it waits for the terminal')

    def read(self, seconds):
        until, text = time.monotonic() + seconds, b''
        while time.monotonic() < until:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    text += os.read(self.fd, 65536)
                except OSError:
                    break
        return text

    def kept(self):
        """The only chat: its answer, and what the input line held."""
        (chat,) = self.sessions()
        return self.export(chat['id'])['messages'][1], self.sql('SELECT text FROM draft')

    def ends_by(self, number, code):
        pid = self.stalled()
        os.kill(pid, number)
        self.assertEqual(self.wait_code(pid, 20), code)
        answer, drafts = self.kept()
        self.assertEqual(answer['status'], 'interrupted')
        self.assertEqual(drafts, [('half a thought',)])

    def test_sigterm_ends_it_and_all_is_kept(self):
        self.ends_by(signal.SIGTERM, 143)

    def test_sighup_ends_it_and_all_is_kept(self):
        self.ends_by(signal.SIGHUP, 129)

    def test_keys_end_it(self):
        """Ctrl-C stops the answer, clears the line and asks; once more quits."""
        pid = self.stalled()
        self.assertEqual(self.wait_code(pid, 30, key=b'\x03'), 0)
        answer, drafts = self.kept()
        self.assertEqual(answer['status'], 'interrupted')
        self.assertEqual(drafts, [])

    def test_a_terminal_that_is_read_again_shows_all(self):
        pid = self.stalled()
        time.sleep(7)  # long enough for the program to have given the frame up
        self.drain(self.fd, 3)
        os.set_blocking(self.fd, True)
        os.write(self.fd, b'\x0c')  # Ctrl-L
        self.assertIn(b'half a thought', self.read(2))
        os.kill(pid, signal.SIGTERM)
        self.assertIn(b'\x1b[?1049l', self.read(2))
        self.assertEqual(self.wait_code(pid, 20), 143)


if __name__ == '__main__':
    main()
