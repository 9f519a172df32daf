#!/usr/bin/env python3
"""Measures kvfreeze against llama.cpp on the same model file, in turn, in fresh processes.

Started by `jobs/kvfreeze benchmark`. Every round runs each side once, one after the other, so that
a change of the machine's speed meets both. Prints the table and, with --write, saves it.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
JVM_OPTIONS = ["--add-modules", "jdk.incubator.vector", "-XX:+UseTransparentHugePages", "-Xmx6g"]
# Above this share of the processors used by others, a comparison is unfair.
MOST_BUSY = 0.1


def parse_arguments():
    parser = argparse.ArgumentParser(prog="jobs/kvfreeze benchmark", description=__doc__)
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--text", default=ROOT / "jobs/samples", help="text file or folder to cut prompts from")
    parser.add_argument("--contexts", default="128,512,2048,7936", help="prompt lengths in tokens")
    parser.add_argument("--decode-tokens", type=int, default=256)
    parser.add_argument("--warm-up-seconds", type=float, default=6, help="before ours is measured (JIT compilation)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each side")
    parser.add_argument("--repeats", type=int, default=3, help="measurements a process and context")
    parser.add_argument("--policies", default="full", help="policies to measure, separated by commas")
    parser.add_argument("--batch", type=int, default=1, help="documents at a time (ours only)")
    parser.add_argument("--java", action="append", help="java executable; may be given several times")
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("KVFREEZE_PEER_PYTHON") or sys.executable,
        help="Python that has llama-cpp-python 0.3.36 (default: $KVFREEZE_PEER_PYTHON, else this one)",
    )
    parser.add_argument("--no-peer", action="store_true", help="leave llama.cpp out")
    parser.add_argument("--jar", default=None)
    parser.add_argument("--write", help="file for the table, for example docs/benchmarks/cpu.md")
    return parser.parse_args()


def prompt_text(source):
    source = pathlib.Path(source)
    files = [source] if source.is_file() else sorted(source.glob("*.txt"), key=lambda f: -f.stat().st_size)
    target = ROOT / "target" / "benchmark-text.txt"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n\n".join(f.read_text(encoding="utf-8") for f in files[:2])[:120_000], encoding="utf-8")
    return target


def jar(arguments):
    if arguments.jar:
        return arguments.jar
    jars = sorted(
        f for f in (ROOT / "target").glob("kvfreeze-*.jar") if "original" not in f.name and "sources" not in f.name
    )
    if not jars:
        sys.exit("no jar in target/; run: mvn -B -DskipTests package")
    return jars[-1]


def run(command, label):
    print(f"  {label} ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"{label} failed with exit code {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(lines[-1])


def ours(arguments, java, policy, text):
    page_tokens = "1" if policy == "paper" else "16"
    return run(
        [java, *JVM_OPTIONS, "-cp", str(jar(arguments)), "dev.kvfreeze.benchmark.EngineBenchmark"]
        + ["--model", arguments.model, "--text", str(text), "--threads", str(arguments.threads)]
        + ["--policy", policy, "--page-tokens", page_tokens, "--contexts", arguments.contexts]
        + ["--decode-tokens", str(arguments.decode_tokens), "--repeats", str(arguments.repeats)]
        + ["--batch", str(arguments.batch), "--warm-up-seconds", str(arguments.warm_up_seconds)],
        f"kvfreeze {policy} ({java})",
    )


def peer(arguments, text):
    return run(
        [arguments.peer_python, "jobs/peers/llama_cpp_benchmark.py", "--model", arguments.model]
        + ["--text", str(text), "--threads", str(arguments.threads), "--contexts", arguments.contexts]
        + ["--decode-tokens", str(arguments.decode_tokens), "--repeats", str(arguments.repeats)],
        "llama.cpp",
    )


def cell(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def table(arguments, results):
    contexts = arguments.contexts.split(",")
    names = list(results)
    lines = ["| tokens/s, median (range) | load ms | " + " | ".join(
        [f"prefill {c}" for c in contexts] + [f"decode {c}" for c in contexts]) + " |"]
    lines.append("|---" * (2 + 2 * len(contexts)) + "|")
    for name in names:
        runs = results[name]
        cells = [cell([r["load_ms"] for r in runs])]
        cells += [cell([r["prefill"][c] for r in runs]) for c in contexts]
        cells += [cell([r["decode"][c] for r in runs]) for c in contexts]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if "llama.cpp" in results:
        base = results["llama.cpp"]
        for name in names:
            if name == "llama.cpp":
                continue
            ratios = [""]
            for part in ("prefill", "decode"):
                for c in contexts:
                    pairs = [a[part][c] / b[part][c] for a, b in zip(results[name], base)]
                    ratios.append(f"**{statistics.median(pairs):.2f}x**")
            lines.append(f"| {name} / llama.cpp | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def busy_share(seconds=2):
    """The share of the processors that others use just now, from 0 to 1."""

    def ticks():
        fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        values = [int(value) for value in fields]
        return sum(values), values[3] + values[4]

    total, idle = ticks()
    time.sleep(seconds)
    later_total, later_idle = ticks()
    return 1 - (later_idle - idle) / max(1, later_total - total)


def main():
    arguments = parse_arguments()
    if not pathlib.Path(arguments.model).is_file():
        sys.exit(f"there is no model file {arguments.model}; jobs/fetch-model fetches the default one")
    text = prompt_text(arguments.text)
    javas = arguments.java or ["java"]
    results = {}
    busiest = 0.0
    for round_number in range(1, arguments.rounds + 1):
        print(f"round {round_number} of {arguments.rounds}", file=sys.stderr, flush=True)
        busy = busy_share()
        busiest = max(busiest, busy)
        if busy > MOST_BUSY:
            print(
                f"  other programs use {busy:.0%} of the processors: llama.cpp's threads wait for each other by"
                " spinning and suffer most, so ratios mean nothing; end those programs",
                file=sys.stderr,
            )
        if not arguments.no_peer:
            results.setdefault("llama.cpp", []).append(peer(arguments, text))
        for java in javas:
            for policy in arguments.policies.split(","):
                result = ours(arguments, java, policy, text)
                results.setdefault(f"kvfreeze {policy}, Java {result['java']}", []).append(result)
    provider = next(r[0]["provider"] for n, r in results.items() if n != "llama.cpp")
    report = "\n".join(
        [
            f"Machine: {machine()}. Date: {datetime.date.today()}. Model: {pathlib.Path(arguments.model).name}.",
            f"{arguments.threads} threads, {arguments.rounds} fresh processes of each side in turn, "
            f"kernels {provider}, {arguments.batch} document(s) at a time. Other programs used at most "
            f"{busiest:.0%} of the processors before a round. A JVM generates for {arguments.warm_up_seconds:g} s before it "
            f"is measured; {arguments.decode_tokens} tokens are decoded a measurement.",
            "",
            "Command: `jobs/kvfreeze benchmark " + " ".join(sys.argv[1:]) + "`",
            "",
            table(arguments, results),
            "",
        ]
    )
    print(report)
    if arguments.write:
        pathlib.Path(arguments.write).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(arguments.write).write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
