"""Writes what llama.cpp says: prompt tokens, greedy continuations with their top-2 gaps, perplexity.

    python llama_cpp_reference.py MODEL.gguf

Needs llama-cpp-python (its version is stored with the data).
"""

import datetime
import hashlib
import json
import math
import pathlib
import sys

import llama_cpp
import numpy as np

import reference_prompts

GREEDY_TOKENS = 48
THOUSAND = 1000
PERPLEXITY_TOKENS = 2000


def log_sum_exp(logits):
    top = logits.max()
    return float(top + np.log(np.exp(logits.astype(np.float64) - top).sum()))


def main():
    path = pathlib.Path(sys.argv[1])
    name = path.stem
    model = llama_cpp.Llama(
        str(path), n_ctx=2304, n_batch=512, n_threads=2, logits_all=True, verbose=False
    )
    bos = model.token_bos() if model._model.add_bos_token() else None
    data = {
        "reference": f"llama-cpp-python {llama_cpp.__version__}",
        "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "date": str(datetime.date.today()),
        "prompts": {},
    }
    tokens_by_prompt = {}
    for key, (text, special) in reference_prompts.prompts(name).items():
        tokens = model.tokenize(text.encode(), add_bos=False, special=special)
        if key == "thousand":
            tokens = tokens[: THOUSAND - (bos is not None)]
        if bos is not None:
            tokens = [bos] + tokens
        tokens_by_prompt[key] = tokens
        data["prompts"][key] = greedy(model, tokens)
        print(name, key, len(tokens), model.detokenize(data["prompts"][key]["tokens"])[:100])
    passage, _ = reference_prompts.prompts(name)["thousand"]
    tokens = model.tokenize(passage.encode(), add_bos=bos is not None, special=False)[:PERPLEXITY_TOKENS]
    tokens_by_prompt["perplexity"] = tokens
    data["perplexity"] = perplexity(model, tokens)
    print(name, "perplexity", data["perplexity"], "over", len(tokens) - 1)
    out = reference_prompts.REFERENCE
    (out / f"{name}.prompts.json").write_text(json.dumps(tokens_by_prompt))
    (out / f"{name}.llama_cpp.json").write_text(json.dumps(data, indent=1))


def greedy(model, prompt):
    model.reset()
    model.eval(prompt)
    tokens, gaps, seconds = [], [], []
    for _ in range(GREEDY_TOKENS):
        logits = model.scores[model.n_tokens - 1]
        second, first = np.argsort(logits)[-2:]
        tokens.append(int(first))
        seconds.append(int(second))
        gaps.append(round(float(logits[first] - logits[second]), 4))
        model.eval([int(first)])
    return {"tokens": tokens, "second_tokens": seconds, "gaps": gaps}


def perplexity(model, tokens):
    model.reset()
    model.eval(tokens)
    total = 0.0
    for i in range(len(tokens) - 1):
        logits = model.scores[i]
        total += log_sum_exp(logits) - float(logits[tokens[i + 1]])
    return math.exp(total / (len(tokens) - 1))


if __name__ == "__main__":
    main()
