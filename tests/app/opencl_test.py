"""OpenCL as its users meet it: on whatever device there is, and on a machine without any."""
import array
import os
import subprocess
import unittest

from harness import PROGRAM, ProgramTest, main, make_model

MODEL = make_model('cl.gguf', '--chatml', '--ctx', '2048', '--seed', '1', arch='qwen3')
MOE = make_model('cl-moe.gguf', '--ctx', '256', '--seed', '3', arch='qwen3moe')
GREEDY = ('--temp', '0')
CL = ('--backend', 'opencl')


def has_device():
    out = subprocess.run([PROGRAM, 'devices'], capture_output=True, check=True).stdout.decode()
    return 'works: opencl' in out


class WithoutDevice(ProgramTest):
    def setUp(self):
        super().setUp()
        self.env['OCL_ICD_VENDORS'] = '/empty'

    def test_devices_says_so(self):
        out = self.check(0, 'devices').decode()
        self.assertIn('works: cpu', out)
        self.assertIn('found no device', out)

    def test_a_chat_starts_and_says_so(self):
        r = self.run_program(MODEL, *GREEDY, *CL, '-n', '2', '-p', 'x', '--json', '--private')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn('found no device', r.stderr.decode())
        self.assertIn('the CPU computes instead', r.stderr.decode())
        self.assertIn('"backend":"cpu"', r.stdout.decode())

    def test_what_would_measure_something_else_is_refused(self):
        out = os.path.join(self.home, 'logits')
        self.check(1, 'bench', MODEL, *CL, words=['OpenCL', '--backend cpu'])
        self.check(1, 'logits', MODEL, *CL, '--tokens', '3', '--out', out, words=['OpenCL', '--backend cpu'])

    def test_auto_is_the_cpu(self):
        ready = self.lines(MODEL, *GREEDY, '--backend', 'auto', '-n', '2', '-p', 'x')[0]
        self.assertEqual(ready['backend'], 'cpu')


@unittest.skipUnless(has_device(), 'no OpenCL device')
class WithDevice(ProgramTest):
    def answer(self, *args, model=MODEL):
        lines = self.lines(model, *GREEDY, '-n', '12', *args)
        self.backend = lines[0]['backend']
        return [line for line in lines if line['type'] == 'assistant'][0]

    def logits(self, *args, model=MODEL):
        out = os.path.join(self.home, 'logits')
        self.check(0, 'logits', model, '--tokens', ','.join(map(str, range(3, 40))), '--out', out, *args)
        values = array.array('f')
        with open(out, 'rb') as f:
            values.frombytes(f.read())
        return values

    def test_logits_are_those_of_the_cpu(self):
        for model in (MODEL, MOE):
            for style in ('gpu', 'cpu'):
                with self.subTest(model=model, style=style):
                    self.env['FERRUM_CL_STYLE'] = style
                    mine, cpu = self.logits(*CL, model=model), self.logits('--backend', 'cpu', model=model)
                    error = sum((a - b) ** 2 for a, b in zip(mine, cpu))
                    self.assertLess(error, 1e-8 * sum(b * b for b in cpu))

    def test_an_answer_is_that_of_the_cpu(self):
        mine = self.answer(*CL, '-p', 'hi', '--private')
        self.assertEqual(self.backend, 'opencl')
        cpu = self.answer('--backend', 'cpu', '-p', 'hi', '--private')
        self.assertEqual(mine['text'], cpu['text'])

    def test_a_chat_resumes_on_the_other_backend_or_is_refused(self):
        for first, second in ((('--backend', 'cpu'), CL), (CL, ('--backend', 'cpu'))):
            with self.subTest(first=first):
                self.setUp()
                self.answer(*first, '--session', 's', '-p', 'hi ' * 200)
                exact = self.answer(*second, '--kv-exact', '--session', 's', '-p', 'and now?')
                self.assertEqual(exact['reused_disk'], 0)
                self.answer(*first, '--session', 't', '-p', 'ho ' * 200)
                r = self.run_program(MODEL, *GREEDY, *second, '--session', 't', '-n', '5', '-p', 'and now?')
                self.assertEqual(r.returncode, 0, r.stderr)
                self.assertRegex(r.stderr.decode(), r'resumed .* computed by other kernels \(%s ' % first[1])

    def test_layers_are_shared_with_the_cpu(self):
        cpu = self.answer('--backend', 'cpu', '-p', 'hi', '--private')
        for n, backend in (('0', 'cpu'), ('1', 'opencl'), ('2', 'opencl'), ('999', 'opencl'), ('auto', 'opencl')):
            with self.subTest(n=n):
                mine = self.answer(*CL, '--gpu-layers', n, '-p', 'hi', '--private')
                self.assertEqual(mine['text'], cpu['text'])
                self.assertEqual(self.backend, backend)

    def test_shared_layers_are_other_kernels(self):
        part = (*CL, '--gpu-layers', '1')
        self.answer(*part, '--session', 's', '-p', 'hi ' * 200)
        exact = self.answer(*CL, '--kv-exact', '--session', 's', '-p', 'and now?')
        self.assertEqual(exact['reused_disk'], 0)
        self.answer(*part, '--session', 't', '-p', 'ho ' * 200)
        again = self.answer(*part, '--kv-exact', '--session', 't', '-p', 'and now?')
        self.assertGreater(again['reused_disk'], 0)

    def test_a_number_of_layers_that_is_none(self):
        for n in ('x', '-1', '3x', '1.5', '99999999999999999999', ''):
            with self.subTest(n=n):
                self.check(2, MODEL, *CL, '--gpu-layers=' + n, '-p', 'x', words=['--gpu-layers'])

    def test_an_unknown_style_is_a_sentence(self):
        self.env['FERRUM_CL_STYLE'] = 'quick'
        self.check(2, MODEL, *CL, '-p', 'x', words=['quick', 'gpu or cpu'])


if __name__ == '__main__':
    main()
