"""The full screen through a real terminal (tmux): type, paste, stream, stop, resize, quit, continue."""
import json
import os
import signal
import time

from harness import LONG, SMALL, main, make_model, patched_copy
from screen_harness import ScreenTest


class Screen(ScreenTest):
    def test_a_whole_visit(self):
        self.start(LONG, '--temp', '0')
        self.wait_for('ready')
        self.type('hi 🙂 ')
        self.tmux('set-buffer', 'pasted one\npasted two')
        self.tmux('paste-buffer', '-p')
        self.wait_for('hi 🙂')
        self.keys('Enter')
        self.wait_for(r'tok/s')
        self.keys('Escape')
        self.wait_for(r'(?i)interrupted|stopped')
        self.tmux('resize-window', '-x', '60', '-y', '15')
        self.type('after the resize')
        self.wait_for('after the resize')
        self.keys('C-u')
        self.type('/quit')
        self.keys('Enter')
        self.wait_exit(0)
        messages = self.export(1)['messages']
        self.assertEqual([m['role'] for m in messages], ['user', 'assistant'])
        self.assertEqual(messages[0]['text'], 'hi 🙂 pasted one\npasted two')
        self.assertEqual(messages[1]['status'], 'interrupted')
        self.start('--continue')
        self.wait_for('hi 🙂 pasted') # the title, at once
        self.scroll_back_to('pasted two')
        self.keys('C-d')
        self.wait_exit(0)

    def test_the_tree_and_the_cache(self):
        self.start(LONG, '--temp', '1', '--seed', '5', '-n', '9')
        self.wait_for('ready')
        self.command('the first question', r'prefilled \d+ · wrote')
        self.command('the second question', r'reused \d+ of \d+ tokens · prefilled')
        self.command('/kv', r'KV blocks on disk: ')
        self.command('/regen', r'2/2')
        self.wait_saved(5)
        self.command('/branch prev', r'1/2')
        self.command('/fork', r'new chat that begins with')
        self.command('only here', r'only here')
        self.wait_until(lambda: [c['messages'] for c in self.sessions()] == [6, 5])
        self.keys('C-d')
        self.wait_exit(0)
        self.start('--continue')
        self.wait_for(r'resumed \d+ of \d+ tokens from disk in')
        self.keys('C-d')
        self.wait_exit(0)
        first, fork = self.export(1), self.export(2)
        self.assertEqual([m['text'] for m in fork['messages'][:4]], [m['text'] for m in first['messages'][:4]])
        self.assertEqual(first['head'], first['messages'][3]['id'])
        self.assertIn('(fork)', fork['title'])

    def test_a_selected_message_is_edited_and_forked(self):
        self.start(LONG, '--temp', '0', '-n', '5')
        self.wait_for('ready')
        self.command('the first question', r'prefilled \d+')
        self.command('the second question', r'reused \d+')
        self.type('half a draft')
        self.keys('M-Up', 'M-Up', 'M-Up', 'M-Up')
        self.keys('e')
        self.wait_for(r'› the first question')
        self.type(' changed')
        self.keys('Enter')
        self.wait_for(r'2/2[\s\S]*half a draft')
        self.wait_saved(6)
        messages = self.export(1)['messages']
        self.assertEqual(messages[4]['parent'], messages[0]['parent'])
        self.assertEqual(messages[4]['text'], 'the first question changed')
        self.keys('M-Up', 'M-Up')
        self.keys('f') # at a question: its text is to be written anew
        self.wait_for(r'› the first question changed')
        self.keys('C-d')
        self.keys('C-a', 'C-k')
        self.wait_for('Write a message')
        self.keys('C-d')
        self.wait_exit(0)
        self.assertEqual(len(self.sessions()), 2)
        self.assertEqual(self.sql('SELECT text FROM draft WHERE conv=1'), [('half a draft',)])

    def test_an_edit_that_does_not_fit_is_edited_again(self):
        self.start(SMALL, '--temp', '0', '-n', '5')
        self.wait_for('ready')
        self.command('hi', r'prefilled \d+')
        self.type('half a draft')
        self.keys('M-Up', 'M-Up')
        self.keys('e')
        self.wait_for(r'› hi')
        self.type(' long' * 30)
        self.keys('Enter')
        self.wait_for('(?i)context')
        self.wait_for(r'› hi long')
        self.keys('C-a', 'C-k')
        self.type('short')
        self.keys('Enter')
        self.wait_for(r'short[\s\S]*half a draft')
        self.wait_until(lambda: self.sessions()[0]['messages'] >= 5)
        os.kill(self.pid(), signal.SIGTERM)
        self.wait_exit(143)
        messages = self.export(1)['messages']
        self.assertEqual([m['text'] for m in messages if m['on_path']][0], 'short')

    def test_a_chat_deleted_from_the_list_takes_its_blocks_along(self):
        def blocks():
            return json.loads(self.check(0, 'kv', 'stat', '--json'))['blocks']
        self.check(0, LONG, '--temp', '0', '-n', '9', '-p', 'one chat ' * 20)
        n_one = blocks()
        self.start(LONG, '--temp', '0', '-n', '9')
        self.wait_for('ready')
        self.command('another chat ' * 20, r'prefilled \d+ · wrote')
        self.wait_until(lambda: blocks() > n_one)
        self.command('/sessions', 'another chat')
        self.keys('F8')
        self.wait_for('y deletes')
        self.keys('y')
        self.wait_until(lambda: len(self.sessions()) == 1)
        self.wait_until(lambda: blocks() == n_one)
        self.wait_for('1 of 1') # before: an Escape with a key close behind would be Alt with that key
        self.keys('Escape')
        self.wait_until(lambda: '1 of 1' not in self.screen())
        self.keys('C-d')
        self.wait_exit(0)
        self.assertEqual(blocks(), n_one)

    def test_a_draft_comes_back(self):
        self.start(LONG, '--temp', '0', '-n', '5')
        self.wait_for('ready')
        self.type('not sent yet')
        self.wait_for('not sent yet')
        os.kill(self.pid(), signal.SIGTERM)
        self.wait_exit(143)
        self.start(LONG)
        self.wait_for('not sent yet')

    def test_a_prompt_that_does_not_fit_comes_back_to_the_editor(self):
        self.start(SMALL, '--temp', '0', '-n', '5')
        self.wait_for('ready')
        self.type('long ' * 30)
        self.keys('Enter')
        self.wait_for('(?i)context')
        self.assertIn('long long', self.screen())
        self.keys('C-a', 'C-k')
        self.type('short')
        self.keys('Enter')
        self.wait_for(r'tok/s')

    def test_a_message_during_an_answer_stays_in_the_editor(self):
        self.start(LONG, '--temp', '0')
        self.wait_for('ready')
        self.type('hi')
        self.keys('Enter')
        self.wait_for(r'tok/s')
        self.type('too early')
        self.keys('Enter')
        self.assertIn('too early', self.wait_for('still being written'))
        self.keys('Escape')
        self.wait_for(r'(?i)interrupted|stopped')
        self.keys('C-u')
        self.keys('C-d')
        self.wait_exit(0)
        self.assertEqual(len(self.export(1)['messages']), 2)

    def test_chats_are_listed_picked_and_new(self):
        self.check(0, LONG, '--temp', '0', '-n', '4', '-p', 'the older chat')
        self.start(LONG, '--temp', '0', '-n', '4')
        self.wait_for('ready')
        self.command('hi', r'prefilled \d+ · wrote') # the answer has ended
        self.wait_saved(2)
        self.type('/new')
        self.keys('Enter')
        self.wait_for('(?s)ferrum(?!.*You)')
        self.type('/sessions')
        self.keys('Enter')
        self.wait_for('the older chat')
        self.keys('Down', 'Enter')
        self.wait_for('(?s)ferrum  the older chat.*You')
        self.keys('C-d')
        self.wait_exit(0)

    def test_regenerate_keeps_the_old_answer(self):
        self.start(LONG, '--temp', '0', '-n', '6')
        self.wait_for('ready')
        self.type('hi')
        self.keys('Enter')
        self.wait_saved(2)
        self.wait_for(r'tok/s.*F1 help')
        self.type('/regen')
        self.keys('Enter')
        self.wait_saved(3)
        self.keys('C-d')
        self.wait_exit(0)
        messages = self.export(1)['messages']
        self.assertEqual([m['role'] for m in messages], ['user', 'assistant', 'assistant'])
        self.assertEqual(messages[1]['parent'], messages[2]['parent'])

    def test_signals_give_the_terminal_back_and_save(self):
        for number, code in [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]:
            with self.subTest(code=code):
                self.start(LONG, '--temp', '0')
                self.wait_for('ready')
                self.type('hi')
                self.keys('Enter')
                self.wait_for(r'tok/s')
                os.kill(self.pid(), number)
                self.wait_exit(code)
                self.assertEqual(self.export(self.sessions()[0]['id'])['messages'][1]['status'], 'interrupted')

    def test_a_dumb_terminal_gets_lines_without_escapes(self):
        self.start(LONG, '--temp', '0', '-n', '4', term='TERM=dumb')
        self.wait_for('(?m)^>$')
        self.type('hi')
        self.keys('Enter')
        self.wait_for('(?ms)^> hi\n.*^>$')
        self.keys('C-d')
        self.wait_exit(0)

    def test_a_tiny_terminal_survives(self):
        self.start(LONG, '--temp', '0', '-n', '4')
        self.wait_for('ready')
        self.tmux('resize-window', '-x', '20', '-y', '5')
        self.type('hi')
        self.keys('Enter')
        self.wait_saved(2)
        self.keys('C-d')
        self.wait_for(r'exit=0')

    def send(self, text, n_saved):
        self.type(text)
        self.keys('Enter')
        self.wait_saved(n_saved)
        self.wait_for('tok/s')

    def test_a_list_that_comes_late_does_not_cover_what_is_typed(self):
        self.check(0, LONG, '--temp', '0', '-n', '4', '-p', 'the older chat')
        self.start(LONG, '--temp', '0', '-n', '4')
        self.wait_for('ready')
        with self.locked_database():
            self.keys('M-o')
            time.sleep(0.3) # the key is read alone
            self.type('typed')
            self.wait_for('typed')
        self.keys('Enter')
        self.wait_until(lambda: self.sql("SELECT 1 FROM msg WHERE text = 'typed'"))
        self.assertNotIn('the older chat', self.screen())

    def test_each_chat_keeps_its_own_draft(self):
        self.check(0, LONG, '--temp', '0', '-n', '4', '-p', 'the older chat')
        self.start(LONG, '--temp', '0', '-n', '4')
        self.wait_for('ready')
        self.send('newer', 2)
        self.type('for the newer one')
        self.wait_for('for the newer one')
        self.keys('M-o')
        self.wait_for('the older chat')
        self.keys('Down', 'Enter')
        self.assertNotIn('for the newer one', self.wait_for('(?s)ferrum  the older chat.*You'))
        self.type('for the older one')
        self.wait_for('for the older one')
        self.keys('M-o')
        self.wait_for('(?s)Chats.*newer')
        self.keys('Up', 'Up', 'Enter')
        self.assertNotIn('for the older one', self.wait_for('(?s)ferrum  newer.*for the newer one'))
        os.kill(self.pid(), signal.SIGTERM)
        self.wait_exit(143)
        self.assertEqual(sorted(self.sql('SELECT text FROM draft')), [('for the newer one',), ('for the older one',)])

    def test_the_draft_of_no_chat_waits_for_the_next_new_one(self):
        self.check(0, LONG, '--temp', '0', '-n', '4', '-p', 'the older chat')
        self.start(LONG, '--temp', '0', '-n', '4')
        self.wait_for('ready')
        self.type('of no chat yet')
        self.wait_for('of no chat yet')
        self.keys('M-o')
        self.wait_for('Chats')
        self.keys('Enter')
        self.assertNotIn('of no chat yet', self.wait_for('(?s)ferrum  the older chat.*You'))
        self.type('/new')
        self.keys('Enter')
        self.wait_for('of no chat yet')
        self.keys('Enter')
        self.wait_until(lambda: self.sql("SELECT 1 FROM msg WHERE text = 'of no chat yet'"))
        self.wait_until(lambda: not self.sql('SELECT 1 FROM draft'))

    def test_a_refused_message_and_what_is_typed_meanwhile_are_both_kept(self):
        self.start(SMALL, '--temp', '0', '-n', '5')
        self.wait_for('ready')
        self.type('long ' * 30 + 'end')
        self.keys('Enter', 'l', 'o', 'n', 'g') # the beginning of the other text is a text too
        self.wait_for('(?i)context')
        self.wait_for(r'd\s+long')
        os.kill(self.pid(), signal.SIGTERM)
        self.wait_exit(143)
        draft = self.sql('SELECT text FROM draft')[0][0]
        self.assertEqual(draft.replace('\n', ''), 'long ' * 30 + 'endlong')

    def test_a_refused_first_message_that_is_deleted_stays_deleted(self):
        self.start(SMALL, '--temp', '0', '-n', '5')
        self.wait_for('ready')
        self.type('long ' * 30)
        self.keys('Enter')
        self.wait_for('(?i)context')
        self.assertEqual(self.sessions(), [])
        self.keys('C-a', 'C-k', 'C-d')
        self.wait_exit(0)
        self.start(SMALL)
        self.wait_for('ready')
        self.assertNotIn('long', self.screen())

    def test_a_message_after_a_refused_first_one_is_the_first(self):
        self.check(0, SMALL, '--temp', '0', '-n', '4', '-p', 'the older chat')
        self.start(SMALL, '--temp', '0', '-n', '5')
        self.wait_for('ready')
        self.type('long ' * 30)
        self.keys('Enter')
        self.wait_for('(?i)context')
        self.wait_until(lambda: len(self.sessions()) == 1)
        self.assertEqual(self.sql('SELECT conv FROM draft'), [(0,)])
        self.keys('C-a', 'C-k')
        self.type('short')
        self.keys('Enter')
        self.wait_until(lambda: self.sql('SELECT 1 FROM conv JOIN msg ON head=msg.id WHERE conv=3 AND status=0'))
        self.assertNotIn('2/2', self.wait_for('You'))
        self.keys('C-d')
        self.wait_exit(0)
        self.assertEqual([(c['title'], c['messages']) for c in self.sessions()], [('short', 2), ('the older chat', 2)])
        self.assertEqual(self.sql('SELECT text FROM draft'), [])

    def test_a_message_for_a_model_that_does_not_load_is_kept(self):
        broken = patched_copy(LONG, 'broken.gguf', b'output_norm.weight', b'output_norx.weight')
        self.start(broken)
        self.wait_for('output_norm')
        self.type('keep me')
        self.keys('Enter')
        self.wait_for('keep me')
        os.kill(self.pid(), signal.SIGHUP)
        self.wait_exit(129)
        self.assertEqual(self.sql('SELECT text FROM draft'), [('keep me',)])

    def test_a_message_that_waits_for_the_model_is_kept_at_the_end(self):
        # Typed before the program begins, so that nearly always all of it is read before the model is ready. Where the
        # model was quicker the message has become a turn; it is never in neither place.
        self.start(LONG, term='stty raw -echo; echo go; sleep 2;')
        self.wait_for('go')
        self.type('waits for the model')
        self.keys('Enter', 'C-d')
        self.wait_exit(0)
        if not self.sessions():
            self.assertEqual(self.sql('SELECT text FROM draft'), [('waits for the model',)])
        else:
            self.assertEqual(self.sql('SELECT text FROM msg WHERE id=(SELECT parent FROM msg, conv WHERE msg.id=head)'),
                             [('waits for the model',)])

    def test_a_chat_deleted_elsewhere_is_kept_as_a_new_one(self):
        self.start(LONG, '--temp', '0', '-n', '4')
        self.wait_for('ready')
        self.send('first', 2)
        self.check(0, 'sessions', 'delete', '1')
        self.type('second')
        self.keys('Enter')
        self.wait_for('deleted by another program')
        self.wait_saved(4)
        self.keys('C-d')
        self.wait_exit(0)
        chat = self.sessions()[0]
        self.assertEqual((chat['title'], chat['messages']), ('first', 4))

    def test_receipts_stay_with_their_chat(self):
        self.start(LONG, '--temp', '0', '-n', '4')
        self.wait_for('ready')
        for text in ['first', 'second', 'third', 'fourth']:
            self.type(text)
            self.keys('Enter')
            self.wait_for(r'(?s)%s.*wrote' % text)
            self.assertEqual(self.screen().count('wrote'), 1, self.screen())
            self.type('/new')
            self.keys('Enter')
            self.wait_for('(?s)Alt-O chats\n\n.*Write a message')

    def test_a_name_taken_meanwhile_is_said(self):
        self.start(LONG, '--temp', '0', '-n', '4', '--session', 'a')
        self.wait_for('ready')
        self.check(0, LONG, '--temp', '0', '-n', '4', '--session', 'a', '-p', 'hi')
        self.type('second')
        self.keys('Enter')
        self.wait_for('was taken by another')
        self.wait_saved(2)
        self.assertEqual(sorted(str(c['name']) for c in self.sessions()), ['None', 'a'])

    def test_the_meter_shows_what_a_chat_holds_when_it_is_opened(self):
        self.check(0, LONG, '--temp', '0', '-n', '4', '-p', 'hi')
        n = sum(len(m['tokens']) for m in self.export(1)['messages'])
        self.start('--continue')
        self.wait_for(r'\b%d(/| of )64k' % n)

    def test_reasoning_is_folded_and_can_be_switched(self):
        model = make_model('thinks.gguf', '--think', '--script', '<think>\nfirst this\n</think>\n\nThe answer.',
                           '--ctx', '1024', arch='qwen3')
        self.start(model)
        self.wait_for('ready')
        self.type('hi')
        self.keys('Enter')
        text = self.wait_for(r'The answer\.')
        self.assertIn('▸ Thought · 2 words', text)
        self.assertNotIn('first this', text)
        self.type('/nothink')
        self.keys('Enter')
        self.wait_for('answers without reasoning')
        self.type('again')
        self.keys('Enter')
        self.wait_saved(4)
        self.assertEqual(self.wait_for(r'(?s)The answer\..*The answer\.').count('Thought'), 1)
        self.type('/think')
        self.keys('Enter')
        self.wait_for('reasons before')
        self.type('/quit')
        self.keys('Enter')
        self.wait_exit(0)
        answers = [m for m in self.export(1)['messages'] if m['role'] == 'assistant']
        self.assertEqual([m['reasoning'] for m in answers], ['first this', ''])
        self.assertEqual(answers[1]['params']['think'], 'off')

    def test_two_slashes_send_one_in_a_dumb_terminal(self):
        self.start(LONG, '--temp', '0', '-n', '4', term='TERM=dumb')
        self.wait_for('(?m)^>$')
        self.type('//quit')
        self.keys('Enter')
        self.wait_saved(2)
        self.keys('C-d')
        self.wait_exit(0)
        self.assertEqual(self.export(1)['messages'][0]['text'], '/quit')


if __name__ == '__main__':
    main()
