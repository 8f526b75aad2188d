"""The guide's network in PyTorch: the arithmetic of qwen3moe (engine/model_qwen3moe.c), small.

Shapes: x [rows, tokens, n_embd]. Weights are [out, in], stacks of experts [expert, out, in], as in GGUF.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


class Shape:
    def __init__(self, n_vocab, n_embd=256, n_layer=4, n_head=4, n_kv_head=2, head_dim=64, n_expert=10, n_used=2, n_ff=128):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})


EPS, ROPE_BASE, CONTEXT = 1e-6, 10000.0, 2048


def rotate(x, cos, sin):
    """Rotates pairs (i, i + half), as "neox" does. x [rows, heads, tokens, dim]"""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


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

    def attend(self, x, cos, sin, mask):
        s, (n_rows, n, _) = self.s, x.shape
        h = F.rms_norm(x, (s.n_embd,), self.attn_norm, EPS)
        q = (h @ self.q.T).view(n_rows, n, s.n_head, s.head_dim).transpose(1, 2)
        k = (h @ self.k.T).view(n_rows, n, s.n_kv_head, s.head_dim).transpose(1, 2)
        v = (h @ self.v.T).view(n_rows, n, s.n_kv_head, s.head_dim).transpose(1, 2)
        q = rotate(F.rms_norm(q, (s.head_dim,), self.q_norm, EPS), cos, sin)
        k = rotate(F.rms_norm(k, (s.head_dim,), self.k_norm, EPS), cos, sin)
        group = s.n_head // s.n_kv_head
        out = F.scaled_dot_product_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), attn_mask=mask)
        return x + out.transpose(1, 2).reshape(n_rows, n, -1) @ self.o.T

    def experts(self, x):
        """Returns x with the experts' sum added, and how uneven they are used (1: evenly)."""
        s, flat = self.s, F.rms_norm(x, (self.s.n_embd,), self.ffn_norm, EPS).reshape(-1, self.s.n_embd)
        probabilities = F.softmax(flat @ self.router.T, -1)
        weights, chosen = probabilities.topk(s.n_used, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        share = F.one_hot(chosen, s.n_expert).sum(1).float().mean(0) / s.n_used
        balance = s.n_expert * (share * probabilities.mean(0)).sum()
        # Pairs (token, slot) in the order of their experts, so that each expert reads its tokens at once.
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=s.n_expert).tolist()
        parts = flat[order // s.n_used].split(counts)
        parts = [(F.silu(h @ self.gate[e].T) * (h @ self.up[e].T)) @ self.down[e].T for e, h in enumerate(parts)]
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        out = (torch.cat(parts)[back].view(-1, s.n_used, s.n_embd) * weights[..., None]).sum(1)
        return x + out.view_as(x), balance, share


class Guide(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.embed = nn.Parameter(torch.randn(s.n_vocab, s.n_embd) * 0.05)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.n_layer))
        self.out_norm = nn.Parameter(torch.ones(s.n_embd))

    def hidden(self, ids, chats, places):
        s, n = self.s, ids.shape[1]
        angles = places[:, None, :, None] * ROPE_BASE ** (-torch.arange(0, s.head_dim, 2) / s.head_dim)
        cos, sin = angles.cos(), angles.sin()
        mask = (chats[:, None, :, None] == chats[:, None, None, :]) & torch.ones(n, n, dtype=torch.bool).tril()
        x, balances, shares = self.embed[ids], [], []
        for layer in self.layers:
            x, balance, share = layer.experts(layer.attend(x, cos, sin, mask))
            balances.append(balance)
            shares.append(share)
        return F.rms_norm(x, (s.n_embd,), self.out_norm, EPS), sum(balances) / s.n_layer, torch.stack(shares)

    def loss(self, ids, targets, chats, places):
        h, balance, _ = self.hidden(ids, chats, places)
        kept = targets >= 0  # the head is computed where there is a loss only
        return F.cross_entropy(h[kept] @ self.embed.T, targets[kept]), balance
