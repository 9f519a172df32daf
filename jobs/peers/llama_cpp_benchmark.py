#!/usr/bin/env python3
"""Measures llama.cpp on a model file: load time, prefill and decode in tokens a second.

Prints one line of JSON. Each context length is measured with flash attention off and on; `prefill`
and `decode` have the faster of the two, `by_attention` both. `jobs/kvfreeze benchmark` runs this in
turn with the same measurement of kvfreeze.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

from llama_cpp_session import Session, description


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--text", required=True, help="text file that the prompts are cut from")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--contexts", default="128,2048,8128", help="prompt lengths in tokens")
    parser.add_argument("--decode-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="of each context; the median counts")
    return parser.parse_args()


def measure(session, prompt, decode_tokens, repeats):
    """Tokens a second of prefill and decode, each the median of the repeats."""
    prefill, decode = [], []
    for _ in range(repeats):
        seconds, token = session.prefill(prompt)
        prefill.append(len(prompt) / seconds)
        # The token that prefill gives is the first of the decode_tokens, as on the other side.
        seconds, tokens = session.decode(token, decode_tokens - 1)
        decode.append(len(tokens) / seconds)
    return round(statistics.median(prefill), 1), round(statistics.median(decode), 1)


def main():
    arguments = parse_arguments()
    contexts = [int(c) for c in arguments.contexts.split(",")]
    room = max(contexts) + arguments.decode_tokens
    start = time.perf_counter()
    with Session(arguments.model, arguments.threads, room) as session:
        session.open_context(flash_attention=False)
        load_ms = (time.perf_counter() - start) * 1000
        tokens = session.tokenize(pathlib.Path(arguments.text).read_text(encoding="utf-8"))
        if len(tokens) < max(contexts):
            raise SystemExit(f"{arguments.text} has {len(tokens)} tokens, {max(contexts)} are needed")
        by_attention = {}
        for name in ("plain", "flash"):
            session.open_context(flash_attention=name == "flash")
            measure(session, tokens[:64], 32, 2)  # Warms caches and threads.
            rates = {c: measure(session, tokens[:c], arguments.decode_tokens, arguments.repeats) for c in contexts}
            by_attention[name] = {
                "prefill": {str(c): rates[c][0] for c in contexts},
                "decode": {str(c): rates[c][1] for c in contexts},
            }
    result = {**description(), "model": pathlib.Path(arguments.model).stem, "threads": arguments.threads}
    result["load_ms"] = round(load_ms, 1)
    for part in ("prefill", "decode"):
        result[part] = {str(c): max(r[part][str(c)] for r in by_attention.values()) for c in contexts}
    result["by_attention"] = by_attention
    print(json.dumps(result))


if __name__ == "__main__":
    main()
