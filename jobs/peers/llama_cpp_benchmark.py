#!/usr/bin/env python3
"""Measures llama.cpp on a model file: load time, prefill and decode in tokens a second.

Prints one line of JSON with the rates of each attention kernel by context length. `jobs/kvfreeze
benchmark` runs this in turn with the same measurement of kvfreeze.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

from llama_cpp_library import open_library
from llama_cpp_session import Session

# A short measurement is repeated until it has run this long, on both sides.
LEAST_SECONDS = 2
MOST_REPEATS = 10


def lengths(text):
    return [int(c) for c in text.split(",") if c]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--text", required=True, help="text file that the prompts are cut from")
    parser.add_argument("--node-package", help="folder of npm's @node-llama-cpp/linux-x64, to measure its build")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--contexts", type=lengths, default=[128, 2048, 7936], help="prompt lengths in tokens")
    parser.add_argument("--prefill-contexts", type=lengths, default=[], help="more of them, of which prefill alone counts")
    parser.add_argument("--attention", default="plain,flash", help="kernels of attention: plain, flash or both")
    parser.add_argument("--decode-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="of each context, at least; the median counts")
    parser.add_argument("--batch", type=int, default=1, help="sequences at a time; rates are those of all together")
    return parser.parse_args()


def measure(session, prompt, decode_tokens, repeats, least_seconds=LEAST_SECONDS):
    """Tokens a second of prefill and decode, each the median of the repeats."""
    prefill, decode = [], []
    begin = time.perf_counter()
    while len(prefill) < repeats or (time.perf_counter() - begin < least_seconds and len(prefill) < MOST_REPEATS):
        read = [session.prefill(prompt, sequence) for sequence in range(session.sequences)]
        prefill.append(len(prompt) * len(read) / sum(seconds for seconds, _ in read))
        # The token that prefill gives is the first of the decode_tokens, as on the other side.
        steps = decode_tokens - 1
        if steps < 1:
            continue
        if session.sequences == 1:
            seconds, _ = session.decode(read[0][1], steps)
        else:
            seconds = session.decode_together([token for _, token in read], len(prompt), steps)
        decode.append(steps * len(read) / seconds)
    return [round(statistics.median(rates), 1) if rates else None for rates in (prefill, decode)]


def main():
    arguments = parse_arguments()
    contexts = {**dict.fromkeys(arguments.prefill_contexts, 1), **dict.fromkeys(arguments.contexts, arguments.decode_tokens)}
    room = max(context + count for context, count in contexts.items())
    room += -room % 256  # llama.cpp rounds a sequence's share of the context up to that.
    start = time.perf_counter()
    library = open_library(arguments.node_package)
    with Session(arguments.model, arguments.threads, room, sequences=arguments.batch, library=library) as session:
        session.open_context(flash_attention=False)
        result = {**session.description(), "model": pathlib.Path(arguments.model).stem, "threads": arguments.threads}
        result |= {"batch": arguments.batch, "load_ms": round((time.perf_counter() - start) * 1000, 1)}
        tokens = session.tokenize(pathlib.Path(arguments.text).read_text(encoding="utf-8"))
        if len(tokens) < max(contexts):
            raise SystemExit(f"{arguments.text} has {len(tokens)} tokens, {max(contexts)} are needed")
        result["by_attention"] = {}
        for name in arguments.attention.split(","):
            session.open_context(flash_attention=name == "flash")
            measure(session, tokens[:64], 32, 2, 0)  # Warms caches and threads.
            rates = {c: measure(session, tokens[:c], contexts[c], arguments.repeats) for c in sorted(contexts)}
            result["by_attention"][name] = {
                "prefill": {str(c): rates[c][0] for c in rates},
                "decode": {str(c): rates[c][1] for c in rates if rates[c][1]},
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
