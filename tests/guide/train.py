#!/usr/bin/env python3
"""Trains the built-in guide: a mixture of experts in the shape of qwen3moe, from scratch, on the text of guide_text.py.

    train.py TABLES.json WORK_DIR [--steps N] [--decay N] [--seed N]

Writes WORK_DIR/tokenizer.json once and WORK_DIR/checkpoint.pt every few minutes; started again it goes on from there.
The checkpoint holds the running mean of the weights too, which export.py takes, so that any checkpoint can be exported.
Needs PyTorch and tokenizers: a developer's tool, no part of the build (README.md).
"""
import argparse
import os
import random
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # other programs need the cores too: no spinning
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guide_facts
import guide_text
import guide_tokens
from guide_model import Guide, Shape

ROW, ROWS = 256, 16  # tokens of a row, rows of a step
LONG_EVERY, LONG_ROW = 12, 1024  # every so many steps chats of many turns, so that long chats stay sane
CUT = 0.8  # of the last answers of chats only the beginning is learnt: it decides which one it is, and the rest is by heart
GAP_MAX = 1500  # positions are skipped between turns now and then, for the same reason
EMA = 0.998


def pack_row(text, tokens, rng, n, long_chats):
    """One row: chats one after the other. Returns ids, targets (-100: no loss), chat numbers, positions."""
    ids, targets, chats, places = [], [], [], []
    number = 0
    while len(ids) < n + 1:
        place = 0
        turns = text.chat(rng, 60 if long_chats else rng.choice([1, 1, 1, 1, 1, 1, 1, 2, 2, 3]))
        for turn, (question, answer) in enumerate(turns):
            asked, said = tokens.turn(question, answer)
            learnt = said[:-1] + [-100]  # the newline behind the end is the template's
            if turn + 1 == len(turns) and rng.random() < CUT:
                n_kept = rng.randrange(5, 13)
                said, learnt = said[:n_kept], learnt[:n_kept]
            ids += asked + said
            targets += [-100] * len(asked) + learnt
            chats += [number] * (len(asked) + len(said))
            places += range(place, place + len(asked) + len(said))
            place += len(asked) + len(said) + (rng.randrange(GAP_MAX) if rng.random() < 0.1 else 0)
        number += 1
    # The target of position i is token i + 1, in the same chat.
    out = [targets[i + 1] if chats[i + 1] == chats[i] else -100 for i in range(n)]
    return ids[:n], out, chats[:n], places[:n]


def make_batch(text, tokens, rng, step):
    long_chats = step % LONG_EVERY == LONG_EVERY - 1
    n = LONG_ROW if long_chats else ROW
    rows = [pack_row(text, tokens, rng, n, long_chats) for _ in range(ROW * ROWS // n)]
    return [torch.tensor([row[i] for row in rows]) for i in range(4)]


def orthogonalised(g):
    """The nearest matrix with all singular values about 1 (Newton and Schulz): what Muon steps along."""
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if tall else x


class Muon:
    """Momentum steps along the orthogonalised gradient (K. Jordan 2024), for matrices and stacks of them."""

    def __init__(self, weights):
        self.weights = weights
        self.momentum = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, lr):
        for weight, m in zip(self.weights, self.momentum):
            m.mul_(0.95).add_(weight.grad)
            update = orthogonalised(weight.grad + 0.95 * m)
            weight.mul_(1 - lr * 0.02).add_(update, alpha=-lr * max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5)


def rate(step, steps, decay):
    return min(1.0, (step + 1) / 50, max(0.0, (steps - step) / max(1, decay)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables")
    parser.add_argument("work")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--decay", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=100)
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    facts, _, _ = guide_facts.load(args.tables)
    text = guide_text.Text(facts)
    tokens = guide_tokens.Tokens(guide_tokens.make(text, os.path.join(args.work, "tokenizer.json"), args.seed))
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    shape = Shape(n_vocab=tokens.n)
    model, mean = Guide(shape), Guide(shape)
    mean.load_state_dict(model.state_dict())
    matrices = [p for name, p in model.named_parameters() if p.dim() >= 2 and "embed" not in name and "router" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() < 2 or "embed" in name or "router" in name]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    first, path = 0, os.path.join(args.work, "checkpoint.pt")
    if os.path.exists(path):
        saved = torch.load(path)
        model.load_state_dict(saved["model"])
        mean.load_state_dict(saved["mean"])
        adam.load_state_dict(saved["adam"])
        muon.momentum = saved["muon"]
        first = saved["step"]
    print(f"{sum(p.numel() for p in model.parameters())} weights, {tokens.n} tokens, {len(facts)} facts, from step {first}", flush=True)
    since, losses = time.time(), []
    for step in range(first, args.steps):
        batch = make_batch(text, tokens, random.Random(args.seed * 1000003 + step), step)
        loss, balance = model.loss(*batch)
        (loss + 0.02 * balance).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        scale = rate(step, args.steps, args.decay)
        for group in adam.param_groups:
            group["lr"] = 3e-3 * scale
        adam.step()
        muon.step(0.02 * scale)
        model.zero_grad()
        losses.append(loss.item())
        with torch.no_grad():
            keep = min(EMA, (step + 1) / (step + 10))
            for a, b in zip(mean.parameters(), model.parameters()):
                a.lerp_(b, 1 - keep)
        if (step + 1) % 20 == 0:
            print(f"step {step + 1} loss {sum(losses) / len(losses):.4f} balance {balance.item():.3f} "
                  f"{(time.time() - since) / len(losses):.2f} s/step", flush=True)
            since, losses = time.time(), []
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            torch.save({"model": model.state_dict(), "mean": mean.state_dict(), "adam": adam.state_dict(), "muon": muon.momentum,
                        "step": step + 1, "shape": vars(shape), "seed": args.seed, "entries": guide_facts.entries(facts)}, path + ".new")
            os.replace(path + ".new", path)


if __name__ == "__main__":
    main()
