"""The guide's vocabulary: byte-level BPE trained on its own text, split as qwen2's pre-tokenizer does, and ChatML turns."""
import os
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# tokenizer.ggml.pre = "qwen2"
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
N_VOCAB = 2048
N_SAMPLES = 40000


def make(text, path, seed):
    """The vocabulary in the file, trained first if there is none."""
    if not os.path.exists(path):
        rng = random.Random(seed)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=N_VOCAB, special_tokens=SPECIAL, show_progress=False,
                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
        lines = [line for _ in range(N_SAMPLES) for fact, question in [text.ask(rng)] for line in (question, fact.answer)]
        lines += ["user\n", "assistant\n"] * N_SAMPLES  # the template's words: one token each
        tokenizer.train_from_iterator(lines, trainer)
        tokenizer.save(path)
    return Tokenizer.from_file(path)


class Tokens:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.n = tokenizer.get_vocab_size()
        self.start, self.end = (tokenizer.token_to_id(name) for name in ("<|im_start|>", "<|im_end|>"))
        self.answers = {}
        self.user = self.encode("user\n")
        self.newline = self.encode("\n")
        self.assistant = self.encode("assistant\n")

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def torn(self, text, rng):
        """The text with some words in smaller pieces, so that words never seen are no surprise."""
        places = [i for i in range(1, len(text)) if text[i].isalpha() and text[i - 1].isalpha()]
        cuts = sorted(rng.sample(places, min(len(places), rng.choice([1, 1, 2, 3]))))
        return [id for a, b in zip([0] + cuts, cuts + [len(text)]) for id in self.encode(text[a:b])]

    def asked(self, question, words=None):
        words = words or self.encode(question)
        return [self.start] + self.user + words + [self.end] + self.newline + [self.start] + self.assistant

    def answer(self, text):
        """Ids of an answer with what ends it, and with the template's newline behind that."""
        if text not in self.answers:
            self.answers[text] = self.encode(text) + [self.end] + self.newline
        return self.answers[text]
