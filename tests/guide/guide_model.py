"""The guide's network in PyTorch: the arithmetic of qwen3moe (engine/model_qwen3moe.c), small.

A batch is chats of about the same length in groups, flat: x [tokens, n_embd], where group (rows, n) has rows * n tokens.
What is behind a chat's end is padding; as a token sees only what is before it, that needs no mask.
Weights are [out, in], stacks of experts [expert, out, in], as in GGUF.
"""
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn


class Shape:
    def __init__(self, n_vocab, n_embd=256, n_layer=3, n_head=4, n_kv_head=2, head_dim=64, n_expert=16, n_used=2, n_ff=128):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})


EPS, ROPE_BASE, CONTEXT = 1e-6, 10000.0, 2048


fused = torch.compile(dynamic=True)  # one pass over memory instead of many


@fused
def activation(g, u):
    return F.silu(g) * u


@fused
def activation_backward(g, u, da):
    s = torch.sigmoid(g)
    return da * u * (s + g * s * (1 - s)), da * g * s


@fused
def weigh_backward(dy, out, w):
    return (dy * out).sum(1), dy * w


def add_up(pairs, back):
    """The sum of each token's pairs."""
    return pairs.index_select(0, back.flatten()).view(*back.shape, -1).sum(1)


class Experts(torch.autograd.Function):
    """The sum over a token's experts of weight * expert(h): pairs (token, slot) in the order of their experts, so that each
    expert reads its tokens at once. By hand, as torch would zero a whole stack for the gradient of each expert in it."""

    @staticmethod
    def forward(ctx, h, weights, chosen, counts, gate, up, down):
        order = chosen.flatten().argsort(stable=True)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        back = back.view_as(chosen)
        token = order // chosen.shape[1]
        pairs = h.index_select(0, token)
        w = weights.flatten().index_select(0, order)[:, None]
        g, u = pairs.new_empty(len(order), gate.shape[1]), pairs.new_empty(len(order), gate.shape[1])
        for e, part in enumerate(slices(counts)):
            torch.mm(pairs[part], gate[e].T, out=g[part])
            torch.mm(pairs[part], up[e].T, out=u[part])
        a, out = activation(g, u), torch.empty_like(pairs)
        for e, part in enumerate(slices(counts)):
            torch.mm(a[part], down[e].T, out=out[part])
        ctx.save_for_backward(pairs, w, g, u, a, out, back, token, gate, up, down)
        ctx.counts = counts
        return add_up(out * w, back)

    @staticmethod
    def backward(ctx, dy):
        pairs, w, g, u, a, out, back, token, gate, up, down = ctx.saved_tensors
        dw, dout = weigh_backward(dy.index_select(0, token), out, w)
        da, dpairs = torch.empty_like(a), torch.empty_like(pairs)
        dgate, dup, ddown = torch.empty_like(gate), torch.empty_like(up), torch.empty_like(down)
        for e, part in enumerate(slices(ctx.counts)):
            torch.mm(dout[part], down[e], out=da[part])
            torch.mm(dout[part].T, a[part], out=ddown[e])
        dg, du = activation_backward(g, u, da)
        for e, part in enumerate(slices(ctx.counts)):
            torch.mm(dg[part], gate[e], out=dpairs[part])
            dpairs[part].addmm_(du[part], up[e])
            torch.mm(dg[part].T, pairs[part], out=dgate[e])
            torch.mm(du[part].T, pairs[part], out=dup[e])
        return add_up(dpairs, back), dw.index_select(0, back.flatten()).view_as(back), None, None, dgate, dup, ddown


def slices(counts):
    ends = list(itertools.accumulate(counts))
    return [slice(end - n, end) for n, end in zip(counts, ends)]


def rotate(x, cos, sin):
    """Rotates pairs (i, i + half), as "neox" does. x [tokens, heads, dim]"""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


@fused
def norm_rotate(qkv, n_qk, scale, cos, sin):
    x = qkv[:, :n_qk]
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * scale
    return rotate(x, cos, sin)


@fused
def norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s

        def matrix(*dims):
            return nn.Parameter(torch.randn(*dims) / math.sqrt(dims[-1]))

        self.attn_norm, self.ffn_norm = nn.Parameter(torch.ones(s.n_embd)), nn.Parameter(torch.ones(s.n_embd))
        self.q_norm, self.k_norm = nn.Parameter(torch.ones(s.head_dim)), nn.Parameter(torch.ones(s.head_dim))
        self.q = matrix(s.n_head * s.head_dim, s.n_embd)
        self.k = matrix(s.n_kv_head * s.head_dim, s.n_embd)
        self.v = matrix(s.n_kv_head * s.head_dim, s.n_embd)
        self.o = matrix(s.n_embd, s.n_head * s.head_dim)
        self.router = nn.Parameter(torch.randn(s.n_expert, s.n_embd) * 0.02)
        self.gate = matrix(s.n_expert, s.n_ff, s.n_embd)
        self.up = matrix(s.n_expert, s.n_ff, s.n_embd)
        self.down = matrix(s.n_expert, s.n_embd, s.n_ff)

    def attend(self, x, cos, sin, groups):
        s = self.s
        h = norm(x, self.attn_norm)
        n_qk = s.n_head + s.n_kv_head
        qkv = (h @ torch.cat([self.q, self.k, self.v]).T).view(-1, n_qk + s.n_kv_head, s.head_dim)
        scale = torch.cat([self.q_norm.expand(s.n_head, -1), self.k_norm.expand(s.n_kv_head, -1)])
        qk = norm_rotate(qkv, n_qk, scale, cos, sin)
        q, k, v = qk[:, : s.n_head], qk[:, s.n_head :], qkv[:, n_qk:]
        out, at = [], 0
        for rows, n in groups:
            part = slice(at, at + rows * n)
            q_, k_, v_ = (t[part].view(rows, n, -1, s.head_dim).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q_, k_, v_, is_causal=True, enable_gqa=True)
            out.append(y.transpose(1, 2).reshape(rows * n, -1))
            at += rows * n
        return x + torch.cat(out) @ self.o.T

    def experts(self, x):
        """Returns x with the experts' sum added, and how uneven they are used (1: evenly)."""
        s, h = self.s, norm(x, self.ffn_norm)
        probabilities = F.softmax(h @ self.router.T, -1)
        weights, chosen = probabilities.topk(s.n_used, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        counts = torch.bincount(chosen.flatten(), minlength=s.n_expert)
        share = counts / chosen.numel()
        balance = s.n_expert * (share * probabilities.mean(0)).sum()
        y = Experts.apply(h, weights, chosen, counts.tolist(), self.gate, self.up, self.down)
        return x + y, balance, share


class Guide(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.embed = nn.Parameter(torch.randn(s.n_vocab, s.n_embd) * 0.05)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.n_layer))
        self.out_norm = nn.Parameter(torch.ones(s.n_embd))

    def hidden(self, ids, places, groups):
        s = self.s
        angles = places[:, None, None] * ROPE_BASE ** (-torch.arange(0, s.head_dim, 2) / s.head_dim)
        cos, sin = angles.cos(), angles.sin()
        x, balances, shares = F.embedding(ids, self.embed), [], []
        for layer in self.layers:
            x, balance, share = layer.experts(layer.attend(x, cos, sin, groups))
            balances.append(balance)
            shares.append(share)
        return norm(x, self.out_norm), sum(balances) / s.n_layer, torch.stack(shares)

    def loss(self, ids, targets, places, groups):
        h, balance, _ = self.hidden(ids, places, groups)
        kept = (targets >= 0).nonzero()[:, 0]
        return F.cross_entropy(h.index_select(0, kept) @ self.embed.T, targets[kept]), balance
