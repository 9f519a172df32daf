#!/usr/bin/env python3
"""What a user would write without kvfreeze: llama.cpp in a Python loop, one document after another.

Same prompt, chat template and cut as `jobs/kvfreeze summarize`. Prints a line a document and, last,
one line of JSON with the documents an hour; model load is not counted, and given apart.
"""

import argparse
import hashlib
import json
import math
import os
import pathlib
import struct
import sys
import time

from llama_cpp_session import Session

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MARK = "\ue000document\ue001"
# A cut may give up this part of a document for a paragraph's or sentence's end.
TIDY_SHARE = 0.05


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--input", required=True, help="text file, or folder of .txt files")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--context", type=int, default=0, help="tokens; 0 for the model's own limit")
    parser.add_argument("--prompt", default=ROOT / "conf/prompts/summary.txt", help="prompt file, as in conf/prompts")
    parser.add_argument("--flash-attention", choices=("on", "off"), default="on")
    parser.add_argument("--ignore-end", action="store_true", help="always generate --max-new-tokens tokens")
    parser.add_argument("--lengths", help="JSON file with the tokens to generate by document, whatever they are")
    parser.add_argument("--output", help="file for the generations, a line of JSON each")
    return parser.parse_args()


def read_prompt(path):
    """The system message and what is asked: an optional part after [system], and one after [user]."""
    text, system = pathlib.Path(path).read_text(encoding="utf-8").strip(), ""
    if text.startswith("[system]"):
        system, text = text.removeprefix("[system]").split("\n[user]", 1)
    user = text.removeprefix("[user]").strip()
    if user.count("{document}") != 1:
        raise SystemExit(f"{path}: it must have {{document}} once, where the text goes")
    return system.strip(), user


def tidy(text):
    """Ends at a paragraph, else at a sentence, where one ends near the end."""
    least = math.ceil(len(text) * (1 - TIDY_SHARE))
    paragraph = text.rfind("\n\n")
    if paragraph >= max(least, 1):
        return text[:paragraph]
    for end in range(len(text), max(least, 1), -1):
        narrow = text[end - 1] in ".!?" and text[end : end + 1].isspace()
        if narrow or text[end - 1] in "\u3002\uff01\uff1f":
            return text[:end]
    return text


class Prompt:
    """The chat template and the prompt around a document, cut where `jobs/kvfreeze summarize` cuts it."""

    def __init__(self, session, prompt_file, limit):
        self.session, self.limit = session, limit
        system, self.user = read_prompt(prompt_file)
        messages = [{"role": "system", "content": system}] if system else []
        # Some templates strip white space around a message.
        padded = session.chat_prompt(messages + [{"role": "user", "content": f" {MARK} "}])
        self.strips = padded is not None and f" {MARK} " not in padded
        self.rendered = MARK if padded is None else padded.replace(f" {MARK} ", MARK)

    def encode(self, document):
        content = self.user.replace("{document}", document)
        text = self.rendered.replace(MARK, content.strip() if self.strips else content)
        tokens, begin = self.session.tokenize(text, parse_special=True), self.session.begin_tokens()
        return tokens if tokens[:1] == begin else begin + tokens

    def build(self, document):
        tokens = self.encode(document)
        if len(tokens) <= self.limit:
            return tokens
        budget = self.limit - len(self.encode(""))
        if budget < 1:
            raise SystemExit(f"the prompt without a document leaves no room in {self.limit} tokens")
        parts = self.session.tokenize(document)
        keep = min(budget, len(parts) - 1)
        while True:
            size = sum(len(self.session.piece(token)) for token in parts[:keep])
            kept = document.encode("utf-8")[:size].decode("utf-8", "ignore")
            tokens = self.encode(tidy(kept))
            if len(tokens) <= self.limit or keep == 0:
                return tokens
            keep = max(0, keep - (len(tokens) - self.limit))


def prompt_hash(tokens):
    """SHA-256 of token ids, as in the column of that name in `generations`."""
    return hashlib.sha256(struct.pack(f"<{len(tokens)}i", *tokens)).hexdigest()


def main():
    arguments = parse_arguments()
    source = pathlib.Path(arguments.input)
    files = [source] if source.is_file() else sorted(source.glob("*.txt"))
    if not files:
        raise SystemExit(f"{source}: there is no .txt file in it")
    output = open(arguments.output, "w", encoding="utf-8") if arguments.output else None
    start = time.perf_counter()
    with Session(arguments.model, arguments.threads, arguments.context) as session:
        session.open_context(arguments.flash_attention == "on")
        description = session.description()
        load_ms = (time.perf_counter() - start) * 1000
        prompt = Prompt(session, arguments.prompt, session.context_tokens - arguments.max_new_tokens)
        totals = {"prompt_tokens": 0, "generated_tokens": 0, "prefill_ms": 0.0, "decode_ms": 0.0}
        start = time.perf_counter()
        lengths = json.loads(pathlib.Path(arguments.lengths).read_text()) if arguments.lengths else {}
        for file in files:
            forced = lengths.get(file.stem, lengths.get(file.name))
            count = forced or arguments.max_new_tokens
            tokens = prompt.build(file.read_text(encoding="utf-8"))
            prefill, first = session.prefill(tokens)
            decode, rest = session.decode(first, count - 1, not (arguments.ignore_end or forced))
            generated = [first, *rest]
            totals["prompt_tokens"] += len(tokens)
            totals["generated_tokens"] += len(generated)
            totals["prefill_ms"] += prefill * 1000
            totals["decode_ms"] += decode * 1000
            print(f"{file.name}: {len(tokens)} tokens in, {len(generated)} out, {prefill + decode:.1f} s", file=sys.stderr)
            if output:
                row = {"document_id": file.name, "text": session.text(generated), "generated_token_ids": generated}
                row |= {"prompt_tokens": len(tokens), "prompt_hash": prompt_hash(tokens)}
                output.write(json.dumps(row, ensure_ascii=False) + "\n")
        seconds = time.perf_counter() - start
    if output:
        output.close()
    result = {**description, "model": pathlib.Path(arguments.model).stem, "threads": arguments.threads}
    result |= {"documents": len(files), "seconds": round(seconds, 2), "load_ms": round(load_ms, 1)}
    result |= {key: round(value, 1) for key, value in totals.items()}
    result["documents_per_hour"] = round(len(files) * 3600 / seconds, 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
