"""`jobs/kvfreeze benchmark --whole-job`: documents an hour, start-up included, against a plain loop.

Both sides read the same prompts, token by token, and write as many tokens for each: kvfreeze runs once
before, uncounted, and its output lengths are what the loop writes. The clock runs from the start of the
process to its end. Rounds alternate. The loop is one process for all documents, its cache emptied before
each; it is measured with flash attention, without, or both, and then compared with the faster.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OURS = "kvfreeze summarize"
ATTENTIONS = {"on": ("flash",), "off": ("plain",), "both": ("flash", "plain")}


def timed(command, label, log, environment=None):
    print(f"  {label} ...", file=sys.stderr, flush=True)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **(environment or {})})
    seconds = time.perf_counter() - start
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{label} failed with exit code {done.returncode}, see {log}:\n{done.stderr[-2000:]}")
    return seconds, done.stdout


def generations(output):
    """What a finished job wrote: by document, the prompt's hash and the tokens in and out, an end token included."""
    import duckdb

    rows = duckdb.sql(
        "select document_id, prompt_hash, prompt_tokens, generated_tokens + if(finish_reason = 'stop', 1, 0)"
        f" from '{output}/generations/*.parquet' where status = 'ok'"
    )
    return {row[0]: row[1:] for row in rows.fetchall()}


def looped(output):
    """The same of the loop."""
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return {r["document_id"]: (r["prompt_hash"], r["prompt_tokens"], len(r["generated_token_ids"])) for r in rows}


def require_same_prompts(ours, theirs, side):
    """Stops unless both sides read the same documents as the same tokens."""
    if ours.keys() != theirs.keys():
        sys.exit(f"{side} and kvfreeze read other documents: {sorted(ours.keys() ^ theirs.keys())}")
    for document, (prompt_hash, tokens, _) in ours.items():
        if theirs[document][0] != prompt_hash:
            sys.exit(
                f"{document}: {side} reads another prompt, of {theirs[document][1]} tokens where kvfreeze has {tokens}; "
                "a comparison would be unfair"
            )


def input_folder(source, documents, work):
    """The folder of text files, or one with the first few of it by name."""
    files = sorted(pathlib.Path(source).glob("*.txt"))
    if not files:
        sys.exit(f"{source}: --whole-job needs a folder with .txt files")
    if not documents or documents >= len(files):
        return pathlib.Path(source).resolve()
    folder = work / "input"
    folder.mkdir()
    for file in files[:documents]:
        shutil.copy(file, folder)
    return folder


class WholeJob:
    """The two sides' commands and their results, round by round."""

    def __init__(self, arguments, model):
        self.arguments, self.model = arguments, model
        self.work = ROOT / "target" / "whole-job"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.input = input_folder(arguments.text, arguments.documents, self.work)
        self.lengths = self.work / "lengths.json"
        self.environment = {}
        java = arguments.java[0] if arguments.java else None
        if java and (found := shutil.which(java)):
            self.environment["JAVA_HOME"] = str(pathlib.Path(found).resolve().parent.parent)

    def summarize(self, number):
        """Seconds of our job and what it wrote."""
        output = self.work / f"output-{number}"
        command = ["jobs/kvfreeze", "summarize", "--input", str(self.input), "--output", str(output)]
        command += ["--model", self.model, "--max-new-tokens", str(self.arguments.max_new_tokens)]
        command += ["--policy", self.arguments.policies, "--threads", str(self.arguments.threads)]
        command += ["--jar", str(self.arguments.jar)] if self.arguments.jar else []
        label = OURS if number else f"{OURS}, for the lengths"
        seconds, _ = timed(command, label, self.work / f"kvfreeze-{number}.log", self.environment)
        return seconds, generations(output), {}

    def loop(self, number, attention):
        """The same of the loop, with what it says of itself."""
        output = self.work / f"loop-{attention}-{number}.jsonl"
        command = [self.arguments.peer_python, "jobs/peers/llama_cpp_loop.py", "--model", self.model]
        command += ["--input", str(self.input), "--output", str(output), "--lengths", str(self.lengths)]
        command += ["--max-new-tokens", str(self.arguments.max_new_tokens), "--threads", str(self.arguments.threads)]
        command += ["--flash-attention", "on" if attention == "flash" else "off"]
        label = f"llama-cpp-python loop, {attention}"
        seconds, printed = timed(command, label, self.work / f"loop-{attention}-{number}.log")
        return seconds, looped(output), json.loads(printed.splitlines()[-1])

    def measure(self, common, busy_share):
        """A record for each side and round."""
        _, reference, _ = self.summarize(0)
        self.lengths.write_text(json.dumps({document: row[2] for document, row in reference.items()}), encoding="utf-8")
        sides = [
            (f"llama-cpp-python loop, {attention}", lambda number, attention=attention: self.loop(number, attention))
            for attention in ATTENTIONS[self.arguments.flash_attention]
        ] + [(OURS, self.summarize)]
        for number in range(1, self.arguments.rounds + 1):
            print(f"whole job, round {number} of {self.arguments.rounds}", file=sys.stderr, flush=True)
            busy = round(busy_share(), 3)
            for side, run in sides if number % 2 else reversed(sides):
                seconds, documents, about = run(number)
                require_same_prompts(reference, documents, side)
                yield {
                    **common,
                    "whole_job": side,
                    "round": number,
                    "busy": busy,
                    "seconds": round(seconds, 2),
                    "documents": len(documents),
                    "prompt_tokens": sum(row[1] for row in documents.values()),
                    "generated_tokens": sum(row[2] for row in documents.values()),
                    "version": about.get("version"),
                    "build": about.get("build"),
                }


def by_side(records):
    sides = {}
    for record in records:
        sides.setdefault(record["whole_job"], []).append(record)
    return sides


def median_seconds(rows):
    return statistics.median(r["seconds"] for r in rows)


def report(records):
    """Markdown for the records of one command."""
    first, sides = records[0], by_side(records)
    peers = [side for side in sides if side != OURS]
    rounds = len({r["round"] for r in records})
    builds = sorted({f"{r['version']}: {r['build']}" for r in records if r["build"]})
    lines = [
        f"## Whole job: {first['model']}, policy {first['policy']}",
        "",
        f"Machine: {first['machine']}. Date: {first['time'][:10]}. {first['threads']} threads, {rounds} rounds, in each a fresh process of "
        f"every side in turn, from its start to its end. Other programs used at most {max(r['busy'] for r in records):.0%} of the "
        "processors before a round. All sides read the same prompt tokens (compared by hash).",
        "",
        f"Peer: {'; '.join(builds)}",
        "",
        f"Command: `{first['command']}`",
        "",
        "| start-up included | tokens read | tokens written | seconds, median (range) | documents an hour |",
        "|---|---|---|---|---|",
    ]
    for side, rows in sides.items():
        seconds = [r["seconds"] for r in rows]
        written = sorted({r["generated_tokens"] for r in rows})
        lines.append(
            f"| {side} | {rows[0]['prompt_tokens']:,} | {' to '.join(f'{n:,}' for n in dict.fromkeys((written[0], written[-1])))} "
            f"| {median_seconds(rows):.1f} ({min(seconds):.1f} to {max(seconds):.1f}) "
            f"| {rows[0]['documents'] * 3600 / median_seconds(rows):.0f} |"
        )
    faster = min(peers, key=lambda side: median_seconds(sides[side]))
    theirs = {r["round"]: r["seconds"] for r in sides[faster]}
    ratios = [theirs[r["round"]] / r["seconds"] for r in sides.get(OURS, []) if r["round"] in theirs]
    if ratios:
        lines.append(f"| {OURS} / {faster} | | | **{statistics.median(ratios):.2f}x** ({min(ratios):.2f} to {max(ratios):.2f}), bar 1.5 | |")
    return "\n".join(lines) + "\n"
