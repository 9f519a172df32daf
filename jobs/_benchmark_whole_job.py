"""`jobs/kvfreeze benchmark --whole-job`: documents an hour, start-up included, against a plain loop.

Both sides read the same files with the same prompt and write as many tokens for each: kvfreeze runs
once before, uncounted, and its output lengths are what the loop writes. The clock runs from the start
of the process to its end. Rounds alternate.
"""

import json

import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def timed(command, label, log):
    print(f"  {label} ...", file=sys.stderr, flush=True)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    seconds = time.perf_counter() - start
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{label} failed with exit code {done.returncode}, see {log}:\n{done.stderr[-2000:]}")
    return seconds


def generated_tokens(output):
    """Tokens that a finished job wrote, by document."""
    import duckdb

    rows = duckdb.sql(f"select document_id, generated_tokens from '{output}/generations/*.parquet' where status = 'ok'")
    return dict(rows.fetchall())


def measure(arguments, model, input_folder, new_tokens, attention):
    """Seconds of each side by round, and the number of documents."""
    work = ROOT / "target" / "whole-job"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lengths = work / "lengths.json"

    def job(number):
        command = ["jobs/kvfreeze", "summarize", "--input", str(input_folder), "--output", str(work / f"output-{number}")]
        command += ["--model", model, "--max-new-tokens", str(new_tokens), "--policy", arguments.policies.split(",")[0]]
        return command + ["--set", f"engine.threads={arguments.threads}"]

    timed(job(0), "kvfreeze summarize, for the lengths", work / "kvfreeze-0.log")
    generated = generated_tokens(work / "output-0")
    lengths.write_text(json.dumps(generated), encoding="utf-8")
    seconds = {"llama-cpp-python loop": [], "kvfreeze summarize": []}
    for number in range(1, arguments.rounds + 1):
        print(f"whole job, round {number} of {arguments.rounds}", file=sys.stderr, flush=True)
        loop = [arguments.peer_python, "jobs/peers/llama_cpp_loop.py", "--model", model, "--input", str(input_folder)]
        loop += ["--max-new-tokens", str(new_tokens), "--threads", str(arguments.threads), "--lengths", str(lengths)]
        loop += ["--flash-attention", attention, "--output", str(work / f"loop-{number}.jsonl")]
        sides = [("llama-cpp-python loop", loop), ("kvfreeze summarize", job(number))]
        for name, command in sides if number % 2 else reversed(sides):
            seconds[name].append(timed(command, name, work / f"{name.split()[0]}-{number}.log"))
    return seconds, len(generated)


def report(seconds, documents, command):
    lines = [f"Command: `{command}`", "", "| whole job, start-up included | seconds, median (range) | documents an hour |", "|---|---|---|"]
    for name, values in seconds.items():
        median = statistics.median(values)
        hour = documents * 3600 / median
        lines.append(f"| {name} | {median:.1f} ({min(values):.1f} to {max(values):.1f}) | {hour:.0f} |")
    ratios = [a / b for a, b in zip(seconds["llama-cpp-python loop"], seconds["kvfreeze summarize"])]
    lines.append(f"| ratio | **{statistics.median(ratios):.2f}x** ({min(ratios):.2f} to {max(ratios):.2f}) | |")
    return "\n".join(lines)
