"""A plain float32 forward pass in numpy over the dequantised weights of a GGUF file.

    python reference_forward.py MODEL.gguf

Written apart from the Java code, for llama and gemma3. Writes the logits at the last position of the
five prompts and the negative log-likelihoods of the perplexity text. Needs numpy and the package
gguf, whose dequantisation is used.
"""

import datetime
import hashlib
import json
import math
import pathlib
import sys

import gguf
import numpy as np

import reference_prompts

TOP = 64
SAMPLED = 512
SLIDING_EVERY = 6


class Model:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.tensors = {t.name: t for t in reader.tensors}
        self.cache = {}

        def field(key, default=None):
            found = reader.fields.get(key)
            return default if found is None else found.contents()

        self.arch = field("general.architecture")
        get = lambda key, default=None: field(f"{self.arch}.{key}", default)
        self.layers = get("block_count")
        self.hidden = get("embedding_length")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv")
        self.head = get("attention.key_length", self.hidden // self.heads)
        self.eps = get("attention.layer_norm_rms_epsilon")
        self.base = get("rope.freq_base", 10000.0)
        self.window = get("attention.sliding_window", 0) if self.arch == "gemma3" else 0

    def weight(self, name):
        if name not in self.cache:
            t = self.tensors[name]
            array = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            self.cache[name] = array.reshape([int(n) for n in reversed(t.shape)])
        return self.cache[name]

    def norm(self, x, name):
        scale = 1.0 / np.sqrt((x * x).mean(-1, keepdims=True, dtype=np.float32) + np.float32(self.eps))
        return x * scale.astype(np.float32) * self.weight(name)

    def rope(self, x, base):
        """x: [tokens, heads, head]."""
        half = self.head // 2
        angle = np.outer(np.arange(x.shape[0]), base ** (-np.arange(half) * 2.0 / self.head))
        cos = np.cos(angle).astype(np.float32)[:, None]
        sin = np.sin(angle).astype(np.float32)[:, None]
        out = np.empty_like(x)
        if self.arch == "llama":
            a, b = x[..., 0::2], x[..., 1::2]
            out[..., 0::2], out[..., 1::2] = a * cos - b * sin, a * sin + b * cos
        else:
            a, b = x[..., :half], x[..., half:]
            out[..., :half], out[..., half:] = a * cos - b * sin, a * sin + b * cos
        return out

    def attention(self, q, k, v, window):
        tokens = q.shape[0]
        position = np.arange(tokens)
        mask = position[None, :] > position[:, None]
        if window:
            mask |= position[None, :] <= position[:, None] - window
        out = np.empty_like(q)
        for h in range(self.heads):
            kv = h // (self.heads // self.kv_heads)
            scores = (q[:, h] @ k[:, kv].T) * np.float32(1 / math.sqrt(self.head))
            scores[mask] = -np.inf
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, h] = (scores / scores.sum(-1, keepdims=True)) @ v[:, kv]
        return out

    def forward(self, tokens):
        """Hidden states after the last norm, [tokens, hidden]."""
        gemma = self.arch == "gemma3"
        x = self.weight("token_embd.weight")[tokens]
        if gemma:
            x = x * np.float32(math.sqrt(self.hidden))
        n = len(tokens)
        for layer in range(self.layers):
            p = f"blk.{layer}."
            h = self.norm(x, p + "attn_norm.weight")
            q = (h @ self.weight(p + "attn_q.weight").T).reshape(n, self.heads, self.head)
            k = (h @ self.weight(p + "attn_k.weight").T).reshape(n, self.kv_heads, self.head)
            v = (h @ self.weight(p + "attn_v.weight").T).reshape(n, self.kv_heads, self.head)
            base, window = self.base, 0
            if gemma:
                q = self.norm(q, p + "attn_q_norm.weight")
                k = self.norm(k, p + "attn_k_norm.weight")
                if (layer + 1) % SLIDING_EVERY:
                    base, window = 10000.0, self.window
            a = self.attention(self.rope(q, base), self.rope(k, base), v, window)
            o = a.reshape(n, -1) @ self.weight(p + "attn_output.weight").T
            x = x + (self.norm(o, p + "post_attention_norm.weight") if gemma else o)
            h = self.norm(x, p + "ffn_norm.weight")
            gate = h @ self.weight(p + "ffn_gate.weight").T
            up = h @ self.weight(p + "ffn_up.weight").T
            if gemma:
                act = 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
            else:
                act = gate / (1 + np.exp(-gate))
            d = (act * up).astype(np.float32) @ self.weight(p + "ffn_down.weight").T
            x = x + (self.norm(d, p + "post_ffw_norm.weight") if gemma else d)
        return self.norm(x, "output_norm.weight")

    def logits(self, hidden):
        name = "output.weight" if "output.weight" in self.tensors else "token_embd.weight"
        return hidden @ self.weight(name).T


def main():
    path = pathlib.Path(sys.argv[1])
    model = Model(path)
    tokens_by_prompt = reference_prompts.load_tokens(path.stem)
    data = {
        "reference": f"numpy {np.__version__}, gguf dequantisation, float32",
        "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "date": str(datetime.date.today()),
        "prompts": {},
    }
    random = np.random.default_rng(20261123)
    for key, tokens in tokens_by_prompt.items():
        hidden = model.forward(np.array(tokens))
        if key == "perplexity":
            nll = []
            for i in range(0, len(tokens) - 1, 250):
                chunk = model.logits(hidden[i : min(i + 250, len(tokens) - 1)]).astype(np.float64)
                top = chunk.max(-1)
                lse = top + np.log(np.exp(chunk - top[:, None]).sum(-1))
                nll += [float(lse[j] - chunk[j, tokens[i + j + 1]]) for j in range(len(chunk))]
            data["perplexity"] = math.exp(sum(nll) / len(nll))
            data["negative_log_likelihood"] = [round(value, 5) for value in nll]
            print(path.stem, "perplexity", data["perplexity"])
            continue
        logits = model.logits(hidden[-1:])[0]
        ids = np.unique(
            np.concatenate([np.argsort(logits)[-TOP:], random.integers(0, len(logits), SAMPLED)])
        )
        data["prompts"][key] = {
            "ids": [int(i) for i in ids],
            "logits": [round(float(logits[i]), 5) for i in ids],
        }
        print(path.stem, key, len(tokens), int(logits.argmax()))
    out = reference_prompts.REFERENCE / f"{path.stem}.float32.json"
    out.write_text(json.dumps(data))


if __name__ == "__main__":
    main()
