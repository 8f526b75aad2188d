#!/usr/bin/env python3
"""Trains the built-in guide: a mixture of experts in the shape of qwen3moe, from scratch, on the text of guide_text.py.

    train.py TABLES.json WORK_DIR [--steps N] [--decay N] [--seed N]

Writes WORK_DIR/tokenizer.json once and WORK_DIR/checkpoint.pt every few minutes; started again it goes on from there.
The checkpoint holds the running mean of the weights too, which export.py takes, so that any checkpoint can be exported.
Needs PyTorch and tokenizers: a developer's tool, no part of the build (README.md).
"""
import argparse
import ctypes
import os
import random
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # other programs need the cores too: no spinning
libc = ctypes.CDLL(None)
for option, size in ((-3, 32 << 20), (-1, 1 << 30), (-2, 256 << 20)):  # mmap threshold, trim threshold, top pad:
    libc.mallopt(option, size)  # memory is kept, else the system clears new pages for every tensor
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guide_facts
import guide_text
import guide_tokens
from guide_model import Guide, Shape

TOKENS = 5120  # of a step, without padding
LONG_EVERY, LONG_TURNS = 12, 24  # every so many steps there is a chat of many turns, so that long chats stay sane
CUT = 0.9  # of the last answers of chats only the beginning is learnt: it decides which one it is, and the rest is by heart
GAP_MAX = 1500  # positions are skipped between turns now and then, for the same reason
TORN = 0.15  # of the questions have words in smaller pieces
EMA = 0.998
DECAY = 0.05  # of the matrices, times the rate


def one_chat(text, tokens, rng, n_turns):
    """Ids, what is to be said after each (-100: no loss), positions."""
    ids, learnt, places, place = [], [], [], 0
    for turn, (question, answer) in enumerate(text.chat(rng, n_turns)):
        asked = tokens.asked(question, tokens.torn(question, rng) if rng.random() < TORN else None)
        said = tokens.answer(answer)
        loss = said[:-1] + [-100]  # the newline behind the end is the template's
        if turn + 1 == n_turns and rng.random() < CUT:
            n_kept = rng.randrange(3, 10)
            said, loss = said[:n_kept], loss[:n_kept]
        ids += asked + said
        learnt += [-100] * len(asked) + loss
        places += range(place, place + len(asked) + len(said))
        place += len(asked) + len(said) + (rng.randrange(GAP_MAX) if rng.random() < 0.1 else 0)
    return ids[:-1], learnt[1:], places[:-1]


def make_batch(text, tokens, rng, step):
    """Ids, targets and positions, flat; the groups as (chats, tokens of each)."""
    chats = [one_chat(text, tokens, rng, LONG_TURNS)] if step % LONG_EVERY == LONG_EVERY - 1 else []
    n = sum(len(chat[0]) for chat in chats)
    while n < TOKENS:
        chats.append(one_chat(text, tokens, rng, rng.choice([1] * 10 + [2] * 4 + [3] * 2)))
        n += len(chats[-1][0])
    chats.sort(key=lambda chat: len(chat[0]), reverse=True)
    flat, groups, at = ([], [], []), [], 0
    while at < len(chats):
        # A group ends where going on would pad more than a tenth.
        longest, end, used = len(chats[at][0]), at, 0
        while end < len(chats) and used + len(chats[end][0]) >= 0.9 * longest * (end + 1 - at):
            used += len(chats[end][0])
            end += 1
        for chat in chats[at:end]:
            for out, part, pad in zip(flat, chat, (0, -100, 0)):
                out += part + [pad] * (longest - len(part))
        groups.append((end - at, longest))
        at = end
    return [torch.tensor(out) for out in flat] + [groups]


def orthogonalised(g):
    """The nearest matrix with all singular values about 1 (Newton and Schulz): what Muon steps along."""
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(4):
        a = x @ x.mT
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
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
            update = orthogonalised((weight.grad + 0.95 * m).view(-1, *weight.shape[-2:])).view_as(weight)
            weight.mul_(1 - lr * DECAY).add_(update, alpha=-lr * max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5)


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
    known = guide_facts.load(args.tables)
    facts, text = known.facts, guide_text.Text(known)
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
