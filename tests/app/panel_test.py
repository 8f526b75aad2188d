"""The profiler panel of the whole program, through a real terminal (tmux): during an answer, behind it, of older answers,
at three sizes, in colour and without."""
import os
import re
import signal

from harness import LONG, main, make_model
from screen_harness import ScreenTest

MOE = make_model('moe.gguf', '--ctx', '65536', '--seed', '3', arch='qwen3moe')
# Rows of the table: a name, calls, ms, a share, and what it reads.
ROW = r'(?m)%s +\d+(?:\.\d+)? +\d+\.\d+ +\d+\.\d%%'


class Panel(ScreenTest):
    def ask(self, text):
        self.type(text)
        self.keys('Enter')

    def context_switches(self):
        total = 0
        tasks = '/proc/%d/task' % self.pid()
        for task in os.listdir(tasks):
            with open('%s/%s/status' % (tasks, task)) as f:
                total += sum(int(n) for n in re.findall(r'ctxt_switches:\s+(\d+)', f.read()))
        return total

    def test_it_opens_during_an_answer(self):
        self.start(MOE, '--temp', '1', '--seed', '5')
        self.wait_for('ready')
        self.keys('F2')
        self.wait_for('no profile yet: it comes with the next answer')
        self.ask('hello')
        text = self.wait_for(r'profile · decode · this answer')
        self.wait_for(ROW % r'\d+ more') # which ones are the largest is not ours to say
        self.wait_for(r'one token .* 100\.0%')
        self.assertIn('F2 close', text)
        self.type('typed meanwhile') # the panel takes nothing from the editor
        self.wait_for('› typed meanwhile')
        self.resize(120, 40)
        text = self.wait_for(r'balance +\d\.\d\d · entropy +\d\.\d\d of 3\.00 bits')
        self.wait_for(r'overlap +\d+% \(chance 25%\)')
        self.wait_for(r'memory reads \d+\.\d GB/s|memory reads – GB/s') # measured when nothing runs
        for name in ('qkv', 'attention', 'router', 'gate_up', 'down', 'lm_head', 'sample'):
            self.assertRegex(text, ROW % name)
        self.assertRegex(text, r'tokens/s +\d+')
        self.resize(200, 60)
        self.wait_for('F6 F7 size')
        self.wait_for('4 × mean')
        self.keys('F4')
        self.wait_for('Profile  prefill · this answer')
        self.wait_for(ROW % 'gate_up')
        self.keys('F3')
        self.wait_for(r'2 layers · highest \d')
        self.keys('C-Down')
        self.wait_for(r'layer 0 \d')
        self.keys('C-c')
        self.wait_for('Profile  prefill · layer 0 · the last answer')
        self.wait_for('› typed meanwhile')
        self.resize(40, 8)
        self.wait_for('the profile needs 60x15')
        self.keys('C-u')
        self.type('/quit')
        self.keys('Enter')
        self.wait_exit(0)

    def test_memory_is_measured_when_nothing_runs(self):
        self.start(MOE, '--temp', '1', '--seed', '5', '-n', '20')
        self.wait_for('ready')
        self.resize(120, 40)
        self.ask('hello')
        self.wait_saved(2)
        self.keys('F2')
        self.wait_for(r'the last answer')
        self.wait_for(r'memory reads \d+\.\d GB/s')
        self.wait_for(ROW % 'gate_up' + r' +\d+\.\d +\d+%')

    def test_an_open_panel_of_an_idle_program_wakes_nobody(self):
        self.start(MOE, '--temp', '1', '--seed', '5', '-n', '20')
        self.wait_for('ready')
        self.keys('F2')
        self.ask('hello')
        self.wait_for(r'the last answer')
        self.wait_saved(2)
        self.wait_for(r'prefilled \d+') # the receipt is the last that comes
        for _ in range(20): # until the pool sleeps too
            before = self.context_switches()
            self.tmux('run-shell', 'sleep 1')
            if self.context_switches() == before:
                return
        self.fail('it never rests')

    def test_older_answers_and_two_side_by_side(self):
        self.start(MOE, '--temp', '1', '--seed', '5', '-n', '30')
        self.wait_for('ready')
        self.ask('hello')
        self.wait_saved(2)
        self.type('/quit')
        self.keys('Enter')
        self.wait_exit(0)
        self.start('--continue', '--temp', '1', '--seed', '6', '-n', '30') # another process
        self.wait_for('ready')
        self.keys('F2') # of a chat that is resumed chat.db has it
        self.wait_for('decode · message 2 of 2')
        self.wait_for(r'one token .* 100\.0%')
        self.ask('again')
        self.wait_saved(4)
        self.wait_for('decode · the last answer')
        self.resize(120, 40)
        self.type('/experts')
        self.keys('Enter')
        self.wait_for(r'decode · the last answer')
        self.keys('M-Up', 'M-Up')
        self.wait_for('a message of yours has no profile')
        self.keys('M-Up')
        self.wait_for('decode · message 2 of 4')
        self.wait_for(r'balance +\d\.\d\d')
        self.keys('F5')
        self.wait_for('held: message 2 of 4')
        self.keys('M-Down', 'M-Down')
        self.wait_for('now: the last answer')
        self.wait_for(r'(?m)gate_up +\d+\.\d+ +\d+\.\d+ +\d+\.\d\d')
        self.wait_for(r'(?m)tokens/s +\d+(\.\d)? +\d+(\.\d)? +\d+\.\d\d')

    def test_it_goes_along_with_the_chat_and_its_branches(self):
        self.start(MOE, '--temp', '1', '--seed', '5', '-n', '20')
        self.wait_for('ready')
        self.ask('hello')
        self.wait_saved(2)
        self.keys('F2')
        self.wait_for('decode · the last answer')
        self.ask('/regen')
        self.wait_saved(3)
        self.wait_for('decode · the last answer')
        self.ask('/branch prev')
        self.wait_for('decode · message 2 of 2') # not the other branch's
        self.ask('/branch next')
        self.wait_for('decode · the last answer')
        self.ask('/new')
        self.wait_for('no profile yet: it comes with the next answer')
        self.keys('M-o')
        self.wait_for('1 of 1')
        self.keys('Enter')
        self.wait_for('decode · message 2 of 2')
        self.ask('/fork')
        self.wait_for('decode · message 2 of 2')
        self.wait_for(r'one token .* 100\.0%')

    def test_a_selected_answer_that_is_being_written_goes_on(self):
        self.start(MOE, '--temp', '1', '--seed', '5')
        self.wait_for('ready')
        self.keys('F2')
        self.ask('hello')
        self.wait_for('decode · this answer')
        self.keys('M-Up')
        self.wait_for('message 2 of 2')
        self.keys('C-c')
        self.wait_for('decode · the last answer') # all of it, not as it was when it was selected
        self.assertIn('message 2 of 2', self.screen())

    def test_a_private_chat_says_that_nothing_is_kept(self):
        self.start(MOE, '--private', '--temp', '1', '--seed', '5', '-n', '20')
        self.wait_for('ready')
        self.ask('hello')
        self.wait_for(r'\d+ tok/s')
        self.keys('F2')
        self.wait_for('the last answer')
        self.ask('again')
        self.wait_for(r'(?s)again.*tok/s')
        self.wait_for('the last answer')
        self.keys('M-Up', 'M-Up', 'M-Up')
        self.wait_for('private: no profile is kept')

    def test_without_colour_and_without_experts(self):
        self.start(LONG, '--temp', '0', term='NO_COLOR=1')
        self.wait_for('ready')
        self.ask('hi')
        self.keys('F2')
        self.wait_for(ROW % 'ffn')
        self.keys('F3', 'F3')
        self.wait_for('this model is dense: it has no experts')
        os.kill(self.pid(), signal.SIGTERM)
        self.wait_exit(143)
        self.start(MOE, '--temp', '1', '--seed', '5', term='TERM=vt100')
        self.wait_for('ready')
        self.ask('hi')
        self.type('/experts')
        self.keys('Enter')
        self.wait_for(r'newest ◆ · load 0  ·░▒▓█ 4 × mean')
        self.assertNotIn('\033[38', self.tmux('capture-pane', '-p', '-e'))


if __name__ == '__main__':
    main()
