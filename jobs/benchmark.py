#!/usr/bin/env python3
"""Measures kvfreeze against llama.cpp on the same model files, in turn, in fresh processes.

Started by `jobs/kvfreeze benchmark`. The peers are two builds of llama.cpp, with plain and with flash
attention; each figure is compared with the fastest. Every round runs each side once, so that a change
of the machine's speed meets all. Prints a table for each model; --json keeps every measurement as a
line, from which --report makes the tables again.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time

import _benchmark_report
import _benchmark_whole_job

ROOT = pathlib.Path(__file__).resolve().parent.parent
JVM_OPTIONS = ["--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-XX:+UseTransparentHugePages", "-Xmx6g"]
# Above this share of the processors used by others, a comparison is unfair.
MOST_BUSY = 0.1
SMOLLM2 = "~/.cache/kvfreeze/models/SmolLM2-135M-Instruct.Q4_1.gguf"


def lengths(text):
    return [int(c) for c in text.split(",") if c]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="jobs/kvfreeze benchmark", description=__doc__)
    parser.add_argument("--model", action="append", help=f"GGUF file; may be given several times (default: {SMOLLM2})")
    parser.add_argument("--text", default=ROOT / "jobs/samples", help="text file or folder to cut prompts from")
    parser.add_argument("--contexts", type=lengths, default=[128, 2048, 7936], help="prompt lengths in tokens")
    parser.add_argument("--prefill-contexts", type=lengths, default=[512], help="more of them, of which prefill alone counts")
    parser.add_argument("--decode-tokens", type=int, default=256)
    parser.add_argument("--warm-up-seconds", type=float, default=10, help="before ours is measured (JIT compilation)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each side")
    parser.add_argument("--repeats", type=int, default=1, help="measurements a process and context, at least; short ones are repeated for 2 s")
    parser.add_argument(
        "--policies", help="policies to measure, separated by commas (default: full; one, adaptive, of --whole-job)"
    )
    parser.add_argument("--batch", type=int, default=1, help="documents at a time, against as many parallel sequences of llama.cpp")
    parser.add_argument("--java", action="append", help="java executable; may be given several times")
    parser.add_argument(
        "--whole-job",
        action="store_true",
        help="documents an hour of summarize on --text, start-up included, against a plain loop of llama-cpp-python",
    )
    parser.add_argument("--max-new-tokens", type=int, default=128, help="of --whole-job")
    parser.add_argument("--documents", type=int, help="of --whole-job: the first so many files of --text (default: all)")
    parser.add_argument(
        "--flash-attention",
        choices=tuple(_benchmark_whole_job.ATTENTIONS),
        default="on",
        help="of --whole-job's loop; both: two loops a round, the faster is compared",
    )
    parser.add_argument("--profile", action="store_true", help="print where our time goes, too")
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("KVFREEZE_PEER_PYTHON"),
        help="Python that has llama-cpp-python 0.3.36 (default: $KVFREEZE_PEER_PYTHON)",
    )
    parser.add_argument(
        "--peer-node",
        default=os.environ.get("KVFREEZE_PEER_NODE"),
        help="folder of npm's @node-llama-cpp/linux-x64 3.22.1 (default: $KVFREEZE_PEER_NODE); needs --peer-python as well",
    )
    parser.add_argument("--no-peer", action="store_true", help="leave llama.cpp out")
    parser.add_argument(
        "--margin",
        type=float,
        default=0.15,
        help="a peer that is slower than the best by more at a length is not measured there again after the first round",
    )
    parser.add_argument("--jar", default=None)
    parser.add_argument("--json", help="file to which every measurement is appended as a line of JSON")
    parser.add_argument("--report", nargs="+", metavar="JSON", help="measure nothing, make the tables of these files")
    parser.add_argument("--write", help="file for the tables, for example docs/benchmarks/cpu.md")
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


def joined(numbers):
    return ",".join(map(str, numbers))


def ours(arguments, model, java, policy, text):
    page_tokens = "1" if policy == "paper" else "16"
    result = run(
        [java, *JVM_OPTIONS, "-cp", str(jar(arguments)), "dev.kvfreeze.benchmark.EngineBenchmark"]
        + ["--model", model, "--text", str(text), "--threads", str(arguments.threads)]
        + ["--policy", policy, "--page-tokens", page_tokens]
        + ["--contexts", joined(arguments.contexts)]
        + (["--prefill-contexts", joined(arguments.prefill_contexts)] if arguments.prefill_contexts else [])
        + ["--decode-tokens", str(arguments.decode_tokens), "--repeats", str(arguments.repeats)]
        + ["--batch", str(arguments.batch), "--warm-up-seconds", str(arguments.warm_up_seconds)]
        + (["--profile"] if arguments.profile else []),
        f"kvfreeze {policy} ({java})",
    )
    return {**result, "side": f"kvfreeze {policy}, Java {result['java']}", "peer": False}


def peer_sides(arguments):
    """Name, attention and further options of each configuration of llama.cpp that is measured."""
    if arguments.no_peer:
        return []
    if not arguments.peer_python:
        sys.exit(
            "--peer-python (or $KVFREEZE_PEER_PYTHON) must name a Python that has llama-cpp-python 0.3.36; "
            "--no-peer measures kvfreeze alone"
        )
    builds = {"llama-cpp-python": []}
    if arguments.peer_node:
        builds["node-llama-cpp"] = ["--node-package", arguments.peer_node]
    else:
        print("  npm's build of llama.cpp is left out; --peer-node names its folder", file=sys.stderr)
    return [(f"{build}, {attention}", attention, options) for build, options in builds.items() for attention in ("plain", "flash")]


def peer(arguments, model, side, contexts, text):
    name, attention, options = side
    result = run(
        [arguments.peer_python, "jobs/peers/llama_cpp_benchmark.py", "--model", model, "--text", str(text), *options]
        + ["--threads", str(arguments.threads), "--attention", attention, "--batch", str(arguments.batch)]
        + ["--contexts", joined(c for c in arguments.contexts if c in contexts)]
        + ["--prefill-contexts", joined(c for c in arguments.prefill_contexts if c in contexts)]
        + ["--decode-tokens", str(arguments.decode_tokens), "--repeats", str(arguments.repeats)],
        f"{name} at {joined(contexts)}",
    )
    return {**result, **result.pop("by_attention")[attention], "side": name, "peer": True, "attention": attention}


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


def measure_round(arguments, model, round_number, text, keep, records):
    print(f"{pathlib.Path(model).name}, round {round_number} of {arguments.rounds}", file=sys.stderr, flush=True)
    busy = busy_share()
    if busy > MOST_BUSY:
        print(
            f"  other programs use {busy:.0%} of the processors: llama.cpp's threads wait for each other by"
            " spinning and suffer most, so ratios mean nothing; end those programs",
            file=sys.stderr,
        )
    about = {"round": round_number, "busy": round(busy, 3)}
    contexts = sorted({*arguments.contexts, *arguments.prefill_contexts})
    steps = []
    for side in peer_sides(arguments):
        worth = _benchmark_report.worth_measuring(records, side[0], contexts, arguments.margin)
        if worth:
            steps.append(lambda side=side, worth=worth: peer(arguments, model, side, worth, text))
    for java in arguments.java or ["java"]:
        for policy in arguments.policies.split(","):
            steps.append(lambda java=java, policy=policy: ours(arguments, model, java, policy, text))
    # A machine that slows down within the round meets the one half first, then the other.
    for step in steps if round_number % 2 else reversed(steps):
        keep({**step(), **about})


def circumstances():
    return {
        "time": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": machine(),
        "command": "jobs/kvfreeze benchmark " + shlex.join(sys.argv[1:]),
    }


def append(json_file, record):
    """Adds a measurement to the file of --json, if there is one."""
    if json_file:
        pathlib.Path(json_file).parent.mkdir(parents=True, exist_ok=True)
        with open(json_file, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def require_model(model):
    if not pathlib.Path(model).is_file():
        sys.exit(f"there is no model file {model}; jobs/fetch-model fetches the default one")


def measure(arguments):
    models = [os.path.expanduser(model) for model in arguments.model or [SMOLLM2]]
    for model in models:
        require_model(model)
    text = prompt_text(arguments.text)
    common = {
        **circumstances(),
        "decode_tokens": arguments.decode_tokens,
        "warm_up_seconds": arguments.warm_up_seconds,
    }
    records = []
    for model in models:
        of_model = []

        def keep(record):
            record = {**common, **record, "model": pathlib.Path(model).stem}
            of_model.append(record)
            append(arguments.json, record)
            if record.get("profile"):
                print(record["profile"], file=sys.stderr)

        for round_number in range(1, arguments.rounds + 1):
            measure_round(arguments, model, round_number, text, keep, of_model)
        print(_benchmark_report.report(of_model), flush=True)
        records += of_model
    return records


def measure_whole_job(arguments):
    """The table of --whole-job; each measurement is kept as it comes."""
    if not arguments.peer_python:
        sys.exit("--peer-python (or $KVFREEZE_PEER_PYTHON) must name a Python that has llama-cpp-python 0.3.36")
    models = [os.path.expanduser(model) for model in arguments.model or [SMOLLM2]]
    if len(models) > 1 or "," in arguments.policies or len(arguments.java or []) > 1:
        sys.exit("--whole-job measures one --model with one of --policies and one --java at a time")
    require_model(models[0])
    common = {**circumstances(), "model": pathlib.Path(models[0]).stem, "policy": arguments.policies, "threads": arguments.threads}
    records = []
    for record in _benchmark_whole_job.WholeJob(arguments, models[0]).measure(common, busy_share):
        append(arguments.json, record)
        records.append(record)
    return _benchmark_whole_job.report(records)


def main():
    arguments = parse_arguments()
    arguments.policies = arguments.policies or ("adaptive" if arguments.whole_job else "full")
    if arguments.report:
        records = [record for file in arguments.report for record in _benchmark_report.read_records(file)]
        text = _benchmark_report.report(records)
        print(text)
    elif arguments.whole_job:
        text = measure_whole_job(arguments)
        print(text)
    else:
        text = _benchmark_report.report(measure(arguments))
    if arguments.write:
        pathlib.Path(arguments.write).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(arguments.write).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
