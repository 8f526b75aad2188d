#!/usr/bin/env python3
"""How good a checkpoint is, without the program: try_checkpoint.py TABLES.json WORK_DIR [--show]

Answers the held-out questions greedily with the running mean of the weights; prints shares, and with --show what went
wrong. guide_test.py asks the exported model through the program.
"""
import os
import random
import sys

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guide_facts
import guide_text
import guide_tokens
from guide_model import Guide, Shape
from tokenizers import Tokenizer

LONGEST = 14  # tokens: enough to tell which answer it is; the rest is by heart


def chat_ids(tokens, text, question):
    """The ids before the answer; a tab parts what was asked first, which got the right answer."""
    before, _, question = question.rpartition("\t")
    ids = []
    if before:
        first = next(facts[0] for facts, q in text.by_name() if q == before)
        ids = tokens.asked(before) + tokens.answer(first.answer)
    return ids + tokens.asked(question)


@torch.no_grad()
def answers(model, tokens, text, questions):
    """Greedy, a batch at a time, rows of the same length first (no padding in front)."""
    out, by_length = {}, {}
    model.eval()
    for question in questions:
        ids = chat_ids(tokens, text, question)
        by_length.setdefault(len(ids), []).append((question, ids))
    for length, group in by_length.items():
        ids = torch.tensor([row for _, row in group])
        for n in range(length, length + LONGEST):
            h, _, _ = model.hidden(ids.flatten(), torch.arange(n).repeat(len(group)), [(len(group), n)])
            ids = torch.cat([ids, (h.view(len(group), n, -1)[:, -1] @ model.embed.T).argmax(-1, keepdim=True)], 1)
        for (question, row), said in zip(group, ids.tolist()):
            said = said[len(row):]
            said = said[: said.index(tokens.end)] if tokens.end in said else said
            out[question] = tokens.tokenizer.decode(said)
    return out


def nearest(text, beginning):
    """The fact's answer that begins so, else the beginning itself."""
    return next((fact.answer for fact in text.facts.values() if fact.answer.startswith(beginning)), beginning)


def main():
    tables, work = sys.argv[1:3]
    known = guide_facts.load(tables)
    text = guide_text.Text(known)
    saved = torch.load(os.path.join(work, "checkpoint.pt"))
    tokens = guide_tokens.Tokens(Tokenizer.from_file(os.path.join(work, "tokenizer.json")))
    model = Guide(Shape(**saved["shape"]))
    model.load_state_dict(saved["mean"])
    rng = random.Random(99)
    by_hand, framed = text.held_out()
    seen = [text.ask(rng) for _ in range(300)]
    by_hand, framed, seen = ([([fact], question) for fact, question in pairs] for pairs in (by_hand, framed, seen))
    followups = [([fact], before + "\t" + question) for before, (fact, question) in text.held_followups()]
    print(f"step {saved['step']}")
    for title, pairs in (("questions of others", known.others), ("held out, by hand", by_hand), ("held out, frames", framed),
                         ("by name", text.by_name()), ("follow-ups", followups), ("as trained", seen)):
        said = answers(model, tokens, text, [question for _, question in pairs])
        said = {q: nearest(text, a) for q, a in said.items()}
        wrong = [(facts, q, said[q]) for facts, q in pairs if not any(guide_facts.is_right(fact, said[q]) for fact in facts)]
        print(f"{title}: {len(pairs) - len(wrong)} of {len(pairs)}, {100 * (1 - len(wrong) / len(pairs)):.1f} %")
        if "--show" in sys.argv and pairs is not known.others:  # nobody is to write wordings for these
            for facts, q, a in wrong:
                print(f"    {facts[0].id} | {q} | {a[:90]}")


if __name__ == "__main__":
    main()
