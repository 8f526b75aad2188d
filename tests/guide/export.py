#!/usr/bin/env python3
"""Writes a checkpoint of train.py as a GGUF file: export.py WORK_DIR GUIDE.gguf

Matrices in q8_0, norms and the router in f32. The file says what it was trained on (guide.entries: "id<TAB>answer" of
each table entry), so that tests can tell what it does not know yet. Takes the running mean of the weights.
"""
import os
import sys

import numpy
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guide_gguf as gguf
import guide_tokens
from guide_model import CONTEXT, EPS, ROPE_BASE, Shape
from tokenizers import Tokenizer

# A system message is passed over: the guide was never shown one.
TEMPLATE = ("{%- for message in messages %}{%- if message['role'] != 'system' %}{{- '<|im_start|>' + message['role'] + '\\n' "
            "+ message['content'] + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}")


def q8_0(matrix):
    """Blocks of 32: the scale max/127 as f16, then 32 int8."""
    blocks = matrix.reshape(-1, 32).astype(numpy.float32)
    scale = numpy.abs(blocks).max(1) / 127
    inverse = numpy.where(scale > 0, 1 / numpy.where(scale > 0, scale, 1), 0)
    out = numpy.zeros(len(blocks), dtype=[("d", "<f2"), ("q", "i1", 32)])
    out["d"] = scale
    out["q"] = numpy.rint(blocks * inverse[:, None])
    return out.tobytes()


def tensors_of(weights, shape):
    def row(name, key, kind):
        matrix = weights[key].float().numpy()
        data = q8_0(matrix) if kind == gguf.TYPE_Q8_0 else matrix.astype("<f4").tobytes()
        return name, list(matrix.shape[::-1]), kind, data

    f32, q8 = gguf.TYPE_F32, gguf.TYPE_Q8_0
    rows = [row("token_embd.weight", "embed", q8), row("output_norm.weight", "out_norm", f32)]
    for i in range(shape["n_layer"]):
        for name, key, kind in [("attn_norm", "attn_norm", f32), ("attn_q", "q", q8), ("attn_k", "k", q8), ("attn_v", "v", q8),
                                ("attn_q_norm", "q_norm", f32), ("attn_k_norm", "k_norm", f32), ("attn_output", "o", q8),
                                ("ffn_norm", "ffn_norm", f32), ("ffn_gate_inp", "router", f32), ("ffn_gate_exps", "gate", q8),
                                ("ffn_up_exps", "up", q8), ("ffn_down_exps", "down", q8)]:
            rows.append(row(f"blk.{i}.{name}.weight", f"layers.{i}.{key}", kind))
    return rows


def vocabulary(tokenizer):
    ids = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    import json
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    kinds = [3 if name in guide_tokens.SPECIAL else 1 for name, _ in ids]
    return [name for name, _ in ids], kinds, [m if isinstance(m, str) else " ".join(m) for m in merges]


def metadata_of(saved, tokenizer):
    s = saved["shape"]
    names, kinds, merges = vocabulary(tokenizer)
    special = {name: tokenizer.token_to_id(name) for name in guide_tokens.SPECIAL}
    u32, f32, string = gguf.U32, gguf.F32, gguf.STRING
    arch = [("block_count", u32, s["n_layer"]), ("context_length", u32, CONTEXT), ("embedding_length", u32, s["n_embd"]),
            ("feed_forward_length", u32, s["n_ff"]), ("attention.head_count", u32, s["n_head"]),
            ("attention.head_count_kv", u32, s["n_kv_head"]), ("attention.key_length", u32, s["head_dim"]),
            ("attention.value_length", u32, s["head_dim"]), ("attention.layer_norm_rms_epsilon", f32, EPS),
            ("rope.freq_base", f32, ROPE_BASE), ("expert_count", u32, s["n_expert"]), ("expert_used_count", u32, s["n_used"]),
            ("expert_feed_forward_length", u32, s["n_ff"])]
    return [("general.architecture", string, "qwen3moe"), ("general.name", string, "ferrum guide"),
            ("general.description", string, "The built-in guide of ferrum-chat: answers questions about the program"),
            ("general.license", string, "mit"), ("general.file_type", u32, 7), ("general.quantization_version", u32, 2),
            ("general.sampling.temp", f32, 0.0)] + [("qwen3moe." + key, kind, v) for key, kind, v in arch] + [
            ("tokenizer.ggml.model", string, "gpt2"), ("tokenizer.ggml.pre", string, "qwen2"),
            ("tokenizer.ggml.tokens", gguf.ARRAY, (string, names)), ("tokenizer.ggml.token_type", gguf.ARRAY, (5, kinds)),
            ("tokenizer.ggml.merges", gguf.ARRAY, (string, merges)),
            ("tokenizer.ggml.eos_token_id", u32, special["<|im_end|>"]),
            ("tokenizer.ggml.padding_token_id", u32, special["<|endoftext|>"]),
            ("tokenizer.ggml.add_bos_token", gguf.BOOL, False), ("tokenizer.chat_template", string, TEMPLATE),
            ("guide.entries", gguf.ARRAY, (string, saved["entries"])), ("guide.steps", u32, saved["step"]),
            ("guide.seed", u32, saved["seed"])]


def main():
    work, out = sys.argv[1:]
    saved = torch.load(os.path.join(work, "checkpoint.pt"))
    tokenizer = Tokenizer.from_file(os.path.join(work, "tokenizer.json"))
    gguf.write(out, metadata_of(saved, tokenizer), tensors_of(saved["mean"], saved["shape"]))
    print(f"{out}: {os.path.getsize(out)} bytes, step {saved['step']}")


if __name__ == "__main__":
    main()
